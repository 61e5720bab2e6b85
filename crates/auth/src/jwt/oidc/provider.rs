//! The provider: its discovery document, its token endpoint, its userinfo.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::{Clock, Secret};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::client::Client;
use crate::jose::Http;

/// How long a discovery document is taken for true.
const FRESH: Duration = Duration::from_secs(300);
/// What stands in a query as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A provider that knows us as a client.
pub struct Provider {
    /// Its issuer, as configured.
    pub issuer: String,
    /// What we are to it.
    pub client: Client,
    http: Option<Http>,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<(Duration, Arc<Document>)>>,
}

/// What the discovery document says.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    userinfo_endpoint: String,
    #[serde(default)]
    device_authorization_endpoint: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// What the token endpoint gives.
#[derive(Deserialize)]
pub struct Tokens {
    /// Who it is, signed.
    pub id_token: Secretly,
    /// For the userinfo; empty: none.
    #[serde(default)]
    pub access_token: Secretly,
}

/// What the device endpoint gives.
#[derive(Deserialize)]
pub struct Device {
    /// What we ask with.
    pub device_code: Secretly,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it; empty: none.
    #[serde(default)]
    pub verification_uri_complete: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds; zero: five.
    #[serde(default)]
    pub interval: u64,
}

/// A text of an answer that is not printed.
#[derive(Deserialize, Default)]
#[serde(transparent)]
pub struct Secretly(String);

/// Why there is nothing.
#[derive(Debug)]
pub enum Trouble {
    /// The provider refuses: the code of its error.
    Refused(String),
    /// It cannot be asked, or answers what is none.
    Away(String),
}

impl Secretly {
    /// The text.
    pub fn into_secret(self) -> Secret<String> {
        Secret::new(self.0)
    }
}

impl Provider {
    /// A provider; nothing is asked yet.
    pub fn new(issuer: String, client: Client, http: Option<Http>, clock: Arc<dyn Clock>) -> Self {
        Self { issuer, client, http, clock, known: Mutex::default() }
    }

    fn http(&self) -> Result<Http, Trouble> {
        match &self.http {
            Some(http) => Ok(http.clone()),
            None => Http::new("").map_err(|fault| Trouble::Away(fault.told.into_owned())),
        }
    }

    /// The discovery document.
    ///
    /// # Errors
    /// It cannot be had, or is of another.
    pub async fn document(&self) -> Result<Arc<Document>, Trouble> {
        let now = self.clock.steady();
        if let Some((read, document)) = &*self.known.lock()
            && now < *read + FRESH
        {
            return Ok(document.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let (status, body) = self.http()?.get(&url, None).await.map_err(Trouble::Away)?;
        let document = read_document(status, &body, &self.issuer).map_err(Trouble::Away)?;
        let document = Arc::new(document);
        *self.known.lock() = Some((now, document.clone()));
        Ok(document)
    }

    /// Gives a code and the proof that we began, and gets tokens.
    ///
    /// # Errors
    /// The provider refuses or is away.
    pub async fn exchange(&self, code: &str, verifier: &Secret<String>, redirect: &str) -> Result<Tokens, Trouble> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier.expose()),
        ];
        let document = self.document().await?;
        self.post(&document.token_endpoint, &document, &fields).await
    }

    /// Begins a device's sign-in.
    ///
    /// # Errors
    /// The provider refuses, is away or has no such thing.
    pub async fn begin_device(&self, scope: &str) -> Result<Device, Trouble> {
        let document = self.document().await?;
        if document.device_authorization_endpoint.is_empty() {
            return Err(Trouble::Away("the provider has no device_authorization_endpoint".into()));
        }
        self.post(&document.device_authorization_endpoint, &document, &[("scope", scope)]).await
    }

    /// Asks whether a device's sign-in has ended.
    ///
    /// # Errors
    /// The provider refuses (`authorization_pending` as well) or is away.
    pub async fn ask_device(&self, code: &Secret<String>) -> Result<Tokens, Trouble> {
        let document = self.document().await?;
        let kind = "urn:ietf:params:oauth:grant-type:device_code";
        let fields = [("grant_type", kind), ("device_code", code.expose().as_str())];
        self.post(&document.token_endpoint, &document, &fields).await
    }

    /// What the provider says of the person beside the token; empty when it has nothing to ask.
    ///
    /// # Errors
    /// It cannot be asked, or answers what is none.
    pub async fn userinfo(&self, access: &Secret<String>) -> Result<Map<String, Value>, Trouble> {
        let document = self.document().await?;
        if document.userinfo_endpoint.is_empty() || access.expose().is_empty() {
            return Ok(Map::new());
        }
        let http = self.http()?;
        let answer = http.get(&document.userinfo_endpoint, Some(access.expose())).await.map_err(Trouble::Away)?;
        match answer {
            (200, body) => read_userinfo(&body),
            (status, _) => Err(Trouble::Away(format!("the userinfo has the status {status}"))),
        }
    }

    async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        document: &Document,
        fields: &[(&str, &str)],
    ) -> Result<T, Trouble> {
        let client = &self.client;
        let mut form = query(fields);
        let basic = document.takes_basic().then(|| (encoded(&client.id), encoded(&client.secret)));
        if basic.is_none() {
            form = format!("{form}&{}", query(&[("client_id", &client.id), ("client_secret", &client.secret)]));
        }
        let basic = basic.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str()));
        let (status, body) = self.http()?.post_form(url, basic, form).await.map_err(Trouble::Away)?;
        read_answer(status, &body)
    }
}

impl Document {
    /// The URL that a browser is sent to.
    pub fn url(&self, fields: &[(&str, &str)]) -> String {
        let joint = if self.authorization_endpoint.contains('?') { '&' } else { '?' };
        format!("{}{joint}{}", self.authorization_endpoint, query(fields))
    }

    /// How we name ourselves: in the header, unless the provider takes it in the form only.
    fn takes_basic(&self) -> bool {
        let methods = &self.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.iter().any(|method| method == name);
        has("client_secret_basic") || !has("client_secret_post")
    }
}

/// Reads a discovery document.
///
/// # Errors
/// It is none, or another's.
pub fn read_document(status: u16, body: &[u8], issuer: &str) -> Result<Document, String> {
    if status != 200 {
        return Err(format!("the discovery document has the status {status}"));
    }
    let document: Document =
        serde_json::from_slice(body).map_err(|_| "it is no discovery document for sign-in".to_owned())?;
    if document.issuer != issuer {
        return Err("the discovery document is of another issuer".into());
    }
    let urls = [&document.authorization_endpoint, &document.token_endpoint];
    let more = [&document.userinfo_endpoint, &document.device_authorization_endpoint];
    let is_url = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    if !urls.into_iter().all(|url| is_url(url)) || !more.into_iter().all(|url| url.is_empty() || is_url(url)) {
        return Err("an endpoint of the discovery document is no URL".into());
    }
    Ok(document)
}

/// Reads what an endpoint for clients answers.
///
/// # Errors
/// A refusal, or it is none of what was asked for.
pub fn read_answer<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, Trouble> {
    if status == 200 {
        let other = |_| Trouble::Away("the provider's answer has not what is needed in it".into());
        return serde_json::from_slice(body).map_err(other);
    }
    Err(refusal(body).map_or_else(|| Trouble::Away(format!("its answer has the status {status}")), Trouble::Refused))
}

/// Reads what the provider says of a person.
///
/// # Errors
/// It says nothing of the kind.
pub fn read_userinfo(body: &[u8]) -> Result<Map<String, Value>, Trouble> {
    serde_json::from_slice(body).map_err(|_| Trouble::Away("the userinfo is no JSON object".into()))
}

/// The code of an error, such as `invalid_grant`. Its words stay behind: they may hold anything.
fn refusal(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let code = value.get("error")?.as_str()?;
    is_code(code).then(|| code.to_owned())
}

/// Whether a text can be an OAuth error's code.
pub fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn query(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace("%20", "+")
}
