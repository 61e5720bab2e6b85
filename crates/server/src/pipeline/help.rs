//! The path help: what an engine is for, and what may be asked of a path. From the declarations that make the router.

use dewdrop_core::Fault;
use dewdrop_core::call::Raw;
use dewdrop_core::route::{Pattern, RouteDoc};
use serde_json::{Value, json};

use super::deliver::Delivered;
use crate::mounts::Mounted;
use crate::sys::{Document, Place};
use crate::vault::Vault;

/// The help of a path below a mount; of the mount itself with an empty path.
///
/// # Errors
/// 404 when no path matches.
pub fn help(vault: &Vault, mounted: &Mounted, below: &str) -> Result<Delivered, Fault> {
    let mut docs = of_the_gate(vault, mounted);
    docs.extend(mounted.room.docs());
    let text = if below.is_empty() {
        of_mount(mounted.room.about(), &docs)
    } else {
        // The first pattern that matches is the one that would serve.
        docs.retain(|doc| Pattern::new(doc.pattern).catch(below).is_some());
        docs.truncate(1);
        let doc = docs.first().ok_or_else(|| Fault::missing("1 error occurred:\n\t* unsupported path\n\n"))?;
        of_path(below, doc)
    };
    let mount = &mounted.mount;
    let mut document = Document::new();
    document
        .add(&Place { mount: "", kind: &mount.kind, is_auth: mount.path.starts_with("auth/"), generic: false }, &docs);
    let body = json!({ "help": text, "see_also": null, "openapi": document.finish() });
    Ok(Delivered::raw(Raw { content_type: "application/json", body: body.to_string().into() }))
}

/// The paths that the gate serves in place of `sys/`.
fn of_the_gate(vault: &Vault, mounted: &Mounted) -> Vec<RouteDoc> {
    let is_sys = mounted.mount.path == "sys/" && mounted.mount.namespace.is_root();
    let server = vault.server.upgrade().filter(|_| is_sys);
    server.map(|server| server.gate().docs()).unwrap_or_default()
}

fn of_mount(about: &str, docs: &[RouteDoc]) -> String {
    let paths: Vec<String> = docs.iter().map(|doc| format!("    {}\n        {}\n", doc.pattern, doc.about)).collect();
    format!(
        "## DESCRIPTION\n\n{about}\n\n## PATHS\n\nThe following paths are supported by this backend. To view help for\n\
         any of the paths below, use the help command with any route matching\nthe path pattern. Note that depending on the \
         policy of your auth token,\nyou may or may not be able to access certain paths.\n\n{}",
        paths.join("\n")
    )
}

fn of_path(below: &str, doc: &RouteDoc) -> String {
    let mut text = format!("Request:        {below}\nMatching Route: {}\n\n{}\n", doc.pattern, doc.about);
    let parameters = parameters(doc);
    if !parameters.is_empty() {
        text.push_str("\n## PARAMETERS\n");
        for (name, kind, about) in parameters {
            text.push_str(&format!("\n    {name} ({kind})\n\n        {about}\n"));
        }
    }
    text.push_str("\n## DESCRIPTION\n\n");
    for (operation, summary, _) in &doc.acts {
        text.push_str(&format!("{}: {summary}\n", operation.name()));
    }
    text
}

/// Name, type and description of each field, of the path's own first.
fn parameters(doc: &RouteDoc) -> Vec<(String, String, String)> {
    let named = doc.pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<_> = named
        .map(|name| (name.trim_end_matches('*').to_owned(), "string".to_owned(), "In the path.".to_owned()))
        .collect();
    for (_, _, schema) in &doc.acts {
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if all.iter().any(|(known, ..)| known == name) {
                continue;
            }
            let kind = match field.get("type") {
                Some(Value::String(kind)) => kind.clone(),
                Some(Value::Array(kinds)) => {
                    kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("any").to_owned()
                }
                _ => "any".to_owned(),
            };
            let about = field.get("description").and_then(Value::as_str).unwrap_or_default();
            all.push((name.clone(), kind, about.replace('\n', "\n        ")));
        }
    }
    all
}
