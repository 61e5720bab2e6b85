//! The configuration: whose keys sign.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Store, get_json, put_json};
use dewdrop_core::wire::Text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Jwt;
use super::oidc::Client;
use super::source::Source;
use super::wire::{ConfigRequest, Pair};
use crate::jose::{ALGORITHMS, Alg};

const KEY: &[u8] = b"config";
/// The most places of keys.
const MOST_PAIRS: usize = 20;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Whose discovery document says where the keys are.
    pub discovery: Place,
    /// Where the keys are.
    pub jwks: Place,
    /// Several such places.
    pub pairs: Vec<Place>,
    /// The keys in PEM.
    pub pubkeys: Vec<String>,
    /// What may sign; empty: all that there is.
    pub algs: Vec<Alg>,
    /// Empty: any.
    pub bound_issuer: String,
    /// Empty: none.
    pub default_role: String,
    /// Kept and shown.
    pub namespace_in_state: bool,
    /// What we are to the provider, for sign-in by browser.
    pub client: Client,
}

/// Where something is, and whom to trust there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The URL; empty: nowhere.
    pub url: String,
    /// PEM; empty: the system's authorities.
    pub ca_pem: String,
}

/// `config`.
pub fn routes() -> Routes<Jwt> {
    Routes::new("").at("config", "Whose keys sign the tokens.", |route| {
        route.read("Reads the configuration.", Jwt::read_config).write("Sets the configuration.", Jwt::write_config)
    })
}

/// The configuration, as it is kept.
///
/// # Errors
/// The store's.
pub async fn read(store: &dyn Store) -> Result<Option<Config>, Fault> {
    Ok(get_json::<Config>(store, KEY).await?.map(|(config, _)| config))
}

impl Jwt {
    /// The configuration in use; `None`: there is none yet.
    pub(super) async fn source(&self) -> Result<Option<Arc<Source>>, Fault> {
        if let Some(known) = self.source.lock().clone() {
            return Ok(Some(known));
        }
        let _opening = self.opening.lock().await;
        if let Some(known) = self.source.lock().clone() {
            return Ok(Some(known));
        }
        let Some(config) = read(&*self.place.store).await? else { return Ok(None) };
        let source = Arc::new(Source::new(config, &self.place.clock)?);
        *self.source.lock() = Some(source.clone());
        Ok(Some(source))
    }

    async fn read_config(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let source = self.source().await?.ok_or_else(Fault::not_found)?;
        let mut fields = source.config.show();
        let trouble = source.trouble().await;
        fields.insert("status".into(), if trouble.is_some() { "invalid" } else { "valid" }.into());
        let reply = Reply::data(fields);
        Ok(match trouble {
            Some(why) => reply.warn(format!("failed to construct JWK validator: {why}")),
            None => reply,
        })
    }

    async fn write_config(self: Arc<Self>, _: Call, ask: ConfigRequest) -> Result<Reply, Fault> {
        let may_be_away = ask.skip_jwks_validation.is_some_and(|flag| flag.0);
        let in_state = match ask.namespace_in_state {
            Some(flag) => flag.0,
            None => read(&*self.place.store).await?.is_none_or(|old| old.namespace_in_state),
        };
        let config = Config { namespace_in_state: in_state, ..Config::of(ask)? };
        let source = Source::new(config, &self.place.clock)?;
        let mut reply = Reply::nothing();
        if let Err((told, why)) = source.check().await {
            if !may_be_away {
                return Err(Fault::bad_request(told).knowing(why));
            }
            reply = reply.warn(told);
        }
        let _opening = self.opening.lock().await;
        put_json(&*self.place.store, KEY, &source.config).await?;
        *self.source.lock() = Some(Arc::new(source));
        // What was begun with another provider ends with it.
        self.pending.clear();
        Ok(reply)
    }
}

// === impl Config ===

impl Config {
    fn of(ask: ConfigRequest) -> Result<Self, Fault> {
        refuse_unbuilt(&ask)?;
        let config = Self {
            discovery: Place { url: text(ask.oidc_discovery_url), ca_pem: pem(ask.oidc_discovery_ca_pem) },
            jwks: Place { url: text(ask.jwks_url), ca_pem: pem(ask.jwks_ca_pem) },
            pairs: pairs(ask.jwks_pairs.unwrap_or_default())?,
            pubkeys: ask.jwt_validation_pubkeys.map(|list| list.0).unwrap_or_default(),
            algs: algs(&ask.jwt_supported_algs.map(|list| list.0).unwrap_or_default())?,
            bound_issuer: text(ask.bound_issuer),
            default_role: text(ask.default_role).to_lowercase(),
            namespace_in_state: false,
            client: Client::of(
                ask.oidc_client_id,
                ask.oidc_client_secret,
                ask.oidc_response_mode,
                ask.oidc_response_types,
            )?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Fault> {
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        if self.client.is_set() && self.discovery.url.is_empty() {
            return refuse("'oidc_discovery_url' must be set for OIDC");
        }
        let ways = [
            !self.discovery.url.is_empty(),
            !self.jwks.url.is_empty(),
            !self.pairs.is_empty(),
            !self.pubkeys.is_empty(),
        ];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            return refuse(
                "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', 'oidc_discovery_url', or 'provider_config' must be set",
            );
        }
        if !self.pairs.is_empty() && !self.jwks.ca_pem.is_empty() {
            return refuse("'jwks_ca_pem' cannot be used with 'jwks_pairs'");
        }
        if !self.pairs.is_empty() && !self.bound_issuer.is_empty() {
            return refuse("'bound_issuer' cannot be used with 'jwks_pairs'");
        }
        if self.discovery.url.contains(".well-known/openid-configuration") {
            return refuse("'oidc_discovery_url' contains '.well-known' component");
        }
        Ok(())
    }

    /// The algorithms that tokens may be signed with.
    pub fn taken(&self) -> &[Alg] {
        if self.algs.is_empty() { &ALGORITHMS } else { &self.algs }
    }

    fn show(&self) -> Map<String, Value> {
        let pairs: Vec<Value> =
            self.pairs.iter().map(|pair| json!({ "jwks_url": pair.url, "jwks_ca_pem": pair.ca_pem })).collect();
        let fields = [
            ("bound_issuer", json!(self.bound_issuer)),
            ("default_role", json!(self.default_role)),
            ("jwks_ca_pem", json!(self.jwks.ca_pem)),
            ("jwks_url", json!(self.jwks.url)),
            ("jwt_supported_algs", json!(self.algs)),
            ("jwt_validation_pubkeys", json!(self.pubkeys)),
            ("namespace_in_state", json!(self.namespace_in_state)),
            ("oidc_client_id", json!(self.client.id)),
            ("oidc_discovery_ca_pem", json!(self.discovery.ca_pem)),
            ("oidc_discovery_url", json!(self.discovery.url)),
            ("oidc_response_mode", json!(self.client.response_mode)),
            ("oidc_response_types", json!(self.client.response_types)),
            ("override_allowed_server_names", json!([])),
            ("provider_config", json!({})),
        ];
        let pairs = Some(("jwks_pairs", json!(pairs))).filter(|_| !self.pairs.is_empty());
        fields.into_iter().chain(pairs).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// 501 for what a provider's own API would need.
fn refuse_unbuilt(ask: &ConfigRequest) -> Result<(), Fault> {
    let has = |list: &Option<dewdrop_core::wire::Strings>| list.as_ref().is_some_and(|list| !list.0.is_empty());
    if ask.provider_config.as_ref().is_some_and(|config| !config.is_empty()) || has(&ask.override_allowed_server_names)
    {
        return Err(Fault::not_built("provider_config and override_allowed_server_names are not built yet"));
    }
    Ok(())
}

fn text(field: Option<Text>) -> String {
    field.map(|text| text.0.trim().to_owned()).unwrap_or_default()
}

fn pem(field: Option<Text>) -> String {
    field.map(|text| text.0).unwrap_or_default()
}

fn pairs(asked: Vec<Pair>) -> Result<Vec<Place>, Fault> {
    if asked.len() > MOST_PAIRS {
        return Err(Fault::bad_request(format!("jwks_pairs: at most {MOST_PAIRS}")));
    }
    let read = |(at, pair): (usize, Pair)| {
        let refuse = |why| Err(Fault::bad_request(format!("invalid jwks_pairs[{at}]: {why}")));
        match pair.jwks_url {
            None => refuse("missing 'jwks_url'"),
            Some(url) if url.0.trim().is_empty() => refuse("'jwks_url' must be a non-empty string"),
            Some(url) => Ok(Place { url: url.0.trim().to_owned(), ca_pem: pem(pair.jwks_ca_pem) }),
        }
    };
    asked.into_iter().enumerate().map(read).collect()
}

fn algs(names: &[String]) -> Result<Vec<Alg>, Fault> {
    let known = || ALGORITHMS.map(|alg| format!("{alg:?}")).join(", ");
    let read = |(at, name): (usize, &String)| {
        let told = || format!("invalid jwt_supported_algs: number {} is none of {}", at + 1, known());
        Alg::named(name).ok_or_else(|| Fault::bad_request(told()))
    };
    names.iter().enumerate().map(read).collect()
}
