//! Webhooks, and messages to Slack: one `POST` within limits. No redirect is followed and no answer is read.

use std::time::Duration;

use aws_lc_rs::hmac;
use dewdrop_core::Moment;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::letter::Letter;
use super::reach::{addresses, is_off_limits};
use super::words;

/// The whole of one try.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_URL: usize = 2000;

/// Where a `POST` goes. It holds secrets (the URL is one), so it has no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Web {
    /// The address.
    pub url: String,
    /// Whether it may be `http`.
    pub insecure_http: bool,
    /// Authorities of the receiver; empty: those of the system.
    pub ca_pem: String,
    /// The key of the signature; empty for Slack.
    pub secret: String,
}

impl Web {
    /// Whether it is fit to be kept.
    ///
    /// # Errors
    /// A sentence without the address.
    pub fn check(&self) -> Result<(), String> {
        let url = Url::parse(&self.url).ok().filter(|_| self.url.len() <= LONGEST_URL);
        let url = url.ok_or("url: write it as https://receiver.example/path")?;
        match url.scheme() {
            "https" => {}
            "http" if self.insecure_http => {}
            "http" => return Err("url: only https; http needs insecure_http=true".into()),
            _ => return Err("url: only https".into()),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("url: without name, password and fragment".into());
        }
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if literal.is_some_and(is_off_limits) {
            return Err("url: addresses of the link (169.254.0.0/16, fe80::/10) are not asked".into());
        }
        self.client().map(drop)
    }

    /// What may be shown of the address.
    pub fn host(&self) -> String {
        Url::parse(&self.url).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }

    /// Sends JSON with a signature over the time and the body.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send_signed(&self, client: &Client, letter: &Letter, now: Moment) -> Result<(), String> {
        let body = letter.json().to_string();
        let time = now.seconds().to_string();
        let headers = [
            ("dewdrop-notice", letter.id.clone()),
            ("dewdrop-event", letter.event.name().to_owned()),
            ("dewdrop-signature", signature(&self.secret, &time, &body)),
            ("dewdrop-timestamp", time),
        ];
        self.post(client, body, &headers).await
    }

    /// Sends it as Slack takes it.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send_slack(&self, client: &Client, letter: &Letter) -> Result<(), String> {
        let body: Value = words::slack(letter);
        self.post(client, body.to_string(), &[]).await
    }

    async fn post(&self, client: &Client, body: String, headers: &[(&str, String)]) -> Result<(), String> {
        let mut request = client.post(&self.url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| words::why(&error.without_url()))?;
        let status = response.status();
        match status.as_u16() {
            200..300 => Ok(()),
            300..400 => Err(format!("the receiver answered {}; redirects are not followed", status.as_u16())),
            code => Err(format!("the receiver answered {code}")),
        }
    }

    /// What it is sent with.
    ///
    /// # Errors
    /// `ca_pem` is of no use.
    pub fn client(&self) -> Result<Client, String> {
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE / 2)
            .timeout(PATIENCE)
            .dns_resolver(std::sync::Arc::new(Names))
            .user_agent(concat!("dewdrop/", env!("CARGO_PKG_VERSION")));
        if !self.ca_pem.trim().is_empty() {
            let bundle = Certificate::from_pem_bundle(self.ca_pem.as_bytes()).ok().filter(|bundle| !bundle.is_empty());
            builder = builder.tls_certs_only(bundle.ok_or("ca_pem: no bundle of PEM certificates")?);
        }
        builder.build().map_err(|error| format!("ca_pem: {}", words::why(&error)))
    }
}

/// `v1=` and HMAC-SHA256 of `TIME.BODY` in hex.
fn signature(secret: &str, time: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("v1={}", hex::encode(hmac::sign(&key, format!("{time}.{body}").as_bytes())))
}

/// Names, without the addresses that are off limits.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let fit: Addrs = Box::new(addresses(name.as_str(), 0).await?.into_iter());
            Ok(fit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf 1700000000.{} | openssl dgst -sha256 -hmac 0123456789abcdef`.
    #[test]
    fn a_signature_as_openssl_makes_it() {
        let made = signature("0123456789abcdef", "1700000000", "{}");
        assert_eq!(made, "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e");
    }

    #[test]
    fn addresses() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let check = |url: &str, insecure_http| Web { url: url.into(), insecure_http, ..Web::default() }.check();
        for (url, insecure) in [
            ("http://a.example/x", false),
            ("ftp://a.example", true),
            ("https://", false),
            ("a.example", false),
            ("https://ann:secret@a.example/", false),
            ("https://a.example/#x", false),
            ("https://169.254.169.254/latest", false),
            ("https://[fe80::1]/", false),
            ("https://[::ffff:169.254.169.254]/", false),
            ("https://0.0.0.0/", false),
            ("https://[fd00:ec2::254]/latest", false),
            ("file:///etc/passwd", true),
        ] {
            let why = check(url, insecure).unwrap_err();
            assert!(!why.contains("secret@"), "{why}");
        }
        assert_eq!(check("http://a.example/x", true), Ok(()));
        assert_eq!(check("https://hooks.example:8443/T0/B0", false), Ok(()));
        let web = Web { url: "https://hooks.example:8443/T0/B0?x=1".into(), ..Web::default() };
        assert_eq!(web.host(), "https://hooks.example:8443");
    }

    #[tokio::test]
    async fn names_are_looked_up_by_us() {
        let found = Names.resolve("localhost".parse().unwrap()).await.map(|all| all.count());
        assert!(found.is_ok_and(|count| count > 0));
        assert!(Names.resolve("169.254.169.254".parse().unwrap()).await.is_err());
    }
}
