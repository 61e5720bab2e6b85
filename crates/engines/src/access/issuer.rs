//! `issuer`: the mount as an issuer of tokens (JWT) that API servers trust, for direct clusters that are entered by a token.
//! What they fetch to verify them is public: a document of OpenID Connect Discovery 1.0, and the public keys (RFC 7517).
//! The private key stays behind the barrier.

mod key;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_core::call::{Call, Outcome, Raw, Reply};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, Revision, get_json};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::clusters::DIRECT_LONGEST;
use super::{Access, keys};
use key::{Algorithm, Jwk, Key};

/// Where API servers look, below the issuer's URL.
const DISCOVERY: &str = ".well-known/openid-configuration";
/// The public keys, below the issuer's URL.
const KEYS: &str = ".well-known/keys";
/// A former key is published until the last token that it signed is over, and a moment longer: clocks differ.
const FORMER: Duration = DIRECT_LONGEST.saturating_add(Duration::from_secs(60));
const LONGEST_URL: usize = 512;
const WHY_PUBLIC: &str = "API servers fetch it, and have no token";

/// What is kept of the issuer. No `Debug`: it holds a key.
#[derive(Serialize, Deserialize)]
pub(super) struct Issuer {
    /// `https://dewdrop.example:8200/v1/access`: the claim `iss`, and where API servers fetch the keys.
    url: String,
    /// It signs.
    key: Key,
    /// They signed before.
    former: Vec<Former>,
}

/// A key that signs no more: its private half is gone.
#[derive(Clone, Serialize, Deserialize)]
struct Former {
    jwk: Jwk,
    /// The last token that it signed is over then.
    until: Moment,
}

#[derive(Deserialize, JsonSchema)]
struct IssuerFields {
    /// The claim `iss` of each token, and where API servers reach this mount: `https://dewdrop.example:8200/v1/access`.
    url: Option<Text>,
    /// How tokens are signed: `ES256` (when unset), or `RS256` for API servers that take nothing else.
    algorithm: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("issuer", "The mount as an issuer of tokens, for direct clusters that are entered by a token.", |route| {
            route
                .read("Its URL and the names of its keys.", read)
                .write("Sets it up, with a key; another algorithm makes another key.", write)
                .delete("Forgets it with its keys: no cluster is entered by a token any more.", delete)
        })
        .at("issuer/rotate", "A new key of the issuer.", |route| {
            route.write("Signs with it from now on; the last one is published until its last token is over.", rotate)
        })
        .at(DISCOVERY, "What an API server must know of the issuer (OpenID Connect Discovery).", |route| {
            route.public(WHY_PUBLIC).read("The document.", discovery)
        })
        .at(KEYS, "The public keys of the issuer (JWKS).", |route| {
            route.public(WHY_PUBLIC).read("Those of all tokens that are good now.", published)
        })
}

async fn read(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let issuer = access.issuer().await?.ok_or_else(Fault::not_found)?;
    Reply::of(&issuer.shown(call.now))
}

async fn write(access: Arc<Access>, call: Call, fields: IssuerFields) -> Result<Reply, Fault> {
    let _turn = access.queues.turn(keys::ISSUER).await;
    let (old, revision) = access.kept_issuer().await?;
    let wanted = fields.algorithm.map(|text| Algorithm::parse(&text.0)).transpose().map_err(Fault::bad_request)?;
    let url = match (fields.url, &old) {
        (Some(url), _) => parsed(&url.0).map_err(Fault::bad_request)?,
        (None, Some(old)) => old.url.clone(),
        (None, None) => return Err(Fault::bad_request(URL)),
    };
    let issuer = match old {
        Some(old) if wanted.is_none_or(|wanted| wanted == old.key.algorithm()) => Issuer { url, ..old },
        Some(old) => Issuer { url, ..old.rotated(wanted.unwrap_or_default(), call.now).await? },
        None => Issuer { url, key: Key::make(wanted.unwrap_or_default()).await?, former: Vec::new() },
    };
    access.keep_issuer(&issuer, revision).await?;
    let own = path_of(&call.mount);
    Ok(if issuer.url.ends_with(&own) {
        Reply::nothing()
    } else {
        Reply::nothing().warn(format!(
            "API servers look for {}/{DISCOVERY}, and this mount answers at {own}/{DISCOVERY}: something must lead there",
            issuer.url
        ))
    })
}

async fn delete(access: Arc<Access>, _: Call, _: NoFields) -> Result<Reply, Fault> {
    let _turn = access.queues.turn(keys::ISSUER).await;
    access.store.commit(Batch::new().delete(keys::ISSUER)).await?;
    Ok(Reply::nothing())
}

async fn rotate(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let _turn = access.queues.turn(keys::ISSUER).await;
    let (old, revision) = access.kept_issuer().await?;
    let old = old.ok_or_else(no_issuer)?;
    let algorithm = old.key.algorithm();
    let issuer = old.rotated(algorithm, call.now).await?;
    access.keep_issuer(&issuer, revision).await?;
    Reply::of(&issuer.shown(call.now))
}

async fn discovery(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let issuer = access.issuer().await?.ok_or_else(Fault::not_found)?;
    let mut algorithms: Vec<_> = issuer.published(call.now).map(|(jwk, _)| jwk.alg).collect();
    algorithms.dedup();
    as_is(&json!({
        "issuer": issuer.url, "jwks_uri": format!("{}/{KEYS}", issuer.url),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "groups", "grant"],
    }))
}

async fn published(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let issuer = access.issuer().await?.ok_or_else(Fault::not_found)?;
    as_is(&json!({ "keys": issuer.published(call.now).map(|(jwk, _)| jwk).collect::<Vec<_>>() }))
}

/// Who verifies tokens knows nothing of our envelope.
fn as_is(document: &Value) -> Result<Reply, Fault> {
    let body = serde_json::to_vec(document).map_err(|e| Fault::internal(format!("encode a document: {e}")))?;
    Ok(Outcome::Raw(Raw { content_type: "application/json", body: Bytes::from(body) }).into())
}

/// Said by whoever finds none.
pub(super) fn no_issuer() -> Fault {
    Fault::bad_request(
        "this mount is no issuer of tokens yet: write `issuer` with url=https://..., where API servers reach the mount",
    )
}

impl Access {
    /// The issuer; `None`: the mount is none.
    pub(super) async fn issuer(&self) -> Result<Option<Issuer>, Fault> {
        Ok(self.kept_issuer().await?.0)
    }

    async fn kept_issuer(&self) -> Result<(Option<Issuer>, Revision), Fault> {
        let found = get_json::<Issuer>(&*self.store, keys::ISSUER.as_bytes()).await?;
        Ok(found.map_or((None, 0), |(issuer, revision)| (Some(issuer), revision)))
    }

    async fn keep_issuer(&self, issuer: &Issuer, revision: Revision) -> Result<(), Fault> {
        let batch = Batch::new().put_json(keys::ISSUER, issuer)?.expect(keys::ISSUER, revision);
        self.store.commit(batch).await?;
        Ok(())
    }
}

// === impl Issuer ===

impl Issuer {
    /// The claim `iss`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, Fault> {
        self.key.sign(claims)
    }

    /// With a new key. The last one is published as long as a token of it can be good, and can sign no other.
    async fn rotated(self, algorithm: Algorithm, now: Moment) -> Result<Self, Fault> {
        let last = Former { jwk: self.key.public().clone(), until: now.plus(FORMER) };
        let mut former = vec![last];
        former.extend(self.former.into_iter().filter(|former| former.until > now));
        Ok(Self { url: self.url, key: Key::make(algorithm).await?, former })
    }

    /// The keys of all tokens that can be good now, the one that signs first.
    fn published(&self, now: Moment) -> impl Iterator<Item = (&Jwk, Option<Moment>)> {
        let former = self.former.iter().filter(move |former| former.until > now);
        std::iter::once((self.key.public(), None)).chain(former.map(|former| (&former.jwk, Some(former.until))))
    }

    fn shown(&self, now: Moment) -> Value {
        let key = |(jwk, until): (&Jwk, Option<Moment>)| json!({ "id": jwk.kid, "algorithm": jwk.alg, "until": until.map_or_else(String::new, Moment::rfc3339) });
        json!({
            "url": self.url, "algorithm": self.key.algorithm(), "discovery_url": format!("{}/{DISCOVERY}", self.url),
            "keys": self.published(now).map(key).collect::<Vec<_>>(),
        })
    }
}

const URL: &str = "url: write where API servers reach this mount, as https://dewdrop.example:8200/v1/access";

/// An issuer's URL, without a slash at its end: it is compared letter by letter.
fn parsed(url: &str) -> Result<String, String> {
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_plain = url.chars().all(|c| c.is_ascii_graphic() && !"?#@\\\"<>".contains(c));
    if host.is_empty() || !is_plain || url.len() > LONGEST_URL || url.contains("/.well-known") {
        return Err(URL.to_owned());
    }
    Ok(url.to_owned())
}

/// Where this mount answers, below the server's address.
fn path_of(mount: &Mount) -> String {
    format!("/v1/{}{}", mount.namespace.path, mount.path).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (given, expected) in [
            ("https://a.example:8200/v1/access", Some("https://a.example:8200/v1/access")),
            ("https://a.example/v1/team/access/", Some("https://a.example/v1/team/access")),
            ("https://a.example", Some("https://a.example")),
            ("http://a.example/v1/access", None),
            ("https://", None),
            ("https:///v1/access", None),
            ("https://a.example/v1?x=1", None),
            ("https://a.example/v1#x", None),
            ("https://u:p@a.example/v1", None),
            ("https://a.example/a b", None),
            ("https://a.example/v1/access/.well-known/openid-configuration", None),
        ] {
            assert_eq!(parsed(given).ok().as_deref(), expected, "{given}");
        }
    }
}
