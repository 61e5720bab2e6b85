//! Where a browser may be sent back to.

/// The hosts of which any port will do: a client that waits on this machine takes one that is free (RFC 8252, 7.3).
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Whether a URI is one of those that are allowed. Texts are compared as they are, so there is nothing to be read in two
/// ways; only the port of plain HTTP to a loopback host is left out.
pub fn is_allowed(uri: &str, allowed: &[String]) -> bool {
    let portless = without_port(uri);
    allowed.iter().any(|one| one == uri || (portless.is_some() && without_port(one) == portless))
}

/// Host and path of plain HTTP to a loopback host; `None` for all others.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let host = LOOPBACK.into_iter().find(|host| rest.starts_with(host))?;
    let rest = &rest[host.len()..];
    let path = match rest.strip_prefix(':') {
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            port[..digits].parse::<u16>().ok()?;
            &port[digits..]
        }
        None => rest,
    };
    (path.is_empty() || path.starts_with('/')).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    fn allows(uri: &str) -> bool {
        let allowed = ["http://localhost:8250/oidc/callback", "http://127.0.0.1/cb", "https://vault.test/ui/cb"];
        is_allowed(uri, &allowed.map(str::to_owned))
    }

    #[test]
    fn what_is_listed_and_any_port_of_the_loopback() {
        for uri in [
            "http://localhost:8250/oidc/callback",
            "http://localhost:9999/oidc/callback",
            "http://localhost/oidc/callback",
            "http://127.0.0.1:1/cb",
            "https://vault.test/ui/cb",
        ] {
            assert!(allows(uri), "{uri}");
        }
    }

    #[test]
    fn nothing_else() {
        for uri in [
            "",
            "http://localhost:8250/oidc/callback/",
            "http://localhost:8250/oidc/callback?x=1",
            "http://localhost:8250/oidc/callback#x",
            "https://localhost:8250/oidc/callback",
            "http://LOCALHOST:8250/oidc/callback",
            "http://127.0.0.1:8250/oidc/callback",
            "http://localhost.evil.test/oidc/callback",
            "http://localhost@evil.test/oidc/callback",
            "http://localhost:80@evil.test/oidc/callback",
            "http://localhost:99999/oidc/callback",
            "http://localhost:/oidc/callback",
            "http://user@localhost:8250/oidc/callback",
            "http://localhost:8250\\@evil.test/oidc/callback",
            "http://localhost:8250/../oidc/callback",
            "http://localhost:8250//oidc/callback",
            "https://vault.test:444/ui/cb",
            "https://vault.test/ui/cb/../../evil",
            "https://evil.test/https://vault.test/ui/cb",
        ] {
            assert!(!allows(uri), "{uri}");
        }
    }
}
