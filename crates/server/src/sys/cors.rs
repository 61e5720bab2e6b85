//! Cross-origin requests: whose scripts may read this server's answers in a browser. Off unless `sys/config/cors` says otherwise;
//! then a request of another origin is refused.

use std::future::Future;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Flag, Strings};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Sys;
use crate::http::{Request, Response};
use crate::server::Server;
use crate::vault::Vault;

const AT: &[u8] = b"core/cors";
const METHODS: &str = "DELETE,GET,OPTIONS,POST,PUT,LIST,SCAN";
/// Headers that are allowed in any case.
const HEADERS: [&str; 10] = [
    "Content-Type",
    "Authorization",
    "X-Vault-Token",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-Policy-Override",
];

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Origins, or `*` alone.
    origins: Vec<String>,
    /// Request headers.
    headers: Vec<String>,
    /// Whether browsers may send cookies and the like.
    #[serde(default)]
    credentials: bool,
}

#[derive(Deserialize, JsonSchema)]
struct CorsFields {
    /// Without effect: setting origins enables.
    #[expect(dead_code, reason = "the API documents it; setting origins enables")]
    enable: Option<Flag>,
    /// Origins that may, or `*`.
    #[serde(default)]
    allowed_origins: Strings,
    /// Request headers beside the usual ones.
    #[serde(default)]
    allowed_headers: Strings,
    /// Whether browsers may send cookies and the like.
    #[serde(default)]
    allow_credentials: Flag,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("").at("config/cors", "Whose scripts may read answers in a browser.", |r| {
        r.sudo()
            .read("Shows who may", Sys::read_cors)
            .write("Says who may", Sys::write_cors)
            .delete("Nobody may", Sys::delete_cors)
    })
}

/// Puts in force what is stored.
///
/// # Errors
/// The store's.
pub(super) async fn load(server: &Server, vault: &Vault) -> Result<(), Fault> {
    let stored = get_json::<Cors>(&*vault.store, AT).await?;
    server.cors.store(stored.map(|(cors, _)| Arc::new(cors)));
    Ok(())
}

/// Serves a request under these rules: answers preflights, refuses other origins, adds the headers to what `serve` answers.
pub async fn around<F: Future<Output = Response>>(
    server: &Server,
    request: Request,
    serve: impl FnOnce(Request) -> F,
) -> Response {
    let origin = request.headers.get(header::ORIGIN).cloned();
    let (Some(cors), Some(origin)) = (server.cors.load_full(), origin) else { return serve(request).await };
    if !cors.allows(&origin) {
        return Response::errors(StatusCode::FORBIDDEN, &["origin not allowed"]);
    }
    let is_preflight = request.method == Method::OPTIONS;
    let mut response = match is_preflight {
        false => serve(request).await,
        true if cors.knows_method(&request.headers) => Response::empty(StatusCode::OK),
        true => return Response::empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    cors.dress(&mut response.headers, origin, is_preflight);
    response
}

impl Cors {
    fn is_for_all(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.is_for_all() || self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    fn knows_method(&self, headers: &HeaderMap) -> bool {
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        asked
            .and_then(|method| method.to_str().ok())
            .is_some_and(|method| METHODS.split(',').any(|known| known == method))
    }

    fn dress(&self, headers: &mut HeaderMap, origin: HeaderValue, is_preflight: bool) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if is_preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
            // Checked when they were set.
            if let Ok(allowed) = HeaderValue::from_str(&self.headers.join(",")) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            }
        }
    }
}

impl Sys {
    async fn read_cors(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        match self.server()?.cors.load_full() {
            None => Reply::of(&json!({ "enabled": false })),
            Some(cors) => Reply::of(&json!({
                "enabled": true,
                "allowed_origins": cors.origins,
                "allowed_headers": cors.headers,
                "allow_credentials": cors.credentials,
            })),
        }
    }

    async fn write_cors(self: Arc<Self>, _: Call, fields: CorsFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let origins = fields.allowed_origins.0;
        if origins.is_empty() {
            return Err(Fault::bad_request("at least one origin or the wildcard must be provided"));
        }
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            return Err(Fault::bad_request("to allow all origins the '*' must be the only value for allowed_origins"));
        }
        if fields.allowed_headers.0.iter().any(|name| http::HeaderName::try_from(name.as_str()).is_err()) {
            return Err(Fault::bad_request("allowed_headers holds what is no name of a header"));
        }
        let mut headers: Vec<String> = HEADERS.iter().map(ToString::to_string).collect();
        headers.extend(fields.allowed_headers.0);
        let cors = Cors { origins, headers, credentials: fields.allow_credentials.0 };
        self.vault()?.store.commit(Batch::new().put_json(AT, &cors)?).await?;
        self.server()?.cors.store(Some(Arc::new(cors)));
        Ok(Reply::nothing())
    }

    async fn delete_cors(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.vault()?.store.commit(Batch::new().delete(AT)).await?;
        self.server()?.cors.store(None);
        Ok(Reply::nothing())
    }
}
