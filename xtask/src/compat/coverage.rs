//! Is there a step for every operation of the list (`tests/compat/operations.csv`)?

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::script::{Act, Conversation, Step};

/// `path,method` of the API, with `{placeholders}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// E.g. `{kv2}/data/{path}`.
    pub path: String,
    /// E.g. `GET`, `LIST`, `HELP`.
    pub method: String,
}

/// Reads the list: a header line, then `path,method[,...]`.
pub fn load(file: &Path) -> Result<Vec<Operation>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Operation>> {
    let mut out = Vec::new();
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let mut columns = line.split(',');
        let (Some(path), Some(method)) = (columns.next(), columns.next()) else {
            bail!("`{line}` is not `path,method`");
        };
        out.push(Operation { path: path.trim().to_owned(), method: method.trim().to_owned() });
    }
    Ok(out)
}

/// The operations that no step of any conversation is.
pub fn missing(operations: &[Operation], conversations: &[Conversation]) -> Vec<Operation> {
    let asked: BTreeSet<Operation> =
        conversations.iter().flat_map(|c| c.steps.iter().filter_map(operation_of)).collect();
    operations.iter().filter(|operation| !asked.iter().any(|step| matches(operation, step))).cloned().collect()
}

/// What a step asks, in the words of the list: `$KV2/data/a` is `{kv2}/data/a`.
fn operation_of(step: &Step) -> Option<Operation> {
    let Act::Http { method, path, .. } = &step.act else { return None };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let method = match method.as_str() {
        "PUT" => "POST",
        "GET" if query.split('&').any(|part| part == "list=true") => "LIST",
        "GET" if query.split('&').any(|part| part == "help=1") => "HELP",
        "GET" if query.split('&').any(|part| part == "scan=true") => "SCAN",
        other => other,
    };
    let mut path = path.trim_start_matches("/v1/").to_owned();
    for (name, kind) in [
        ("$KV2", "{kv2}"),
        ("$KV", "{kv}"),
        ("$APPROLE", "{approle}"),
        ("$USERPASS", "{userpass}"),
        ("$CERT", "{cert}"),
        ("$JWT", "{jwt}"),
        ("$OIDC", "{oidc}"),
        ("$KUBERNETES", "{kubernetes}"),
        ("$K8S", "{k8s}"),
        ("$DB", "{database}"),
    ] {
        path = path.split('/').map(|part| if part == name { kind } else { part }).collect::<Vec<_>>().join("/");
    }
    Some(Operation { path, method: method.to_owned() })
}

fn matches(operation: &Operation, step: &Operation) -> bool {
    operation.method == step.method && path_matches(&split(&operation.path), &split(&step.path))
}

/// Without slashes at the end: `{kv}/` and `{kv}` are one place.
fn split(path: &str) -> Vec<&str> {
    path.trim_matches('/').split('/').collect()
}

/// A placeholder is one part of a path, `{path}`, `{prefix}` and `{url_lease_id}` any number of them.
fn path_matches(template: &[&str], path: &[&str]) -> bool {
    match (template.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), Some((part, others))) => {
            let placeholder = first.starts_with('{') && !is_mount(first);
            if matches!(*first, "{path}" | "{prefix}" | "{url_lease_id}") {
                return (1..=path.len()).any(|taken| path_matches(rest, &path[taken..]));
            }
            (placeholder && !is_mount(part) || first == part) && path_matches(rest, others)
        }
        _ => false,
    }
}

/// A mount must be one of its kind: `{kv2}/config` is not covered by `sys/config`.
fn is_mount(part: &str) -> bool {
    matches!(
        part,
        "{kv}" | "{kv2}" | "{approle}" | "{userpass}" | "{jwt}" | "{oidc}" | "{kubernetes}" | "{k8s}" | "{database}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(operation: &str, method: &str, step: &str) -> bool {
        let operation = Operation { path: operation.into(), method: method.into() };
        let all = super::super::script::parse_area("x", &format!("== a\n{step}\n"), &Default::default()).unwrap();
        missing(&[operation], &all).is_empty()
    }

    #[test]
    fn placeholders_match_parts_and_mounts_match_their_kind() {
        assert!(covered("{kv2}/data/{path}", "GET", "GET $KV2/data/a/b?version=2"));
        assert!(!covered("{kv2}/data/{path}", "GET", "GET $KV/data/a"));
        assert!(!covered("{kv2}/config", "GET", "GET sys/config"));
        assert!(covered("{kv}/", "LIST", "GET $KV?list=true"));
        assert!(covered("{kv}/", "LIST", "LIST $KV/"));
        assert!(covered("auth/{approle}/role/{role_name}", "POST", "PUT auth/$APPROLE/role/app {}"));
        assert!(!covered("auth/{approle}/role/{role_name}", "POST", "PUT auth/$APPROLE/role/app/role-id {}"));
        assert!(covered("sys/mounts/{path}/tune", "GET", "GET sys/mounts/a/b/tune"));
        assert!(covered("sys/policy", "HELP", "GET sys/policy?help=1"));
        assert!(!covered("sys/policy", "GET", "GET sys/policy?help=1"));
    }

    #[test]
    fn the_list_is_read_and_a_broken_line_is_an_error() {
        assert_eq!(parse("path,method,clients\nsys/seal,POST,5\n").unwrap().len(), 1);
        assert!(parse("path,method\nsys/seal\n").is_err());
    }
}
