//! The login of a pod, and of a node agent.

use std::collections::BTreeMap;

use std::sync::Arc;

use dewdrop_core::call::{Call, Login, Outcome, Reply};
use dewdrop_core::token::TokenParams;
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Secret};
use serde_json::{Value, json};

use super::account::Account;
use super::role::{AliasSource, Role};
use super::verify::Whom;
use super::wire::LoginRequest;
use super::{Kubernetes, names};
use crate::cidr;
use crate::glob::any_matches;
use crate::kept_roles::KeepsRoles;

impl Kubernetes {
    pub(super) async fn login(self: Arc<Self>, call: Call, ask: LoginRequest) -> Result<Reply, Fault> {
        let (role, jwt) = self.asked(ask.role.as_ref(), ask.jwt).await?;
        if role.containers.agentless {
            return self.login_of_container(&role, &jwt, &call).await;
        }
        if role.is_of_containers() {
            return Err(Fault::denied(role.says("it is for containers: only a node agent may ask for its tokens")));
        }
        let account = self.account(&role, &jwt, Whom::Role, &call).await?;
        let mut login = self.login_of(&role, &account);
        if role.agent {
            self.make_agent(&mut login, &role, &account, &call).await?;
        }
        Ok(Outcome::Login(Box::new(login)).into())
    }

    /// The role and the token that a request gives.
    pub(super) async fn asked(&self, role: Option<&Text>, jwt: Option<Text>) -> Result<(Role, Secret<String>), Fault> {
        let name = role.map_or("", |text| text.0.as_str());
        if name.is_empty() {
            return Err(Fault::bad_request("missing role"));
        }
        let jwt = jwt.map(|text| Secret::new(text.0)).filter(|jwt| !jwt.expose().is_empty());
        let jwt = jwt.ok_or_else(|| Fault::bad_request("missing jwt"))?;
        let unknown = || Fault::bad_request("invalid role name: there is no such role");
        Ok((self.role(name).await?.ok_or_else(unknown)?, jwt))
    }

    /// Verifies a token and finds it within the bounds of a role.
    pub(super) async fn account(
        &self,
        role: &Role,
        jwt: &Secret<String>,
        whom: Whom,
        call: &Call,
    ) -> Result<Account, Fault> {
        if !cidr::admits(&role.token.params.bound_cidrs, call.caller.address) {
            return Err(Fault::denied(role.says("token_bound_cidrs does not admit the caller's address")));
        }
        let verifier = self.verifier().await?.ok_or_else(no_config)?;
        let account = verifier.read(jwt.expose(), role, whom, call.now).await?;
        role.admits(&account, &verifier, jwt.expose()).await?;
        verifier.confirm(jwt.expose(), role, whom, &account).await?;
        Ok(account)
    }

    /// The token that an account gets by a role, as the API has it.
    pub(super) fn login_of(&self, role: &Role, account: &Account) -> Login {
        let alias_metadata = BTreeMap::from([
            ("service_account_uid".to_owned(), account.uid.clone()),
            ("service_account_name".to_owned(), account.name.clone()),
            ("service_account_namespace".to_owned(), account.namespace.clone()),
            ("service_account_secret_name".to_owned(), account.secret_name.clone()),
        ]);
        let mut metadata = alias_metadata.clone();
        metadata.insert("role".into(), role.name.clone());
        Login {
            alias: match role.alias {
                AliasSource::ServiceaccountUid => account.uid.clone(),
                AliasSource::ServiceaccountName => account.full_name(),
            },
            alias_metadata,
            params: role.token.params.clone(),
            metadata,
            display_name: format!("{}-{}", account.namespace, account.name),
            internal: json!({
                "role": role.name,
                "mount": self.place.mount_uuid,
                "namespace": account.namespace,
                "name": account.name,
            }),
            renewable: true,
            ..Login::default()
        }
    }

    /// Makes a login that of a node agent: its token is bound to a node, by way of its pod or (an agent that is no pod) itself.
    async fn make_agent(&self, login: &mut Login, role: &Role, account: &Account, call: &Call) -> Result<(), Fault> {
        let node = self.node_of(role, account)?;
        login.metadata.extend([
            ("agent".to_owned(), "true".to_owned()),
            ("node_name".to_owned(), node.clone()),
            ("cluster".to_owned(), self.cluster(call).await?),
        ]);
        if account.pod.is_some() {
            let (pod, _) = self.pod_of(role, account)?;
            login.metadata.extend([("pod_name".to_owned(), pod.name), ("pod_uid".to_owned(), pod.uid)]);
        }
        if let Some(internal) = login.internal.as_object_mut() {
            internal.insert("node".into(), node.into());
        }
        Ok(())
    }

    /// The pod and the node of an account's token.
    pub(super) fn pod_of(&self, role: &Role, account: &Account) -> Result<(super::account::Object, String), Fault> {
        let Some(pod) = &account.pod else {
            return Err(Fault::denied(role.says("the token is not bound to a pod")));
        };
        let wrong = |fault: Fault| Fault::denied(role.says(&fault.told));
        let uid = names::uuid("the pod's uid", &pod.uid).map_err(wrong)?;
        Ok((super::account::Object { name: pod.name.clone(), uid }, self.node_of(role, account)?))
    }

    /// The node of an account's token.
    fn node_of(&self, role: &Role, account: &Account) -> Result<String, Fault> {
        let Some(node) = &account.node else {
            return Err(Fault::denied(role.says("the token is not bound to a node, nor to a pod that runs on one")));
        };
        names::node(node).map_err(|fault| Fault::denied(role.says(&fault.told)))
    }

    /// The cluster's name.
    pub(super) async fn cluster(&self, call: &Call) -> Result<String, Fault> {
        let named = self.verifier().await?.map(|verifier| verifier.config.cluster.clone());
        let path = || call.mount.path.trim_start_matches("auth/").trim_end_matches('/').to_owned();
        Ok(named.filter(|name| !name.is_empty()).unwrap_or_else(path))
    }

    /// Whether a token of a login may still be renewed: the role is there, and the account within its bounds of now.
    pub(super) async fn renew(&self, internal: &Value) -> Result<TokenParams, Fault> {
        let text = |name: &str| internal.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("role");
        let gone = || Fault::bad_request(format!("role {name} does not exist during renewal"));
        let role = self.role(name).await?.ok_or_else(gone)?;
        // Labels of namespaces are not asked for again.
        let is_within = any_matches(&role.namespaces, text("namespace")) || !role.selector.is_empty();
        let was_agent = !text("node").is_empty();
        if !any_matches(&role.names, text("name")) || !is_within || was_agent && !role.agent {
            return Err(Fault::denied(role.says("the account is not within its bounds any more")));
        }
        match text("container") {
            "" => Ok(role.token.params),
            container => role.renewed_for_container(container),
        }
    }
}

fn no_config() -> Fault {
    Fault::target("could not load backend configuration")
}
