//! Containers that log in themselves, where no node agent may run (docs/decisions/0020-agentless.md). What proves which
//! container it is: a pod's token for `AUDIENCE://NAMESPACE/CONTAINER` and nothing else, which kubelet puts into that
//! container alone. One token for each (pod, container, role); it is short, and only who runs renews it.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::call::{Beside, Call, Outcome, Reply};
use dewdrop_core::store::get_json;
use dewdrop_core::token::{TokenKind, TokenParams};
use dewdrop_core::{Fault, Moment, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account::{Account, Object};
use super::bounds::Container;
use super::role::Role;
use super::verify::Whom;
use super::{Kubernetes, names};

/// How long a token lives that nobody renews, unless the role says `token_period`.
const PERIOD: Duration = Duration::from_secs(60);

/// What is kept of a login, beside its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Run {
    /// The accessor of its token, as the server writes it.
    #[serde(default)]
    accessor: String,
    /// When it was made.
    made: Moment,
    /// The pod's name.
    pod_name: String,
    /// The pod's namespace.
    namespace: String,
}

impl Kubernetes {
    /// The login of one container. The token of its login before ends: a container that starts again has ended before.
    pub(super) async fn login_of_container(
        &self,
        role: &Role,
        jwt: &Secret<String>,
        call: &Call,
    ) -> Result<Reply, Fault> {
        let account = self.account(role, jwt, Whom::Container, call).await?;
        let container = role.container_of(&account)?;
        let (pod, node) = self.pod_of(role, &account)?;
        role.admits_container(&Container { name: &container, image: "", labels: &BTreeMap::new() })?;
        let mut login = self.login_of(role, &account);
        login.beside = Some(self.run_beside(role, &account, &pod, &container, call).await?);
        login.params = role.of_container();
        let more = [
            ("agentless", "true".to_owned()),
            ("cluster", self.cluster(call).await?),
            ("container", container.clone()),
            ("node_name", node),
            ("pod_name", pod.name),
            ("pod_uid", pod.uid),
        ];
        login.metadata.extend(more.map(|(name, value)| (name.to_owned(), value)));
        if let Some(internal) = login.internal.as_object_mut() {
            internal.insert("container".into(), container.into());
        }
        Ok(Outcome::Login(Box::new(login)).into())
    }

    /// Ends the token of the login before, and says which row the new one shall have.
    async fn run_beside(
        &self,
        role: &Role,
        account: &Account,
        pod: &Object,
        container: &str,
        call: &Call,
    ) -> Result<Beside, Fault> {
        let key = format!("agentless/{}/{container}/{}", pod.uid, role.name);
        let read = || get_json::<Run>(&*self.place.store, key.as_bytes());
        let revision = match read().await? {
            None => 0,
            Some((former, _)) => {
                self.place.house.end_tokens(&[former.accessor]).await?;
                read().await?.map_or(0, |(_, revision)| revision)
            }
        };
        let run = Run {
            accessor: String::new(),
            made: call.now,
            pod_name: pod.name.clone(),
            namespace: account.namespace.clone(),
        };
        match serde_json::to_value(&run) {
            Ok(Value::Object(fields)) => Ok(Beside { key, revision, fields }),
            _ => Err(Fault::internal("encode a login of a container")),
        }
    }
}

impl Role {
    /// The container that a token is for. It must be for that and for nothing else, or whoever else it is for could log in.
    fn container_of(&self, account: &Account) -> Result<String, Fault> {
        let prefix = format!("{}://{}/", self.audience, account.namespace);
        let refuse = || {
            let why = format!("the token is for {:?}, and must be for {prefix}CONTAINER alone", account.audiences);
            Fault::denied(self.says(&why))
        };
        let [audience] = account.audiences.as_slice() else { return Err(refuse()) };
        let container = audience.strip_prefix(&prefix).ok_or_else(refuse)?;
        names::container(container).map_err(|_| refuse())
    }

    /// How the token of a container is made: short, and renewed by who runs. A longest life becomes a hard end.
    fn of_container(&self) -> TokenParams {
        let role = &self.token.params;
        let end = [role.explicit_max_ttl, role.max_ttl].into_iter().filter(|end| !end.is_zero()).min();
        TokenParams {
            // A batch token could not be ended.
            kind: Some(TokenKind::Service),
            period: if role.period.is_zero() { PERIOD } else { role.period },
            explicit_max_ttl: end.unwrap_or_default(),
            ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            ..role.clone()
        }
    }

    /// The same at a renewal.
    ///
    /// # Errors
    /// 403: the role is not for this container any more.
    pub(super) fn renewed_for_container(&self, container: &str) -> Result<TokenParams, Fault> {
        if !self.containers.agentless {
            return Err(Fault::denied(self.says("its containers may not log in themselves any more")));
        }
        self.admits_container(&Container { name: container, image: "", labels: &BTreeMap::new() })?;
        Ok(self.of_container())
    }
}
