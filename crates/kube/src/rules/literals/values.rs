//! Values that are secrets by their shape.

/// Beginning of a token, how many characters follow at least, and whose it is.
const SHAPES: &[(&str, usize, &str)] = &[
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("ghu_", 30, "a GitHub token"),
    ("ghr_", 30, "a GitHub token"),
    ("github_pat_", 30, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("hvs.", 20, "a Vault token"),
    ("hvb.", 20, "a Vault token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("sk_live_", 16, "a Stripe key"),
    ("rk_live_", 16, "a Stripe key"),
    ("AIza", 35, "a Google API key"),
    ("SG.", 40, "a SendGrid key"),
    ("npm_", 36, "an npm token"),
    ("pypi-", 40, "a PyPI token"),
    ("dckr_pat_", 20, "a Docker token"),
];

/// Words that are settings and no secrets.
const PLAIN: &[&str] = &["true", "false", "yes", "no", "on", "off", "none", "null", "disabled", "enabled"];

/// What a value looks like, wherever in it.
pub fn known_shape(value: &str) -> Option<&'static str> {
    if value.contains("-----BEGIN ") && value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if has_password_in_url(value) {
        return Some("a URL with a password");
    }
    // A token is a word of its own; what follows it belongs to something else.
    let mut words = value.split(|c: char| !is_of_token(c));
    words.find_map(|word| {
        let shape =
            SHAPES.iter().find(|(begin, least, _)| word.strip_prefix(begin).is_some_and(|rest| rest.len() >= *least));
        shape.map(|(_, _, kind)| *kind).or_else(|| is_jwt(word).then_some("a signed token (JWT)"))
    })
}

/// Whether a value can be a secret at all.
pub fn may_be_secret(value: &str) -> bool {
    let value = value.trim();
    let is_plain = PLAIN.iter().any(|plain| value.eq_ignore_ascii_case(plain));
    let is_path = value.starts_with('/') || value.starts_with("./");
    let is_reference = value.starts_with("$(") && value.ends_with(')') && !value[2..].contains("$(");
    let is_small_number = value.len() <= 3 && value.bytes().all(|b| b.is_ascii_digit());
    !(value.is_empty() || is_plain || is_path || is_reference || is_small_number)
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// `scheme://user:password@host`, where the password is no reference to another variable.
fn has_password_in_url(value: &str) -> bool {
    value.match_indices("://").any(|(at, mark)| {
        let rest = &value[at + mark.len()..];
        let authority = rest.split(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()).next().unwrap_or("");
        let password =
            authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map_or("", |(_, password)| password);
        !password.is_empty() && !password.starts_with("$(")
    })
}

fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    matches!(parts.as_slice(), [head, body, sign] if head.starts_with("eyJ") && body.starts_with("eyJ") && sign.len() >= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_tokens() {
        let jwt = format!("eyJhbGciOi.eyJzdWIiOi.{}", "x".repeat(40));
        for (value, kind) in [
            ("AKIAIOSFODNN7EXAMPLE", "AWS"),
            ("key=AKIAIOSFODNN7EXAMPLE;", "AWS"),
            ("ghp_0123456789abcdefghijklmnopqrstuvwxyz", "GitHub"),
            ("hvs.CAESIJ0123456789abcdefgh", "Vault"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII", "private key"),
            ("postgres://app:hunter2@db:5432/app", "URL"),
            ("jdbc:x://u:p@h", "URL"),
            (jwt.as_str(), "JWT"),
        ] {
            assert!(known_shape(value).is_some_and(|told| told.contains(kind)), "{value}");
        }
    }

    #[test]
    fn what_is_no_token() {
        for value in [
            "",
            "AKIA",
            "xAKIAIOSFODNN7EXAMPLE",
            "ghp_short",
            "postgres://db:5432/app",
            "postgres://app@db",
            "https://x/a:b@c",
            "hvs.",
            "-----BEGIN CERTIFICATE-----",
            "postgres://app:$(DB_PASSWORD)@db",
            "eyJ.eyJ.x",
            "ÄÖÜ://ä:@ß",
        ] {
            assert_eq!(known_shape(value), None, "{value}");
        }
    }

    #[test]
    fn values_that_are_settings() {
        for value in ["", " ", "true", "No", "/run/secret", "$(X)", "0", "42", "./x"] {
            assert!(!may_be_secret(value), "{value}");
        }
        for value in ["hunter2", "1234", "$(A)$(B)", "$2y$10$abc", "$("] {
            assert!(may_be_secret(value), "{value}");
        }
    }
}
