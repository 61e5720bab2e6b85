//! Requests as people read them.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::left;
use crate::ctx::Ctx;
use crate::failure::Result;
use crate::output::{say, table};
use crate::terminal::harmless;

/// A text of a request; empty when it is not there. Others wrote it: nothing in it moves the terminal.
pub fn text(case: &Map<String, Value>, name: &str) -> String {
    clean(case.get(name).and_then(Value::as_str).unwrap_or_default())
}

/// A text of others on one line.
pub fn clean(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// An empty list.
pub fn nothing(ctx: &Ctx, sentence: &str) -> Result<u8> {
    if !ctx.out.is_table() {
        return ctx.out.structured(&json!({ "keys": [], "key_info": {} }));
    }
    ctx.out.done(sentence)
}

/// A request, whole.
pub fn case(ctx: &Ctx, case: &Map<String, Value>) -> Result<u8> {
    if !ctx.out.is_table() {
        return ctx.out.structured(case);
    }
    say(&words(case));
    Ok(0)
}

/// How far a request is, in a line.
pub fn state(ctx: &Ctx, case: &Map<String, Value>) -> Result<u8> {
    if !ctx.out.is_table() {
        return ctx.out.structured(case);
    }
    say(&format!("Request {} is {}.\n", text(case, "id"), text(case, "state")));
    Ok(0)
}

/// What there is to say of a request.
pub fn words(case: &Map<String, Value>) -> String {
    let mut said = String::new();
    let mut rows: Vec<(String, String)> = Vec::new();
    for (name, key) in [
        ("Request", "id"),
        ("State", "state"),
        ("Who", "requester"),
        ("Role", "role"),
        ("Reason", "reason"),
        ("Ticket", "ticket"),
        ("Asked", "created_at"),
        ("Approval", "approvals_needed"),
        ("Start by", "start_by"),
        ("Ends", "ends_at"),
    ] {
        let value = text(case, key);
        if !value.is_empty() {
            rows.push((name.to_owned(), value));
        }
    }
    if let Some(ttl) = case.get("ttl").and_then(Value::as_u64) {
        rows.push(("Time".to_owned(), format!("{} min", ttl.div_ceil(60))));
    }
    for row in rows {
        let _ = writeln!(said, "{:<10}{}", row.0, row.1);
    }
    said.push_str("It allows to:\n");
    for line in texts(case, "summary") {
        let _ = writeln!(said, "  {line}");
    }
    for danger in texts(case, "dangers") {
        let _ = writeln!(said, "  Beware: {danger}");
    }
    for decision in case.get("decisions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        let verdict = if decision.get("approves") == Some(&Value::Bool(true)) { "approved" } else { "denied" };
        let _ = writeln!(
            said,
            "{} {verdict} it at {} {}",
            text(decision, "by"),
            text(decision, "at"),
            text(decision, "comment")
        );
    }
    if let Some(end) = case.get("ended").and_then(Value::as_object) {
        let _ = writeln!(
            said,
            "{} by {} at {} {}",
            text(end, "how"),
            text(end, "by"),
            text(end, "at"),
            text(end, "reason")
        );
    }
    said.push_str(&left::words(case));
    if case.get("needs_review") == Some(&Value::Bool(true)) {
        said.push_str("It was taken by break-glass and waits for a review.\n");
    }
    said
}

/// A list of such texts.
pub fn texts(case: &Map<String, Value>, name: &str) -> Vec<String> {
    let list = case.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(clean).collect()
}

/// The entries of a list by their names, in its order.
pub fn entries(listed: &Map<String, Value>) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
    let info = listed.get("key_info").and_then(Value::as_object);
    let keys = listed.get("keys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    keys.filter_map(move |key| Some((key, info?.get(key)?.as_object()?)))
}

/// A list of requests.
pub fn list(ctx: &Ctx, data: &Map<String, Value>) -> Result<u8> {
    if !ctx.out.is_table() {
        return ctx.out.structured(data);
    }
    let row = |(id, line): (&str, &Map<String, Value>)| {
        let row = ["state", "requester", "role", "cluster", "reason", "created_at"].map(|name| text(line, name));
        std::iter::once(id.to_owned()).chain(row).collect()
    };
    let rows: Vec<Vec<String>> = entries(data).map(row).collect();
    say(&table::columns(Some(&["Request", "State", "Who", "Role", "Cluster", "Reason", "Asked"]), &rows));
    Ok(0)
}
