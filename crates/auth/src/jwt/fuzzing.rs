//! What providers answer: the fuzzer and the ordinary tests both call these. They fail by panicking.

use std::sync::LazyLock;

use dewdrop_core::Moment;
use serde_json::json;

use super::config::Config;
use super::oidc::finish::{add, admit};
use super::oidc::provider::{Device, Tokens, Trouble, is_code, read_answer, read_document, read_userinfo};
use super::role::Role;
use super::{login, source};
use crate::jose::{Claims, Signed};

const ISSUER: &str = "https://id.example.com";
const CLIENT: &str = "dewdrop";
/// When the seeds were good.
const NOW: Moment = Moment(1_800_000_000_000);

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let mut config = Config::default();
    config.discovery.url = ISSUER.into();
    (config.client.id, config.client.secret) = (CLIENT.into(), "hunter2".into());
    config
});
/// A role that looks at everything.
static ROLE: LazyLock<Role> = LazyLock::new(|| {
    let role = json!({
        "name": "dev", "user_claim": "/who/0/name", "user_is_pointer": true, "groups_claim": "groups",
        "mappings": { "email": "email", "/address/country": "country" },
        "bounds": { "claims": { "hd": ["*.example.com", 7.0], "email_verified": true }, "with_globs": true },
        "browser": { "is_on": true, "max_age": 3600 },
    });
    serde_json::from_value(role).unwrap_or_default()
});

/// A discovery document, for sign-in and for keys.
pub fn discovery(bytes: &[u8]) {
    let is_url = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    if let Ok(url) = source::keys_of(bytes, ISSUER) {
        assert!(is_url(&url), "keys are nowhere: {url:?}");
    }
    if let Ok(document) = read_document(200, bytes, ISSUER) {
        let url = document.url(&[("state", "st & more"), ("scope", "openid")]);
        assert!(is_url(&url) && url.ends_with("state=st+%26+more&scope=openid"), "a browser would be sent to {url:?}");
    }
}

/// An answer of the token endpoint or the device's; whatever its ID token says, nobody has verified it.
pub fn answer(bytes: &[u8]) {
    if let Ok(tokens) = read_answer::<Tokens>(200, bytes) {
        let (id_token, _) = (tokens.id_token.into_secret(), tokens.access_token.into_secret());
        if let Ok(signed) = Signed::read(id_token.expose()) {
            let _ = judged(signed.unverified());
        }
    }
    let _ = read_answer::<Device>(200, bytes).map(|device| device.device_code.into_secret());
    if let Err(Trouble::Refused(code)) = read_answer::<Tokens>(400, bytes) {
        assert!(is_code(&code), "words of the provider's: {code:?}");
    }
}

/// Claims of a token that is verified; then, after a line's end, the userinfo.
pub fn claims(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (signed, more) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some(mut claims) = serde_json::from_slice(signed).ok().map(Claims).and_then(judged) else { return };
    let before = claims.clone();
    let Ok(()) = read_userinfo(more).map_err(drop).and_then(|more| add(&mut claims, more).map_err(drop)) else {
        return;
    };
    assert!(
        before.0.iter().all(|signed| claims.0.get(signed.0) == Some(signed.1)),
        "the userinfo changes what is signed"
    );
    if let Ok(login) = login::answer(ROLE.clone(), &claims) {
        assert!(!login.alias.is_empty() && login.metadata["role"] == "dev", "a login of nobody");
        let given = &claims.0["email_verified"];
        let is_bound = *given == true || given.as_array().is_some_and(|all| all.contains(&true.into()));
        assert!(is_bound, "a bound that does not bind");
    }
}

/// The claims, if they are taken.
fn judged(claims: Claims) -> Option<Claims> {
    admit(&CONFIG, &ROLE, &claims, Some("n_1"), NOW).ok()?;
    assert!(claims.audiences().contains(&CLIENT) && claims.text("iss") == Some(ISSUER), "a token for another");
    assert_eq!(claims.text("nonce"), Some("n_1"), "a token of another sign-in");
    Some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or the search would begin, and stay, at what is refused first.
    #[test]
    fn seeds_are_taken() {
        let seed = include_bytes!("../../../../fuzz/corpus/oidc-claims/whole");
        let (signed, more) = seed.split_at(seed.iter().position(|byte| *byte == b'\n').unwrap());
        let mut claims = judged(Claims(serde_json::from_slice(signed).unwrap())).unwrap();
        add(&mut claims, read_userinfo(&more[1..]).unwrap()).unwrap();
        let login = login::answer(ROLE.clone(), &claims).unwrap();
        assert_eq!((login.alias.as_str(), login.group_aliases.len(), login.metadata.len()), ("ada", 2, 3));
    }
}
