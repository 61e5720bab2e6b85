//! Tests of policies, in files that operators keep beside them:
//!
//! ```hcl
//! policy "app" {                           # optional: a policy to test, in place of a stored one
//!   path "secret/data/app/*" { capabilities = ["read"] }
//! }
//! case "the app reads its own secrets" {
//!   policies     = ["app"]
//!   path         = "secret/data/app/db"
//!   capabilities = ["read"]                # all of them must be allowed (or refused); "sudo" marks the path
//!   allow        = true
//!   parameters   = { version = 1 }         # optional, as are wrap_ttl, limit, time and identity
//!   identity     = { id = "...", name = "...", metadata = { team = "red" } }
//! }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::explain::Explanation;
use super::hcl::{self, Item, Value};
use super::parse::{self, PolicyError};
use super::permit::Ask;
use super::set::PolicySet;
use super::template::IdentityValues;
use super::{Policy, namespace_path};
use crate::Moment;
use crate::op::Operation;
use crate::wire::parse_ttl;

/// What came of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseOutcome {
    /// The case's name.
    pub name: String,
    /// Its line.
    pub line: u32,
    /// Whether everything was as the case says.
    pub passed: bool,
    /// What was not.
    pub surprises: Vec<Explanation>,
}

/// Runs the cases of a file. `stored` finds policies that the file does not hold itself; `now` is the time where a case
/// sets none.
///
/// # Errors
/// A line of the file that cannot be used, a policy that nobody knows included.
pub fn check_file(
    text: &str,
    now: Moment,
    stored: &dyn Fn(&str) -> Option<Arc<Policy>>,
) -> Result<Vec<CaseOutcome>, PolicyError> {
    let (items, json) = hcl::parse(text)?;
    let mut policies: BTreeMap<String, Arc<Policy>> = BTreeMap::new();
    let mut cases = Vec::new();
    for item in items {
        let (kind, name) = match item.keys.as_slice() {
            [kind, name] if !json => (kind.as_str(), name.clone()),
            _ => {
                return Err(PolicyError::at(
                    item.line,
                    "a test file holds blocks: case \"name\" { ... } and policy \"name\" { ... }",
                ));
            }
        };
        match (kind, item.value.value) {
            ("policy", Value::Object(body)) => {
                let rules = parse::rules_of(body, false, "")?;
                let policy = Policy { name: name.clone(), namespace: namespace_path(""), text: String::new(), rules };
                policies.insert(name, Arc::new(policy));
            }
            ("case", Value::Object(body)) => cases.push(Case::read(name, item.line, body, now)?),
            _ => return Err(PolicyError::at(item.line, format!("{kind} is not known here: use case or policy"))),
        }
    }
    cases.into_iter().map(|case| case.run(&|name| policies.get(name).cloned().or_else(|| stored(name)))).collect()
}

struct Case {
    name: String,
    line: u32,
    policies: Vec<String>,
    path: String,
    operations: Vec<Operation>,
    sudo: bool,
    allow: bool,
    parameters: Option<Map<String, Json>>,
    wrap_ttl: Option<Duration>,
    limit: Option<i64>,
    identity: Option<IdentityValues>,
    now: Moment,
}

impl Case {
    fn read(name: String, line: u32, body: Vec<Item>, now: Moment) -> Result<Self, PolicyError> {
        let mut case = Self {
            name,
            line,
            policies: Vec::new(),
            path: String::new(),
            operations: Vec::new(),
            sudo: false,
            allow: true,
            parameters: None,
            wrap_ttl: None,
            limit: None,
            identity: None,
            now,
        };
        let mut seen = BTreeSet::new();
        for item in body {
            let line = item.line;
            let key = item.keys.join(" ");
            case.field(&key, item.value.value).map_err(|message| PolicyError::at(line, format!("{key}: {message}")))?;
            if !seen.insert(key.clone()) {
                return Err(PolicyError::at(line, format!("{key} is given twice: keep one")));
            }
        }
        if let Some(missing) = ["policies", "path", "capabilities", "allow"].iter().find(|key| !seen.contains(**key)) {
            return Err(PolicyError::at(line, format!("case {:?} needs {missing}", case.name)));
        }
        if case.operations.is_empty() {
            return Err(PolicyError::at(line, format!("case {:?} asks for nothing: name a capability", case.name)));
        }
        Ok(case)
    }

    fn field(&mut self, key: &str, value: Value) -> Result<(), String> {
        match (key, value) {
            ("policies", value) => self.policies = texts(value)?,
            ("path", Value::Text(path)) => self.path = path,
            ("capabilities", value) => {
                for name in texts(value)? {
                    match operation(&name) {
                        Some(operation) => self.operations.push(operation),
                        None if name == "sudo" => self.sudo = true,
                        None => return Err(format!("{name:?} cannot be asked for")),
                    }
                }
            }
            ("allow", Value::Bool(allow)) => self.allow = allow,
            ("parameters", Value::Object(items)) => self.parameters = Some(parse::object(items)?),
            ("wrap_ttl", Value::Text(text) | Value::Number(text)) => self.wrap_ttl = Some(parse_ttl(&text)?),
            ("limit", Value::Number(text)) => {
                self.limit = Some(text.parse().map_err(|_| "must be a whole number".to_owned())?);
            }
            ("time", Value::Text(text)) => self.now = Moment::parse_rfc3339(&text)?,
            ("identity", Value::Object(items)) => self.identity = Some(identity(items)?),
            (_, value) => return Err(format!("is not known here, or must not be {}", value.kind())),
        }
        Ok(())
    }

    fn run(self, find: &dyn Fn(&str) -> Option<Arc<Policy>>) -> Result<CaseOutcome, PolicyError> {
        let unknown = |name: &String| PolicyError::at(self.line, format!("there is no policy {name:?}"));
        let policies: Vec<Arc<Policy>> =
            self.policies.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect::<Result<_, _>>()?;
        let set = PolicySet::compile(&policies, self.identity.as_ref());
        let ask = |operation: &Operation| Ask {
            operation: *operation,
            path: &self.path,
            parameters: self.parameters.as_ref(),
            wrap_ttl: self.wrap_ttl,
            list_limit: self.limit,
            needs_sudo: self.sudo,
            now: self.now,
        };
        let answers = self.operations.iter().map(|operation| set.explain(&ask(operation)));
        let surprises: Vec<Explanation> = answers.filter(|answer| answer.allowed != self.allow).collect();
        Ok(CaseOutcome { passed: surprises.is_empty(), name: self.name, line: self.line, surprises })
    }
}

fn operation(name: &str) -> Option<Operation> {
    use Operation::{Create, Delete, List, Patch, Read, Scan, Update};
    [Create, Read, Update, Delete, List, Scan, Patch].into_iter().find(|operation| operation.name() == name)
}

fn texts(value: Value) -> Result<Vec<String>, String> {
    let Value::List(nodes) = value else { return Err("must be a list of strings".into()) };
    let text = |value| if let Value::Text(text) = value { Ok(text) } else { Err("must hold strings only".to_owned()) };
    nodes.into_iter().map(|node| text(node.value)).collect()
}

fn identity(items: Vec<Item>) -> Result<IdentityValues, String> {
    let mut identity = IdentityValues::default();
    for item in items {
        match (item.keys.join(" ").as_str(), item.value.value) {
            ("id", Value::Text(id)) => identity.entity_id = id,
            ("name", Value::Text(name)) => identity.entity_name = name,
            ("metadata", Value::Object(items)) => {
                for item in items {
                    let Value::Text(value) = item.value.value else { return Err("metadata holds strings".into()) };
                    identity.metadata.insert(item.keys.join(" "), value);
                }
            }
            (key, _) => return Err(format!("{key:?} is not known in identity: use id, name, metadata")),
        }
    }
    Ok(identity)
}
