//! Making the credentials of one start: a token from the server, what it may read, and the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_api::{Call, Envelope, SecretText};
use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use super::Agent;
use super::fail::Fail;
use super::hold::{Hold, Todo};
use super::start::{Held, Start};
use super::vault::StartName;
use crate::env::{self, Variable};
use crate::spec::{Credential, Verb, Wrap};
use crate::volume::Volume;

impl Agent {
    /// Makes a start and writes its files. When that fails, nothing of it stays.
    pub(super) async fn mint(&self, hold: &Arc<Hold>) -> Result<Start, Fail> {
        let about = &hold.about;
        let name = StartName {
            pod_uid: about.pod.uid.clone(),
            container: about.spec.container.clone(),
            start: uuid::Uuid::new_v4().to_string(),
            role: about.spec.role.clone(),
            container_id: None,
        };
        self.note_with(hold, Some(name.clone()))?;
        hold.intend(name.clone());
        let made = self.make(hold, name.clone()).await;
        self.meters.minted(made.is_ok());
        match made {
            Ok(start) => Ok(start),
            Err(why) => {
                // Perhaps the server made it and its answer was lost.
                self.ender.end(name);
                Err(why)
            }
        }
    }

    async fn make(&self, hold: &Arc<Hold>, name: StartName) -> Result<Start, Fail> {
        let spec = &hold.about.spec;
        let traits = self.traits(&hold.about).await;
        let life = hold.life().unwrap_or_else(|| name.start.clone());
        let auth =
            self.vault.start(&name, &life, &hold.pod_token(), &traits).await.map_err(|why| traits.explain(why))?;
        let fetched = try_join_all(
            spec.credentials.iter().map(|credential| self.fetch(&auth.client_token, &spec.namespace, credential)),
        )
        .await?;
        let mut fields: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let mut leases = Vec::new();
        for (credential, envelope) in spec.credentials.iter().zip(fetched) {
            leases.push(Held {
                lease_id: envelope.lease_id.clone(),
                seconds: envelope.lease_duration,
                renewable: envelope.renewable,
            });
            let data = envelope.data.unwrap_or_default();
            fields.insert(credential.name.clone(), data.expose().clone());
        }
        let variables = self.write(hold, fields).await?;
        Ok(Start { name, life, token: auth.client_token, seconds: auth.lease_duration, leases, variables })
    }

    async fn fetch(&self, token: &SecretText, namespace: &str, credential: &Credential) -> Result<Envelope, Fail> {
        let call = match credential.verb {
            Verb::Get => Call::read(&credential.path)?,
            Verb::Put => Call::write(&credential.path, &json!({}))?,
        };
        self.vault.fetch(token, namespace, call).await
    }

    /// Writes the files, or answers the variables that take their place.
    async fn write(
        &self,
        hold: &Arc<Hold>,
        fields: BTreeMap<String, Map<String, Value>>,
    ) -> Result<Vec<Variable>, Fail> {
        let (hold, env) = (hold.clone(), self.env.clone());
        let written = tokio::task::spawn_blocking(move || {
            // Kubelet may have taken the volume back meanwhile: mounted again, it would hold up the pod's end for ever.
            let _pen = hold.pen.lock();
            if hold.todo() == Todo::Close {
                return Err(Fail::odd("the volume was taken back while its credential was made"));
            }
            let about = &hold.about;
            let volume = Volume::mount(&about.target)?;
            env.place(&about.spec.wrap, &about.target).map_err(|e| Fail::odd(e.to_string()))?;
            match &about.spec.wrap {
                Wrap::Env(variables) => Ok(env::variables(variables, &fields)?),
                Wrap::No | Wrap::Gate => {
                    volume.write(&about.spec, about.fs_group, &fields).map(|()| Vec::new()).map_err(Fail::from)
                }
            }
        });
        written.await.map_err(|_| Fail::odd("the task that writes a volume broke"))?
    }

    /// Tells the container's process that its files are new, if the volume asks for it.
    pub(super) fn signal(&self, hold: &Hold) {
        let (Some(signal), Some((_, process))) = (hold.about.spec.signal, hold.process()) else { return };
        if let Err(why) = rustix::process::pidfd_send_signal(process.as_ref(), signal) {
            tracing::warn!(container = %hold.about.spec.container, %why, "the container could not be told of its new files");
        }
    }
}
