//! The OpenAPI document, from the declarations that also make the router.

use std::collections::BTreeSet;

use dewdrop_core::Operation;
use dewdrop_core::route::RouteDoc;
use serde_json::{Map, Value, json};

use super::schema::plain;
use crate::seal::VERSION;

/// A document in the making.
pub(crate) struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    ids: BTreeSet<String>,
}

/// Where routes are mounted.
pub(crate) struct Place<'a> {
    /// Path of the mount with its slash; empty: the paths stand alone.
    pub mount: &'a str,
    /// Type of the engine.
    pub kind: &'a str,
    /// An auth method.
    pub is_auth: bool,
    /// The mount's path is shown as a parameter.
    pub generic: bool,
}

impl Document {
    /// Without paths.
    pub(crate) fn new() -> Self {
        Self { paths: Map::new(), schemas: Map::new(), ids: BTreeSet::new() }
    }

    /// Adds the routes of an engine.
    pub(crate) fn add(&mut self, place: &Place<'_>, docs: &[RouteDoc]) {
        for doc in docs {
            let path = place.path(doc.pattern);
            // The router takes the first of two routes alike; so does this.
            if !self.paths.contains_key(&path) {
                let item = self.item(place, doc);
                self.paths.insert(path, item);
            }
        }
    }

    /// The whole document.
    pub(crate) fn finish(self) -> Value {
        json!({
            "openapi": "3.0.2",
            "info": {
                "title": "Dewdrop API",
                "description": "HTTP API that gives you full access to Dewdrop. All API routes are prefixed with `/v1/`.",
                "version": VERSION,
            },
            "paths": self.paths,
            "components": { "schemas": self.schemas },
        })
    }

    fn item(&mut self, place: &Place<'_>, doc: &RouteDoc) -> Value {
        let mut item = Map::from_iter([("description".to_owned(), doc.about.into())]);
        let parameters = place.parameters(doc.pattern);
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        let marks = [
            ("x-vault-sudo", doc.needs_sudo),
            ("x-vault-unauthenticated", doc.public_because.is_some()),
            ("x-vault-createSupported", doc.tells_create),
        ];
        item.extend(marks.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name.to_owned(), true.into())));
        let has = |operation| doc.acts.iter().any(|(o, ..)| *o == operation);
        for (operation, summary, schema) in &doc.acts {
            let schema = plain(schema.as_value());
            let method = match operation {
                Operation::Read => "get",
                // The document knows no LIST: it is a GET with `list=true`.
                Operation::List if !has(Operation::Read) => "get",
                Operation::Create | Operation::Update => "post",
                Operation::Delete => "delete",
                Operation::Patch => "patch",
                _ => continue,
            };
            let mut act = self.act(place, doc, (*operation, summary), schema);
            if method == "get" && has(Operation::List) {
                let must = *operation == Operation::List;
                let mut list = json!({ "name": "list", "in": "query", "schema": { "type": "string" } });
                if let (Some(list), true) = (list.as_object_mut(), must) {
                    list.insert("description".into(), "Must be set to `true`".into());
                    list.insert("schema".into(), json!({ "type": "string", "enum": ["true"] }));
                    list.insert("required".into(), true.into());
                } else if let Some(list) = list.as_object_mut() {
                    list.insert("description".into(), "Return a list if `true`".into());
                }
                push(&mut act, list);
            }
            item.insert(method.into(), act.into());
        }
        item.into()
    }

    fn act(
        &mut self,
        place: &Place<'_>,
        doc: &RouteDoc,
        (operation, summary): (Operation, &str),
        schema: Value,
    ) -> Map<String, Value> {
        let id = self.id(place, doc.pattern, operation);
        let mut act = Map::from_iter([
            ("summary".to_owned(), summary.into()),
            ("operationId".to_owned(), id.clone().into()),
            ("tags".to_owned(), json!([place.tag()])),
        ]);
        if matches!(operation, Operation::Create | Operation::Update | Operation::Patch) {
            let name = format!("{}Request", camel(&id));
            let kind = if operation == Operation::Patch { "application/merge-patch+json" } else { "application/json" };
            let body = json!({ "content": { kind: { "schema": { "$ref": format!("#/components/schemas/{name}") } } } });
            act.insert("requestBody".into(), body);
            self.schemas.insert(name, schema);
        } else {
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let mut field = field.clone();
                let about = field.as_object_mut().and_then(|f| f.remove("description"));
                let mut parameter = json!({ "name": name, "in": "query", "schema": field, "required": required.contains(&name.as_str()) });
                if let (Some(parameter), Some(about)) = (parameter.as_object_mut(), about) {
                    parameter.insert("description".into(), about);
                }
                push(&mut act, parameter);
            }
        }
        let (code, told) = if operation == Operation::Delete { ("204", "No content") } else { ("200", "OK") };
        act.insert("responses".into(), json!({ code: { "description": told } }));
        act
    }

    /// `kv-read-data-path`; a number at the end where two mounts of a kind would be alike.
    fn id(&mut self, place: &Place<'_>, pattern: &str, operation: Operation) -> String {
        let verb = match operation {
            Operation::Update | Operation::Create => "write",
            other => other.name(),
        };
        let words = pattern.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let base: Vec<&str> = [place.kind, verb].into_iter().chain(words).collect();
        let base = base.join("-");
        let numbered = (2u32..).map(|number| format!("{base}-{number}"));
        let id = std::iter::once(base.clone()).chain(numbered).find(|id| !self.ids.contains(id)).unwrap_or(base);
        self.ids.insert(id.clone());
        id
    }
}

impl Place<'_> {
    fn path(&self, pattern: &str) -> String {
        let mount = match (self.generic, self.is_auth) {
            (false, _) => self.mount.to_owned(),
            (true, false) => format!("{{{}}}/", self.parameter()),
            (true, true) => format!("auth/{{{}}}/", self.parameter()),
        };
        let pattern = pattern.replace("*}", "}");
        format!("/{}", format!("{mount}{pattern}").trim_end_matches('/'))
    }

    fn parameter(&self) -> String {
        format!("{}_mount_path", self.kind.replace('-', "_"))
    }

    fn parameters(&self, pattern: &str) -> Vec<Value> {
        let one = |name: &str| json!({ "name": name, "in": "path", "schema": { "type": "string" }, "required": true });
        let mount = self.generic.then(|| {
            let default = self.mount.trim_end_matches('/').trim_start_matches("auth/");
            let about = "Path that the backend was mounted at";
            json!({ "name": self.parameter(), "description": about, "in": "path", "schema": { "type": "string", "default": default }, "required": true })
        });
        let names = pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        mount.into_iter().chain(names.map(|name| one(name.trim_end_matches('*')))).collect()
    }

    fn tag(&self) -> &'static str {
        match self.kind {
            "system" => "system",
            "identity" => "identity",
            _ if self.is_auth => "auth",
            _ => "secrets",
        }
    }
}

fn push(act: &mut Map<String, Value>, parameter: Value) {
    if let Some(list) = act.entry("parameters").or_insert_with(|| json!([])).as_array_mut() {
        list.push(parameter);
    }
}

fn camel(id: &str) -> String {
    let words = id.split(['-', '_']);
    words
        .map(|word| {
            word.split_at_checked(1).map_or_else(String::new, |(head, tail)| format!("{}{tail}", head.to_uppercase()))
        })
        .collect()
}
