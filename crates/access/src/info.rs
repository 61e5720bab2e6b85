//! What a request to an API server asks for, read from its method, path and query as the API server reads them
//! (Kubernetes documentation, "API Access Control", request attributes). Whatever could be read in two ways is refused, and
//! what goes on to the API server is written anew from what was read.

use std::borrow::Cow;

use dewdrop_core::access::{Attributes, ResourceAsk};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands unescaped in a segment of a path.
pub const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'=')
    .remove(b',');

/// Parts of most paths.
const USUAL: usize = 8;
/// Parts of `namespaces/NAME` that belong to the namespace itself.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];

/// What a `PUT` makes when it is not there: group, resource and part. So has it Kubernetes 1.30 to 1.37 (the strategies whose
/// `AllowCreateOnUpdate` is true; that of a Service's status is by inheritance). Of all others it answers 404, of custom
/// resources too.
const MADE_BY_PUT: &[(&str, &str, &str)] = &[
    ("", "endpoints", ""),
    ("", "events", ""),
    ("", "limitranges", ""),
    ("", "services", ""),
    ("", "services", "status"),
    ("coordination.k8s.io", "leasecandidates", ""),
    ("coordination.k8s.io", "leases", ""),
    ("events.k8s.io", "events", ""),
    ("node.k8s.io", "runtimeclasses", ""),
    ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""),
    ("rbac.authorization.k8s.io", "roles", ""),
];

/// What is asked, with owned words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The verb: of a resource as RBAC calls it, otherwise the method in lower case.
    pub verb: String,
    /// The resource; `None`: another path.
    pub resource: Option<Resource>,
    /// The path, written anew.
    pub path: String,
    /// The query, as it came.
    pub query: Option<String>,
}

/// A resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty: the core.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The part of it; empty: itself.
    pub subresource: String,
    /// The namespace; empty: none, or all.
    pub namespace: String,
    /// The object; empty: a list, or one that is made.
    pub name: String,
}

/// Why a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The path.
    #[error("the path holds what API servers may read in different ways: an empty part, `.`, `..`, an escaped slash")]
    Path,
    /// The query.
    #[error("the query says `watch` or `fieldSelector` twice, or in a way that API servers may read differently")]
    Query,
    /// The verb.
    #[error("this method has no meaning for an API server")]
    Method,
}

// === impl Info ===

impl Info {
    /// Reads a request.
    ///
    /// # Errors
    /// It could be read in two ways, or in none.
    pub fn read(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Unreadable> {
        let parts = parts(path)?;
        let query_says = Query::read(query.unwrap_or_default())?;
        let mut written = written(&parts);
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let (verb, resource) = match parts.as_slice() {
            ["api", _version, rest @ ..] if !rest.is_empty() => read_resource(method, "", rest, &query_says)?,
            ["apis", group, _version, rest @ ..] if !rest.is_empty() => {
                read_resource(method, group, rest, &query_says)?
            }
            _ => (method.as_str().to_ascii_lowercase(), None),
        };
        // There the rest is the path of somebody else, to whom it may mean something: API servers lead from `proxy` to `proxy/`.
        if resource.as_ref().is_some_and(|of| of.subresource == "proxy") && path.ends_with('/') {
            written.push('/');
        }
        Ok(Self { verb, resource, path: written, query: query.map(str::to_owned) })
    }

    /// The same as a question whether the object may be made; `None`: this makes none that is not there. An apply on the
    /// server's side makes what is whole, and a `PUT` some kinds. The API server asks RBAC so, too, but only when it comes to
    /// that (`createAuthorizerAttributes` of its handlers); here nobody knows what is there, so it is asked each time.
    #[must_use]
    pub fn made(&self, is_apply: bool) -> Option<Self> {
        let of = self.resource.as_ref()?;
        let by_put = || MADE_BY_PUT.contains(&(of.group.as_str(), of.resource.as_str(), of.subresource.as_str()));
        let makes = match self.verb.as_str() {
            "update" => by_put(),
            "patch" if is_apply => of.subresource.is_empty() || by_put(),
            _ => false,
        };
        let whole = || Resource { subresource: String::new(), ..of.clone() };
        makes.then(|| Self { verb: "create".to_owned(), resource: Some(whole()), ..self.clone() })
    }

    /// As rules are asked about it.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        match &self.resource {
            None => Attributes::Path { verb: &self.verb, path: &self.path },
            Some(of) => Attributes::Resource(ResourceAsk {
                verb: &self.verb,
                group: &of.group,
                resource: &of.resource,
                subresource: &of.subresource,
                namespace: &of.namespace,
                name: &of.name,
            }),
        }
    }

    /// The command that exec is asked to run, as a person would type it; empty: none.
    #[must_use]
    pub fn command(&self) -> String {
        let pairs = self.query.as_deref().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let words = pairs.filter(|(key, _)| unescaped(key).is_ok_and(|key| key == "command"));
        let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
        let quoted = |word: String| {
            let is_bare = !word.is_empty() && word.chars().all(is_plain);
            if is_bare { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
        };
        words.filter_map(|(_, word)| unescaped(word).ok()).map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Path and query, as they go on.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

fn read_resource(
    method: &Method,
    group: &str,
    parts: &[&str],
    query: &Query,
) -> Result<(String, Option<Resource>), Unreadable> {
    let (watch_path, parts) = match parts {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        // Gone since Kubernetes 1.10; an old server would act as a proxy here.
        ["proxy", ..] => return Err(Unreadable::Path),
        _ => (false, parts),
    };
    let (namespace, parts) = match parts {
        ["namespaces", namespace, part, ..] if !OF_NAMESPACES.contains(part) => {
            (*namespace, parts.get(2..).unwrap_or_default())
        }
        ["namespaces", namespace, ..] => (*namespace, parts),
        _ => ("", parts),
    };
    let at = |index: usize| parts.get(index).copied().unwrap_or_default();
    let mut of = Resource {
        group: group.to_owned(),
        resource: at(0).to_owned(),
        subresource: at(2).to_owned(),
        namespace: namespace.to_owned(),
        name: at(1).to_owned(),
    };
    let verb = verb(method, &of.name, watch_path, query)?;
    if of.name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection") {
        of.name.clone_from(&query.name);
    }
    Ok((verb.to_owned(), Some(of)))
}

fn verb(method: &Method, name: &str, watch_path: bool, query: &Query) -> Result<&'static str, Unreadable> {
    Ok(match (method.as_str(), name.is_empty()) {
        ("GET" | "HEAD", _) if watch_path => "watch",
        ("GET" | "HEAD", true) if query.watch => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => return Err(Unreadable::Method),
    })
}

/// The parts of a path, unescaped. A slash at its end is left out.
fn parts(path: &str) -> Result<Vec<Cow<'_, str>>, Unreadable> {
    let inner = path.strip_prefix('/').ok_or(Unreadable::Path)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    let mut parts = Vec::with_capacity(USUAL);
    for raw in inner.split('/') {
        parts.push(part(raw)?);
    }
    Ok(parts)
}

fn part(raw: &str) -> Result<Cow<'_, str>, Unreadable> {
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| Unreadable::Path)?;
    if matches!(text.as_ref(), "" | "." | "..") || (!is_plain(&text) && text.contains(is_strange)) {
        return Err(Unreadable::Path);
    }
    Ok(text)
}

/// Whether a part stands in a path as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn is_strange(c: char) -> bool {
    matches!(c, '/' | '\\' | '%' | ';' | '?' | '#') || c.is_control() || c.is_whitespace()
}

fn written(parts: &[Cow<'_, str>]) -> String {
    if parts.is_empty() {
        return "/".to_owned();
    }
    let mut path = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        path.push('/');
        path.extend(utf8_percent_encode(part, SEGMENT));
    }
    path
}

/// What a query says of the verb.
#[derive(Default)]
struct Query {
    watch: bool,
    /// The name of a field selector `metadata.name=NAME`.
    name: String,
}

impl Query {
    fn read(query: &str) -> Result<Self, Unreadable> {
        let mut read = Self::default();
        let mut seen = (false, false);
        // Go drops pairs with a semicolon; others part them there.
        if query.contains(';') {
            return Err(Unreadable::Query);
        }
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (unescaped(key)?, unescaped(value)?);
            match key.as_str() {
                "watch" if !seen.0 => {
                    seen.0 = true;
                    read.watch = match value.as_str() {
                        "true" | "1" => true,
                        "false" | "0" => false,
                        _ => return Err(Unreadable::Query),
                    };
                }
                "fieldSelector" if !seen.1 => {
                    seen.1 = true;
                    read.name = selected(&value);
                }
                "watch" | "fieldSelector" => return Err(Unreadable::Query),
                // Servers may read names in any case.
                other if other.eq_ignore_ascii_case("watch") || other.eq_ignore_ascii_case("fieldSelector") => {
                    return Err(Unreadable::Query);
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

fn unescaped(text: &str) -> Result<String, Unreadable> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(Cow::into_owned).map_err(|_| Unreadable::Query)
}

/// The name that a field selector demands, when it is just that.
fn selected(selector: &str) -> String {
    let name = selector.strip_prefix("metadata.name==").or_else(|| selector.strip_prefix("metadata.name="));
    let is_name = |name: &&str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_'))
    };
    name.filter(is_name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
