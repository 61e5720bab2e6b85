//! Who a service account's token is for, as its claims say.

use serde_json::Value;

use crate::jose::Claims;

/// The longest name in bytes.
const LONGEST: usize = 253;

/// A service account, and the pod that holds its token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Uid.
    pub uid: String,
    /// Name of the secret that holds a token of the old kind; empty for all others.
    pub secret_name: String,
    /// The pod that the token is bound to.
    pub pod: Option<Object>,
    /// The node that the pod runs on.
    pub node: Option<String>,
    /// The audiences.
    pub audiences: Vec<String>,
}

/// A name with a uid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

impl Account {
    /// Reads the claims. `None`: they name no service account.
    pub fn of(claims: &Claims) -> Option<Self> {
        let audiences = claims.audiences().into_iter().map(str::to_owned).collect();
        let account = match claims.0.get("kubernetes.io") {
            Some(bound) => Self::of_bound(bound, audiences)?,
            None => Self {
                name: old(claims, "service-account.name"),
                namespace: claims.text("kubernetes.io/serviceaccount/namespace").unwrap_or_default().to_owned(),
                uid: old(claims, "service-account.uid"),
                secret_name: old(claims, "secret.name"),
                audiences,
                ..Self::default()
            },
        };
        account.is_whole().then_some(account)
    }

    fn of_bound(bound: &Value, audiences: Vec<String>) -> Option<Self> {
        let account = object(bound, "serviceaccount")?;
        Some(Self {
            name: account.name,
            namespace: bound.get("namespace").and_then(Value::as_str)?.to_owned(),
            uid: account.uid,
            secret_name: String::new(),
            pod: object(bound, "pod"),
            node: object(bound, "node").map(|node| node.name),
            audiences,
        })
    }

    /// Whether it says all that it must, and nothing that no cluster would say: it goes into logs and metadata.
    fn is_whole(&self) -> bool {
        let pod = self.pod.iter().flat_map(|pod| [&pod.name, &pod.uid]);
        let all = [&self.name, &self.namespace, &self.uid].into_iter().chain(pod).chain(&self.node);
        all.into_iter().all(|text| (1..=LONGEST).contains(&text.len())) && self.secret_name.len() <= LONGEST
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn old(claims: &Claims, name: &str) -> String {
    claims.text(&format!("kubernetes.io/serviceaccount/{name}")).unwrap_or_default().to_owned()
}

fn object(of: &Value, name: &str) -> Option<Object> {
    let text = |field: &str| of.get(name)?.get(field)?.as_str().map(str::to_owned);
    Some(Object { name: text("name")?, uid: text("uid")? })
}
