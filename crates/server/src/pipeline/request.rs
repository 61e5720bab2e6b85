//! From HTTP to what is asked: verb, path, token, fields.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_core::wire::parse_ttl;
use dewdrop_core::{Fault, Kind, Moment, Operation, Secret};
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use crate::http::Request;
use crate::http::target::{BadPath, BadQuery, Query, api_path};

/// The deepest JSON that is read: far beyond what any client sends.
const DEEPEST: usize = 120;
/// A body under this content type is handed on as it is.
const OCTETS: &str = "application/octet-stream";
/// `curl -d` sends JSON under this content type, and old clients send forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// Paths that the API serves before all others: `OPTIONS` is 405 there and 400 elsewhere.
const AT_THE_DOOR: [&str; 8] = [
    "sys/health",
    "sys/init",
    "sys/leader",
    "sys/metrics",
    "sys/seal",
    "sys/seal-status",
    "sys/step-down",
    "sys/unseal",
];

/// What is asked.
pub struct Asked {
    /// Names the request.
    pub request_id: Arc<str>,
    /// When it came in.
    pub now: Moment,
    /// The verb.
    pub operation: Operation,
    /// The path below `/v1/`, decoded; with the namespace when the caller wrote it there.
    pub path: String,
    /// The namespace of the header, ending in `/`; empty without one.
    pub namespace: String,
    /// The token's text.
    pub token: Option<Arc<Secret<String>>>,
    /// Body fields of a write, query fields of a read.
    pub fields: Map<String, Value>,
    /// The body of a request that is no JSON.
    pub raw: Option<Bytes>,
    /// The caller wants the answer wrapped for this long.
    pub wrap_ttl: Option<Duration>,
    /// All headers.
    pub headers: HeaderMap,
    /// `HEAD`: no path of the vault answers it.
    pub is_head: bool,
    /// Index of the listener that it came in by.
    pub listener: usize,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
    /// The client's certificate chain.
    pub certificates: Vec<Bytes>,
}

/// Reads a request.
///
/// # Errors
/// 400, 405, 413 or 415, each with a sentence that says what to do.
pub fn parse(request: Request, now: Moment) -> Result<Asked, Fault> {
    let path = api_path(request.target.path()).map_err(|bad| path_fault(&bad))?.into_string();
    let query = Query::parse(request.target.query().unwrap_or_default()).map_err(|bad| query_fault(&bad))?;
    if request.method == Method::OPTIONS && !AT_THE_DOOR.contains(&path.as_str()) {
        return Err(Fault::bad_request("cannot handle internal-only request operation"));
    }
    let operation = operation(&request.method, &query)?;
    let query = query_fields(&query);
    check_content_type(operation, &request.headers)?;
    let headers = request.headers;
    let token = token(&headers)?;
    let namespace = namespace(&headers)?;
    let wrap_ttl = wrap_ttl(&headers)?;
    let kind = header(&headers, "content-type").unwrap_or_default();
    let is_form = kind.starts_with(FORM) && !looks_like_json(&request.body);
    let (fields, raw) = match operation {
        Operation::Update | Operation::Patch if kind.starts_with(OCTETS) || takes_raw(&path) => {
            (query, Some(request.body))
        }
        Operation::Update if is_form => (form_fields(&request.body)?, None),
        Operation::Update | Operation::Patch => (body_fields(&request.body)?, None),
        _ => (query, None),
    };
    Ok(Asked {
        request_id: request.id,
        now,
        operation,
        path,
        namespace,
        token,
        fields,
        raw,
        wrap_ttl,
        headers,
        is_head: request.method == Method::HEAD,
        listener: request.peer.connection.listener,
        address: request.peer.address,
        certificates: request.peer.connection.certificates.clone(),
    })
}

fn path_fault(bad: &BadPath) -> Fault {
    match bad {
        BadPath::NotApi => Fault::not_found(),
        bad => Fault::bad_request(bad.to_string()),
    }
}

fn query_fault(bad: &BadQuery) -> Fault {
    Fault::bad_request(bad.to_string())
}

/// Query fields; of a name that comes more than once, all values in a list. What only names the verb is no field.
fn query_fields(query: &Query<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in query.pairs().filter(|(name, _)| !matches!(*name, "list" | "scan" | "help")) {
        match fields.get_mut(name) {
            None => drop(fields.insert(name.to_owned(), value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
        }
    }
    fields
}

fn operation(method: &Method, query: &Query<'_>) -> Result<Operation, Fault> {
    let is_set = |name: &str| query.flag(name).map_err(|bad| query_fault(&bad));
    Ok(match method.as_str() {
        "GET" if is_set("help")? => Operation::Help,
        "GET" if is_set("list")? => Operation::List,
        "GET" if is_set("scan")? => Operation::Scan,
        "GET" | "HEAD" => Operation::Read,
        "POST" | "PUT" => Operation::Update,
        "DELETE" => Operation::Delete,
        "LIST" => Operation::List,
        "SCAN" => Operation::Scan,
        "HELP" => Operation::Help,
        "PATCH" => Operation::Patch,
        _ => return Err(Fault::new(Kind::Unsupported, "")),
    })
}

fn check_content_type(operation: Operation, headers: &HeaderMap) -> Result<(), Fault> {
    if operation != Operation::Patch {
        return Ok(());
    }
    let given = header(headers, "content-type").unwrap_or_default();
    if given.split(';').next().is_some_and(|kind| kind.trim() == "application/merge-patch+json") {
        return Ok(());
    }
    let kind = if given.is_empty() { Kind::BadRequest } else { Kind::MediaType };
    Err(Fault::new(kind, "PATCH requires Content-Type of application/merge-patch+json"))
}

/// Paths whose body is a file, whatever content type the client gives it.
fn takes_raw(path: &str) -> bool {
    let below = path.strip_prefix("sys/storage/").map(|below| below.strip_prefix("raft/").unwrap_or(below));
    matches!(below, Some("snapshot" | "snapshot-force"))
}

fn looks_like_json(body: &[u8]) -> bool {
    body.trim_ascii_start().first().is_none_or(|byte| matches!(byte, b'{' | b'[' | b'"' | b'n'))
}

fn form_fields(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::bad_request("error parsing form data: it is not UTF-8"))?;
    Ok(query_fields(&Query::parse(text).map_err(|bad| query_fault(&bad))?))
}

/// The fields of a JSON body: an object, or nothing.
fn body_fields(body: &Bytes) -> Result<Map<String, Value>, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    check_depth(body)?;
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Fault::bad_request("failed to parse JSON input: the body must be a JSON object")),
        Err(error) => Err(Fault::bad_request(format!(
            "failed to parse JSON input: {} at line {} column {}",
            what(&error),
            error.line(),
            error.column()
        ))),
    }
}

/// What is wrong with the JSON; without the text itself, which may hold a secret.
fn what(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "it has the wrong shape",
        serde_json::error::Category::Io => "it cannot be read",
    }
}

fn check_depth(body: &[u8]) -> Result<(), Fault> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(Fault::bad_request(format!(
                "failed to parse JSON input: it is nested deeper than {DEEPEST} levels"
            )));
        }
    }
    Ok(())
}

fn token(headers: &HeaderMap) -> Result<Option<Arc<Secret<String>>>, Fault> {
    let plain = header(headers, "x-vault-token").filter(|text| !text.is_empty());
    let text = match plain {
        Some(text) => Some(text),
        None => header(headers, "authorization").and_then(|text| text.strip_prefix("Bearer ")).map(str::trim),
    };
    match text {
        Some(text) if text.len() > 8192 => Err(Fault::denied("a token longer than any that is made here")),
        text => Ok(text.map(|t| Arc::new(Secret::new(t.to_owned())))),
    }
}

fn namespace(headers: &HeaderMap) -> Result<String, Fault> {
    let given = header(headers, "x-vault-namespace").unwrap_or_default().trim_matches('/');
    if given.is_empty() || given == "root" {
        return Ok(String::new());
    }
    let path = api_path(&format!("/v1/{given}")).map_err(|bad| path_fault(&bad))?;
    Ok(format!("{}/", path.as_str()))
}

fn wrap_ttl(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(text) = header(headers, "x-vault-wrap-ttl").filter(|text| !text.is_empty()) else { return Ok(None) };
    let ttl =
        parse_ttl(text).map_err(|why| Fault::bad_request(format!("error parsing X-Vault-Wrap-TTL header: {why}")))?;
    Ok(Some(ttl).filter(|ttl| !ttl.is_zero()))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        assert!(body_fields(&Bytes::from_static(b"  ")).unwrap().is_empty());
        assert!(body_fields(&Bytes::from_static(b"{\"a\":1}")).unwrap().contains_key("a"));
        for bad in ["[1]", "\"x\"", "{\"a\":", "{a:1}", "\u{feff}{}"] {
            let fault = body_fields(&Bytes::from(bad.to_owned())).unwrap_err();
            assert_eq!(fault.kind, Kind::BadRequest, "{bad}");
        }
    }

    #[test]
    fn deep_json_is_refused_and_text_is_not_counted() {
        let deep = "[".repeat(100_000);
        assert_eq!(body_fields(&Bytes::from(deep)).unwrap_err().kind, Kind::BadRequest);
        let text = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
        assert!(body_fields(&Bytes::from(text)).is_ok());
    }

    #[test]
    fn verbs() {
        let query = |raw| Query::parse(raw).unwrap();
        assert_eq!(operation(&Method::GET, &query("list=true")), Ok(Operation::List));
        assert_eq!(operation(&Method::PUT, &query("")), Ok(Operation::Update));
        assert!(operation(&Method::TRACE, &query("")).is_err());
    }

    #[test]
    fn query_fields_keep_all_values() {
        let fields = query_fields(&Query::parse("list=true&a=1&b=x&a=2&a=3").unwrap());
        assert_eq!(Value::Object(fields), serde_json::json!({ "a": ["1", "2", "3"], "b": "x" }));
    }
}
