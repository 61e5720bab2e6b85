//! Where the keys come from, and what verifies by them.

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::{Clock, Fault};
use serde::Deserialize;

use super::config::{Config, Place};
use super::oidc::Provider;
use crate::jose::{Claims, Fetch, Http, KeySet, Refused, RemoteKeys, Signed};

/// A configuration in use.
pub struct Source {
    /// The configuration.
    pub config: Config,
    /// For sign-in by browser; `None`: there is none.
    pub provider: Option<Provider>,
    keys: Keys,
}

enum Keys {
    Given(KeySet),
    /// Each with what is said when it cannot be read.
    Remote(Vec<(String, RemoteKeys)>),
}

impl Source {
    /// A configuration, made ready for use. Nothing is read yet.
    ///
    /// # Errors
    /// 400: a key or a certificate is none.
    pub fn new(config: Config, clock: &Arc<dyn Clock>) -> Result<Self, Fault> {
        let remote = |told: String, from: Box<dyn Fetch>| (told, RemoteKeys::new(from, clock.clone()));
        let keys = if !config.pubkeys.is_empty() {
            let wrong = |at| format!("error parsing public key: number {at} of jwt_validation_pubkeys is none in PEM");
            Keys::Given(KeySet::from_pem(&config.pubkeys).map_err(|at| Fault::bad_request(wrong(at)))?)
        } else if !config.discovery.url.is_empty() {
            let client = client(&config.discovery, "error checking oidc discovery URL: the CA is no PEM bundle")?;
            let from = Discovered { url: config.discovery.url.clone(), client };
            Keys::Remote(vec![remote("error checking oidc discovery URL".into(), Box::new(from))])
        } else if !config.jwks.url.is_empty() {
            let from = At { url: config.jwks.url.clone(), client: client(&config.jwks, "error checking jwks_ca_pem")? };
            Keys::Remote(vec![remote("error checking jwks URL".into(), Box::new(from))])
        } else {
            let read = |(at, pair): (usize, &Place)| {
                let client = client(pair, &format!("error checking jwks_ca_pem for jwks_pairs[{at}]"))?;
                let told = format!("error checking jwks URL for jwks_pairs[{at}]");
                Ok(remote(told, Box::new(At { url: pair.url.clone(), client })))
            };
            Keys::Remote(config.pairs.iter().enumerate().map(read).collect::<Result<_, Fault>>()?)
        };
        let provider = provider(&config, clock)?;
        Ok(Self { config, provider, keys })
    }

    /// Reads the keys now.
    ///
    /// # Errors
    /// What the caller hears, and what the operator.
    pub async fn check(&self) -> Result<(), (String, String)> {
        let Keys::Remote(places) = &self.keys else { return Ok(()) };
        for (told, keys) in places {
            keys.warm().await.map_err(|why| (told.clone(), why))?;
        }
        Ok(())
    }

    /// What is wrong with the keys now; they are read if they never were.
    pub async fn trouble(&self) -> Option<String> {
        let Keys::Remote(places) = &self.keys else { return None };
        for (told, keys) in places {
            if !keys.are_known() && keys.warm().await.is_err() {
                return Some(told.clone());
            }
        }
        None
    }

    /// Verifies a token's signature.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn verify(&self, jwt: &str) -> Result<Claims, Refused> {
        let taken = self.config.taken();
        let places = match &self.keys {
            Keys::Given(keys) => return keys.verify(Signed::read(jwt)?, taken),
            Keys::Remote(places) => places,
        };
        let mut refused = Refused::Keys(String::new());
        for (_, keys) in places {
            match keys.verify(Signed::read(jwt)?, taken).await {
                Ok(claims) => return Ok(claims),
                // A place that is away says more than one that does not know the key.
                Err(why) if !matches!(refused, Refused::Keys(ref said) if !said.is_empty()) => refused = why,
                Err(_) => {}
            }
        }
        Err(refused)
    }
}

fn provider(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Provider>, Fault> {
    if !config.client.is_set() {
        return Ok(None);
    }
    let http = client(&config.discovery, "error checking oidc discovery URL: the CA is no PEM bundle")?;
    Ok(Some(Provider::new(config.discovery.url.clone(), config.client.clone(), http, clock.clone())))
}

/// A client that trusts whom the place says. That of the system is made when it is used: it may have no authorities.
fn client(place: &Place, told: &str) -> Result<Option<Http>, Fault> {
    if !place.url.starts_with("https://") && !place.url.starts_with("http://") {
        return Err(Fault::bad_request("a URL begins with https://"));
    }
    match place.ca_pem.trim() {
        "" => Ok(None),
        pem => Http::new(pem).map(Some).map_err(|fault| Fault::bad_request(told.to_owned()).knowing(fault.told)),
    }
}

async fn get(client: Option<&Http>, url: &str) -> Result<Vec<u8>, String> {
    let own;
    let client = match client {
        Some(client) => client,
        None => {
            own = Http::new("").map_err(|fault| fault.told.into_owned())?;
            &own
        }
    };
    match client.get(url, None).await? {
        (200, body) => Ok(body),
        (status, _) => Err(format!("its answer has the status {status}")),
    }
}

async fn keys_at(client: Option<&Http>, url: &str) -> Result<KeySet, String> {
    KeySet::from_jwks(&get(client, url).await?).map_err(|why| format!("the key set: {why}"))
}

/// A key set at a URL.
struct At {
    url: String,
    client: Option<Http>,
}

#[async_trait]
impl Fetch for At {
    async fn fetch(&self) -> Result<KeySet, String> {
        keys_at(self.client.as_ref(), &self.url).await
    }
}

/// A key set where an issuer's discovery document says.
struct Discovered {
    url: String,
    client: Option<Http>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

#[async_trait]
impl Fetch for Discovered {
    async fn fetch(&self) -> Result<KeySet, String> {
        let url = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let document = get(self.client.as_ref(), &url).await?;
        keys_at(self.client.as_ref(), &keys_of(&document, &self.url)?).await
    }
}

/// Where an issuer's discovery document says that its keys are.
///
/// # Errors
/// It is none, another's, or does not say.
pub fn keys_of(document: &[u8], issuer: &str) -> Result<String, String> {
    let document: Document = serde_json::from_slice(document).map_err(|_| "it is no discovery document".to_owned())?;
    if document.issuer != issuer {
        return Err("the discovery document is of another issuer: oidc_discovery_url must be as it says".into());
    }
    if !document.jwks_uri.starts_with("https://") && !document.jwks_uri.starts_with("http://") {
        return Err("the discovery document has no URL in jwks_uri".into());
    }
    Ok(document.jwks_uri)
}
