//! `dewdrop kube`: what else a Kubernetes cluster needs.

mod can_i;
mod grants;
mod kubeconfig;
mod login;
pub mod plugin;
mod rbac;
mod resources;
mod whoami;

pub use grants::in_words;

use clap::Subcommand;

use super::{credential, doctor, guards, kube_operator, proxy, webhook};
use crate::ctx::Ctx;
use crate::failure::Result;

/// The commands of a cluster.
#[derive(Debug, Subcommand)]
pub enum Kube {
    /// Sign in, write the kubeconfig, and say what you may do and until when: exit code 0 access, 2 none
    Login(Box<login::Login>),
    /// Who you are, and which grants you have
    Whoami(whoami::Whoami),
    /// Whether a grant of yours allows it: exit code 0 yes, 1 no, 2 unknown
    CanI(can_i::CanI),
    /// Make `kubectl dewdrop` work: links in a folder of PATH
    PluginInstall(plugin::Install),
    /// Look at a cluster and say what is missing: exit code 0 nothing, 2 something
    Doctor(doctor::Doctor),
    /// Print a kubeconfig that reaches a cluster by your grants
    Config(credential::KubeConfig),
    /// Give kubectl a credential for your grant; kubectl calls this itself
    Credential(credential::Credential),
    /// Print what binds a role's rules to its group: a cluster without the access proxy needs it
    Rbac(rbac::Rbac),
    /// Run the access proxy of a cluster
    Proxy(Box<proxy::Proxy>),
    /// Run the admission webhook: guards for pods with secrets, and the wrapper in front of commands
    Webhook(Box<webhook::Webhook>),
    /// Run the operator: what teams declare as SecretAccess becomes policies and roles at the server
    Operator(kube_operator::Operator),
    /// Show the API server a pod that breaks a guard: exit code 0 refused, 2 taken (it is a dry run: nothing is made)
    Guards(guards::Guards),
}

impl Kube {
    /// Runs it.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Login(login) => login.run(ctx).await,
            Self::Whoami(whoami) => whoami.run(ctx).await,
            Self::CanI(can_i) => can_i.run(ctx).await,
            Self::PluginInstall(install) => install.run(ctx),
            Self::Doctor(doctor) => doctor.run(ctx).await,
            Self::Config(config) => config.run(ctx).await,
            Self::Credential(credential) => credential.run(ctx).await,
            Self::Rbac(rbac) => rbac.run(ctx).await,
            Self::Proxy(proxy) => proxy.run(ctx).await,
            Self::Webhook(webhook) => webhook.run(ctx).await,
            Self::Operator(operator) => operator.run(ctx).await,
            Self::Guards(guards) => guards.run().await,
        }
    }
}
