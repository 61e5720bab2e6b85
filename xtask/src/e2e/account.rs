//! Tokens of ServiceAccounts for our audience, minted as kubelet has them minted.

use anyhow::Result;

use super::stage::Stage;

/// Whose token, and what it is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    name: &'a str,
    namespace: &'a str,
    bound: Option<(&'a str, &'a str)>,
}

/// That of the pods in the scenes.
pub const PODS: Account<'static> = Account::of("default", "default");
/// That of the node agents.
pub const AGENTS: Account<'static> = Account::of("dewdrop-node", "dewdrop-system");

impl<'a> Account<'a> {
    /// An account of a namespace; its token is bound to nothing.
    pub const fn of(name: &'a str, namespace: &'a str) -> Self {
        Self { name, namespace, bound: None }
    }

    /// The same, bound to a pod of its namespace.
    pub const fn on_pod(self, pod: &'a str) -> Self {
        Self { bound: Some(("Pod", pod)), ..self }
    }

    /// The same, bound to a node.
    pub const fn on_node(self, node: &'a str) -> Self {
        Self { bound: Some(("Node", node)), ..self }
    }

    /// What kubectl is asked for it.
    pub fn ask(&self) -> Vec<&'a str> {
        let mut args = vec!["create", "token", self.name, "-n", self.namespace, "--audience", "dewdrop"];
        if let Some((kind, name)) = self.bound {
            args.extend(["--bound-object-kind", kind, "--bound-object-name", name]);
        }
        args
    }
}

impl Stage {
    /// A token of an account.
    pub fn minted(&self, account: Account<'_>) -> Result<String> {
        Ok(self.kubectl(&account.ask())?.trim().to_owned())
    }
}
