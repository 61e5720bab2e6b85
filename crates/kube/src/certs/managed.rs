//! Certificates of an authority that all replicas share: it is kept in a Secret, and we write it into the webhook's
//! configurations ourselves. Before its end a new one takes its place; the former one is trusted on until the next change,
//! so that no replica is refused in between.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::{Moment, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::authority::{Authority, DAY, LeafTime, SKEW};
use super::{CertError, Pair, Source};
use crate::cluster::{Api, LookUpError};

const LIFE: Duration = DAY.saturating_mul(365);
/// Long enough before the end for every replica to have seen it.
const RENEW: Duration = DAY.saturating_mul(240);
/// How often the API server is asked: somebody may have put the configurations back.
const EVERY: Duration = Duration::from_secs(60);
/// The kinds of configuration.
const KINDS: &[&str] = &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// Where things are in the cluster.
#[derive(Debug, Clone)]
pub struct Places {
    /// The namespace of the Secret: ours.
    pub namespace: String,
    /// The Secret's name.
    pub secret: String,
    /// The name of the two configurations.
    pub configuration: String,
}

/// An authority in a Secret.
pub struct Managed {
    api: Api,
    places: Places,
    names: Vec<String>,
    looked: Option<Moment>,
    /// What the last leaf was signed by.
    signer: String,
    leaf: LeafTime,
}

/// The authority, and the one before it.
struct Kept {
    authority: Authority,
    former: String,
    made: Moment,
    version: String,
}

#[derive(Deserialize)]
struct SecretObject {
    metadata: SecretMeta,
    #[serde(default)]
    data: SecretData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretMeta {
    #[serde(default)]
    resource_version: String,
}

/// Base64, as the API has it. No `Debug`: the key is in it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretData {
    #[serde(rename = "ca.crt")]
    ca: String,
    #[serde(rename = "ca.key")]
    key: String,
    #[serde(rename = "former.crt")]
    former: String,
    made: String,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: String,
    #[serde(default)]
    client_config: ClientConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    #[serde(default)]
    ca_bundle: String,
}

// === impl Managed ===

impl Managed {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(api: Api, places: Places, names: Vec<String>) -> Self {
        Self { api, places, names, looked: None, signer: String::new(), leaf: LeafTime::default() }
    }

    /// The authority in force: the one that is kept, or a new one. Whoever of the replicas is first wins.
    async fn authority(&self, now: Moment) -> Result<Kept, CertError> {
        for _ in 0..3 {
            let kept = self.kept().await?;
            match kept {
                Some(kept) if !is_due(kept.made, now) => return Ok(kept),
                former => self.replace(former, now).await?,
            }
        }
        Err(CertError::Key("other replicas are changing the authority at the same time"))
    }

    async fn kept(&self) -> Result<Option<Kept>, CertError> {
        let path = format!("{}/{}", self.folder(), self.places.secret);
        let Some(secret) = self.api.get::<SecretObject>(&path, "the webhook's secret").await? else { return Ok(None) };
        let made = text(&secret.data.made)?.trim().parse().map_or(Moment(0), |seconds: u64| Moment(seconds * 1000));
        let (ca, key) = (text(&secret.data.ca)?, Secret::new(text(&secret.data.key)?));
        let former = text(&secret.data.former)?;
        let version = secret.metadata.resource_version;
        Ok(Some(Kept { authority: Authority::read(ca, key)?, former, made, version }))
    }

    /// Keeps a new authority, unless another replica was faster.
    async fn replace(&self, former: Option<Kept>, now: Moment) -> Result<(), CertError> {
        let new = Authority::make(now, LIFE)?;
        let encode = |text: &str| STANDARD.encode(text);
        let mut metadata = json!({"name": self.places.secret, "namespace": self.places.namespace});
        if let Some(kept) = &former {
            metadata["resourceVersion"] = json!(kept.version);
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata,
            "data": {
                "ca.crt": encode(new.pem()),
                "ca.key": encode(new.key_pem().expose()),
                "former.crt": encode(former.as_ref().map_or("", |kept| kept.authority.pem())),
                "made": encode(&now.seconds().to_string()),
            },
        });
        let status = match &former {
            None => self.api.send_json("POST", &self.folder(), &object).await?,
            Some(_) => self.api.send_json("PUT", &format!("{}/{}", self.folder(), self.places.secret), &object).await?,
        };
        // 409: another replica did it, and the next look finds what it made.
        refused(status, &[200, 201, 409], "secrets")
    }

    fn folder(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.places.namespace)
    }

    /// Sees to it that the API server trusts the bundle.
    async fn publish(&self, bundle: &str) -> Result<(), CertError> {
        let bundle = STANDARD.encode(bundle);
        for kind in KINDS {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{}", self.places.configuration);
            let Some(found) = self.api.get::<Configuration>(&path, "webhook configurations").await? else {
                continue; // Not installed yet; the next look may find it.
            };
            let mut steps = Vec::new();
            for (at, webhook) in found.webhooks.iter().enumerate().filter(|(_, w)| w.client_config.ca_bundle != bundle)
            {
                // The list may have changed since it was read.
                steps.push(json!({"op": "test", "path": format!("/webhooks/{at}/name"), "value": webhook.name}));
                steps.push(
                    json!({"op": "add", "path": format!("/webhooks/{at}/clientConfig/caBundle"), "value": bundle}),
                );
            }
            if !steps.is_empty() {
                let status = self.api.send_json("PATCH", &path, &Value::from(steps)).await?;
                refused(status, &[200], "webhook configurations")?;
                tracing::info!(kind, "the CA was written into the webhook's configuration");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Managed {
    async fn renewed(&mut self, now: Moment) -> Result<Option<Pair>, CertError> {
        if self.looked.is_some_and(|looked| now.since(looked) < EVERY && looked <= now) {
            return Ok(None);
        }
        let kept = self.authority(now).await?;
        self.publish(&format!("{}{}", kept.authority.pem(), kept.former)).await?;
        self.looked = Some(now);
        if self.signer == kept.authority.pem() && !self.leaf.is_due(now) {
            return Ok(None);
        }
        let pair = kept.authority.leaf(&self.names, now)?;
        self.leaf.made(now);
        kept.authority.pem().clone_into(&mut self.signer);
        Ok(Some(pair))
    }
}

fn is_due(made: Moment, now: Moment) -> bool {
    now.since(made) >= RENEW || made > now.plus(SKEW)
}

fn text(base64: &str) -> Result<String, CertError> {
    let bytes = STANDARD.decode(base64).map_err(|_| CertError::Key("the webhook's secret is not as we wrote it"))?;
    String::from_utf8(bytes).map_err(|_| CertError::Key("the webhook's secret is not as we wrote it"))
}

fn refused(status: u16, good: &[u16], what: &'static str) -> Result<(), CertError> {
    match status {
        status if good.contains(&status) => Ok(()),
        401 | 403 => Err(LookUpError::Forbidden { what, status }.into()),
        _ => Err(LookUpError::Away(format!("it answers with status {status} when {what} are to be changed")).into()),
    }
}
