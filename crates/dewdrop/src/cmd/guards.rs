//! `dewdrop kube guards`: is a pod that breaks a guard refused? `helm test` asks so.

use clap::Args;
use dewdrop_kube::trial::{self, Answer};

use super::webhook::ApiArgs;
use crate::failure::{Failure, Result};
use crate::output::say;

/// Flags of the question.
#[derive(Debug, Args)]
pub struct Guards {
    /// The namespace for the pod; whoever asks needs the right to create pods there
    #[arg(long)]
    in_namespace: String,
    #[command(flatten)]
    api: ApiArgs,
}

impl Guards {
    /// Asks once.
    pub async fn run(self) -> Result<u8> {
        let answer = trial::ask(&self.api.open()?, &self.in_namespace).await;
        match answer.map_err(|e| Failure::usage(e.to_string()))? {
            Answer::Refused(words) => {
                say(&format!("refused, as it must be: {words}"));
                Ok(0)
            }
            Answer::Taken => {
                say(&format!(
                    "the API server takes a pod that mounts another container's secrets into namespace {}: it has neither the \
                     webhook nor the policies, or they leave this namespace out",
                    self.in_namespace
                ));
                Ok(2)
            }
            Answer::Otherwise(words) => {
                Err(Failure::usage(format!("the pod was refused, but not by a guard: {words}")))
            }
        }
    }
}
