//! `dewdrop kube`: what else a Kubernetes cluster needs.

use clap::Subcommand;

use super::{credential, doctor, guards, kube_operator, proxy, webhook};
use crate::ctx::Ctx;
use crate::failure::Result;

/// The commands of a cluster.
#[derive(Debug, Subcommand)]
pub enum Kube {
    /// Look at a cluster and say what is missing: exit code 0 nothing, 2 something
    Doctor(doctor::Doctor),
    /// Print a kubeconfig that reaches a cluster by your grants
    Config(credential::KubeConfig),
    /// Give kubectl a certificate for your grant; kubectl calls this itself
    Credential(credential::Credential),
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
            Self::Doctor(doctor) => doctor.run(ctx).await,
            Self::Config(config) => config.run(ctx).await,
            Self::Credential(credential) => credential.run(ctx).await,
            Self::Proxy(proxy) => proxy.run(ctx).await,
            Self::Webhook(webhook) => webhook.run(ctx).await,
            Self::Operator(operator) => operator.run(ctx).await,
            Self::Guards(guards) => guards.run().await,
        }
    }
}
