//! Connection strings in both forms of libpq: `postgresql://user:password@host:port/database?key=value` and
//! `host=... user=...`. They are taken apart first and the placeholders are filled in afterwards, so that no character of
//! a password can mean anything in the string.

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::Settings;

/// How far the server must prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// No TLS, or any certificate.
    Unproved,
    /// One of our authorities vouches for it.
    Authority,
    /// And it bears the host's name.
    AuthorityAndName,
}

pub(crate) struct Read {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

type Pairs = Vec<(String, String)>;

/// Keys that the driver itself understands.
const DRIVER_KEYS: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "target_session_attrs",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "tcp_user_timeout",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

pub(crate) fn read(settings: &Settings<'_>) -> Result<Read, String> {
    let mut pairs = split(settings.url)?;
    for (_, value) in &mut pairs {
        *value = filled(value, settings);
    }
    let mut set_default = |key: &str, value: &str| {
        if !value.is_empty() && !pairs.iter().any(|(k, v)| k == key && !v.is_empty()) {
            pairs.push((key.to_owned(), value.to_owned()));
        }
    };
    set_default("user", settings.username);
    set_default("password", settings.password);
    set_default("application_name", "dewdrop");
    if let Some(database) = settings.database {
        pairs.retain(|(key, _)| key != "dbname");
        pairs.push(("dbname".into(), database.to_owned()));
    }
    let mut ssl_mode = String::from("prefer");
    let mut session = String::new();
    let mut text = String::new();
    for (key, value) in &pairs {
        match key.as_str() {
            "sslmode" => ssl_mode.clone_from(value),
            "connect_timeout" => {}
            key if DRIVER_KEYS.contains(&key) => text.push_str(&format!("{key}='{}' ", escaped(value))),
            key if key.starts_with("ssl") => {
                return Err(format!("connection_url: {key} is not read; give tls_ca, tls_certificate and private_key"));
            }
            key => session.push_str(&format!(" -c {key}={}", value.replace('\\', "\\\\").replace(' ', "\\ "))),
        }
    }
    let mut config: Config =
        text.parse().map_err(|_| "connection_url cannot be read: a key has a value that it may not have".to_owned())?;
    if !session.is_empty() {
        let options = format!("{}{session}", config.get_options().unwrap_or_default());
        config.options(options.trim());
    }
    let tls = ssl(&mut config, &ssl_mode, !settings.tls_ca.is_empty())?;
    Ok(Read { config, tls })
}

fn ssl(config: &mut Config, mode: &str, has_authority: bool) -> Result<Tls, String> {
    let (mode, tls) = match mode {
        "disable" => (SslMode::Disable, Tls::Unproved),
        "allow" | "prefer" | "" => (SslMode::Prefer, Tls::Unproved),
        "require" if has_authority => (SslMode::Require, Tls::Authority),
        "require" => (SslMode::Require, Tls::Unproved),
        "verify-ca" => (SslMode::Require, Tls::Authority),
        "verify-full" => (SslMode::Require, Tls::AuthorityAndName),
        _ => return Err("unknown sslmode: use disable, prefer, require, verify-ca or verify-full".to_owned()),
    };
    config.ssl_mode(mode);
    Ok(tls)
}

/// User, database and hosts, without anything secret.
pub(super) fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(i, host)| {
        let port = config.get_ports().get(i).or(config.get_ports().first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => path.display().to_string(),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let user = config.get_user().unwrap_or_default();
    format!("`user={user} database={}` at {}", config.get_dbname().unwrap_or(user), hosts.join(","))
}

/// The string with a literal password replaced by `xxxxx`, and whether there was one.
#[must_use]
pub fn hide_password(url: &str) -> (String, bool) {
    let literal = split(url).ok().and_then(|pairs| {
        pairs.into_iter().find(|(key, value)| key == "password" && !value.is_empty() && !value.contains("{{password}}"))
    });
    if literal.is_none() {
        return (url.to_owned(), false);
    }
    let hidden = if let Some((scheme, rest)) = url.split_once("://") {
        let (authority, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
        let authority = match authority.rsplit_once('@') {
            Some((login, place)) => match login.split_once(':') {
                Some((user, _)) => format!("{user}:xxxxx@{place}"),
                None => authority.to_owned(),
            },
            None => authority.to_owned(),
        };
        let query = query.map(|query| {
            let pairs =
                query.split('&').map(|pair| if pair.starts_with("password=") { "password=xxxxx" } else { pair });
            format!("?{}", pairs.collect::<Vec<_>>().join("&"))
        });
        format!("{scheme}://{authority}{}", query.unwrap_or_default())
    } else {
        let pairs = split(url).unwrap_or_default().into_iter();
        let shown =
            pairs.map(|(k, v)| if k == "password" { format!("{k}=xxxxx") } else { format!("{k}='{}'", escaped(&v)) });
        shown.collect::<Vec<_>>().join(" ")
    };
    (hidden, true)
}

fn split(url: &str) -> Result<Pairs, String> {
    let url = url.trim();
    if url.is_empty() {
        return Err("connection_url cannot be empty".into());
    }
    match url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://")) {
        Some(rest) => split_url(rest),
        None if url.contains("://") => {
            Err("connection_url must begin with postgresql:// or be a list of key=value".into())
        }
        None => split_words(url),
    }
}

fn split_url(rest: &str) -> Result<Pairs, String> {
    let (main, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = main.split_once('/').unwrap_or((main, ""));
    let (login, places) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for place in places.split(',').filter(|p| !p.is_empty()) {
        let (host, port) = match place.strip_prefix('[').and_then(|p| p.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or("")),
            None => place.rsplit_once(':').unwrap_or((place, "")),
        };
        hosts.push(decoded(host)?);
        ports.push(if port.is_empty() { "5432".to_owned() } else { port.to_owned() });
    }
    let mut pairs = vec![
        ("user".to_owned(), decoded(user)?),
        ("password".to_owned(), decoded(password)?),
        ("host".to_owned(), hosts.join(",")),
        ("port".to_owned(), ports.join(",")),
        ("dbname".to_owned(), decoded(database)?),
    ];
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("connection_url: a part after ? has no =")?;
        let (key, value) = (decoded(key)?, decoded(value)?);
        pairs.retain(|(known, _)| *known != key);
        pairs.push((key, value));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    Ok(pairs)
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| "connection_url: a %-sequence is not UTF-8".into())
}

fn split_words(mut rest: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(pairs);
        }
        let (key, after) = rest.split_once('=').ok_or("connection_url: a word has no =")?;
        let (value, after) = word(after.trim_start())?;
        pairs.push((key.trim().to_owned(), value));
        rest = after;
    }
}

/// A value up to a blank, or in single quotes; a backslash keeps the next character.
fn word(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            c if !quoted && c.is_whitespace() => return Ok((value, text.get(at..).unwrap_or_default())),
            c => value.push(c),
        }
    }
    if quoted { Err("connection_url: a quote is not closed".into()) } else { Ok((value, "")) }
}

fn filled(value: &str, settings: &Settings<'_>) -> String {
    let real = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if settings.disable_escaping => decoded.into_owned(),
        _ => text.to_owned(),
    };
    // Each is filled in once: a username that reads {{password}} stays what it is.
    let parts: Vec<String> =
        value.split("{{password}}").map(|part| part.replace("{{username}}", &real(settings.username))).collect();
    parts.join(&real(settings.password))
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<'a>(url: &'a str, password: &'a str) -> Settings<'a> {
        Settings {
            url,
            username: "ro ot",
            password,
            disable_escaping: false,
            tls_ca: "",
            tls_certificate: "",
            private_key: "",
            max_open: 1,
            database: None,
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let password = "a'b\\c?d&e@f/g:h%20 {{username}}";
        for url in [
            "postgresql://{{username}}:{{password}}@db.example:5433/app?sslmode=require&search_path=my%20schema",
            "host=db.example port=5433 user={{username}} password='{{password}}' dbname=app sslmode=require search_path='my schema'",
        ] {
            let read = read(&settings(url, password)).expect(url);
            assert_eq!(read.config.get_user(), Some("ro ot"));
            assert_eq!(read.config.get_password(), Some(password.as_bytes()));
            assert_eq!(read.config.get_dbname(), Some("app"));
            assert_eq!(read.config.get_ports(), [5433]);
            assert_eq!(read.config.get_options(), Some("-c search_path=my\\ schema"));
            assert_eq!((read.config.get_ssl_mode(), read.tls), (SslMode::Require, Tls::Unproved));
            assert_eq!(place(&read.config), "`user=ro ot database=app` at db.example:5433");
        }
    }

    #[test]
    fn several_hosts_and_ipv6() {
        let read = read(&settings("postgres://h1,[::1]:6000/x", "p")).expect("read");
        assert_eq!(read.config.get_ports(), [5432, 6000]);
        assert_eq!(read.config.get_user(), Some("ro ot"), "from the field");
    }

    #[test]
    fn literal_passwords_are_hidden() {
        assert_eq!(hide_password("postgresql://a:b@h/d"), ("postgresql://a:xxxxx@h/d".into(), true));
        assert_eq!(
            hide_password("postgresql://h/d?password=b&x=y"),
            ("postgresql://h/d?password=xxxxx&x=y".into(), true)
        );
        assert_eq!(hide_password("host=h password=b"), ("host='h' password=xxxxx".into(), true));
        for harmless in ["postgresql://{{username}}:{{password}}@h/d", "host=h", "postgresql://a@h"] {
            assert_eq!(hide_password(harmless), (harmless.into(), false));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bad in [
            "",
            "mysql://x",
            "postgresql://h?sslmode=maybe",
            "postgresql://h?sslrootcert=/x",
            "host='a",
            "x",
            "postgresql://h:port/d",
        ] {
            assert!(read(&settings(bad, "hunter2")).is_err_and(|e| !e.contains("hunter2")), "{bad}");
        }
    }
}
