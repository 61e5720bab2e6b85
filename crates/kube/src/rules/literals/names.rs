//! Names of variables that hold secrets.

/// The last word of such a name.
const LAST: &[&str] = &[
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PWD",
    "SECRET",
    "SECRETKEY",
    "TOKEN",
];
/// The word before a last word `KEY`.
const BEFORE_KEY: &[&str] = &["ACCESS", "API", "AUTH", "ENCRYPTION", "MASTER", "PRIVATE", "SECRET", "SIGNING"];

/// Whether the name is a secret's. What comes after (`TOKEN_TTL`, `PASSWORD_FILE`, `SECRET_NAME`) makes it the name of
/// something else; numbers at the end do not.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["PWD" | "PASS"] => false,
        [.., before, "KEY"] => BEFORE_KEY.contains(before),
        [.., "SECRET", "KEY", "BASE"] => true,
        [.., last] => LAST.contains(last),
        [] => false,
    }
}

/// `dbPassword2` and `DB_PASSWORD_2` are both `DB PASSWORD`.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_lower = false;
    for c in name.chars().take(200) {
        let breaks = !c.is_ascii_alphabetic() || (c.is_ascii_uppercase() && was_lower);
        if breaks && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphabetic() {
            word.push(c.to_ascii_uppercase());
        }
        was_lower = c.is_ascii_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "PASSWORD",
            "DB_PASSWORD",
            "db-password",
            "dbPassword",
            "DB_PASSWORD_2",
            "MYSQL_ROOT_PASSWORD",
            "API_KEY",
            "APIKEY",
            "STRIPE_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "CLIENT_SECRET",
            "GITHUB_TOKEN",
            "TOKEN",
            "SECRET_KEY_BASE",
            "DB_PASS",
            "DB_PWD",
            "privateKey",
            "spring.datasource.password",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn names_of_other_things() {
        for name in [
            "",
            "PWD",
            "PASS",
            "OLDPWD",
            "PATH",
            "TOKEN_TTL",
            "PASSWORD_FILE",
            "SECRET_NAME",
            "KEY",
            "PUBLIC_KEY",
            "PRIMARY_KEY",
            "TOKENS_PER_SECOND",
            "AWS_ACCESS_KEY_ID",
            "PASSWORD_MIN_LENGTH",
            "SECRETARY",
            "KEYBOARD",
            "123",
            "COMPASS",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
