//! The protocol between kubectl and its plug-ins for credentials (`client.authentication.k8s.io`): which version is spoken. kubectl
//! says it in `KUBERNETES_EXEC_INFO`; what is written to a kubeconfig is a choice, since kubectl before 1.22 knows v1beta1 alone.

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::{Failure, Result};

const INFO: &str = "KUBERNETES_EXEC_INFO";
const GROUP: &str = "client.authentication.k8s.io";

/// A version of it. Both have the same fields, as far as they are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum ExecApi {
    /// kubectl from 1.22 on
    V1,
    /// kubectl before 1.22; newer ones speak it too
    V1Beta1,
}

// === impl ExecApi ===

impl ExecApi {
    /// As it is written in `apiVersion`.
    pub fn name(self) -> String {
        format!("{GROUP}/{}", self.version())
    }

    /// As it is given by a flag.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    /// The version that the caller asks for; `None`: no kubectl asks, or an old one that does not say.
    ///
    /// # Errors
    /// It asks for a version that is not spoken, or what it says cannot be read.
    pub fn asked() -> Result<Option<Self>> {
        match std::env::var(INFO) {
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(unreadable()),
            Ok(info) if info.is_empty() => Ok(None),
            Ok(info) => read(&info).map(Some),
        }
    }
}

fn read(info: &str) -> Result<ExecApi> {
    let info: Value = serde_json::from_str(info).map_err(|_| unreadable())?;
    let text = |name: &str| info.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("kind") != "ExecCredential" {
        return Err(unreadable());
    }
    let asked = text("apiVersion");
    let known = [ExecApi::V1, ExecApi::V1Beta1].into_iter().find(|api| api.name() == asked);
    known.ok_or_else(|| {
        // Whose word it is: a kubeconfig's. It may be anything.
        let asked: String = asked.chars().filter(|c| !c.is_control()).take(100).collect();
        Failure::usage(format!("kubectl asks for a credential in {asked:?}; {GROUP}/v1 and {GROUP}/v1beta1 are spoken"))
            .hint("write the kubeconfig anew: dewdrop kube login (-exec-api=v1beta1 for kubectl before 1.22)")
    })
}

fn unreadable() -> Failure {
    Failure::usage(format!("{INFO} holds no ExecCredential of {GROUP}"))
        .hint("kubectl sets it; unset it to call this by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_spoken_and_no_others() {
        let info = |version: &str, kind: &str| {
            read(&format!(r#"{{"apiVersion":"{version}","kind":"{kind}","spec":{{"interactive":true}}}}"#))
        };
        for api in [ExecApi::V1, ExecApi::V1Beta1] {
            assert_eq!(info(&api.name(), "ExecCredential").ok(), Some(api));
        }
        for other in ["client.authentication.k8s.io/v1alpha1", "client.authentication.k8s.io/v2", "v1", "", "a/v1"] {
            let told = info(other, "ExecCredential").err().unwrap().to_string();
            assert!(told.contains("v1beta1 are spoken"), "{told}");
        }
        for broken in ["", "{}", "[]", "{\"kind\":7}", "x"] {
            assert!(read(broken).err().unwrap().to_string().contains(INFO), "{broken}");
        }
        assert!(info("client.authentication.k8s.io/v1", "Pod").is_err());
    }
}
