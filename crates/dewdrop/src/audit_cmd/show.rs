//! The offline tools' findings for people.

mod grants;

use dewdrop_server::audit::trace::{Act, Credential, Token, Trace};
use dewdrop_server::audit::verify::Report;
use serde_json::Value;

use crate::cmd::access::told::clean;

/// What `verify` found.
pub fn report(report: &Report) -> String {
    let mut out = String::new();
    if let Some(problem) = &report.problem {
        let place =
            if problem.line == 0 { problem.file.clone() } else { format!("{}, line {}", problem.file, problem.line) };
        out.push_str(&format!("BROKEN  {place} (number {}): {}\n", problem.seq, problem.what));
        out.push_str(&format!("        {} lines before it hold together.\n", report.lines));
        return out;
    }
    out.push_str(&format!(
        "OK      {} lines in {} file(s), numbers {} to {}: none changed, dropped or moved\n",
        report.lines,
        report.files.len(),
        report.first_seq,
        report.last_seq
    ));
    if report.first_seq > 1 {
        out.push_str(&format!("        lines 1 to {} are not here\n", report.first_seq - 1));
    }
    out.push_str(&format!(
        "signed  through {} by {} checkpoint(s), key {}\n",
        report.signed_through, report.checkpoints, report.public_key
    ));
    if !report.key_was_given {
        out.push_str("        the key was taken from the log itself; give -public-key to prove who signed\n");
    }
    if report.unsigned_lines > 0 {
        out.push_str(&format!(
            "        the last {} line(s) are not signed yet: in order, but not proved\n",
            report.unsigned_lines
        ));
    }
    out.push_str(&format!("head    {}:{}\n", report.last_seq, report.head));
    out
}

/// What `trace` found.
pub fn trace(found: &Trace, log: &Report) -> String {
    let mut out = String::new();
    if found.is_empty() {
        out.push_str(&format!("{} is not in this log\n", clean(&found.needle)));
    }
    found.credentials.iter().for_each(|credential| show_credential(&mut out, credential));
    found.tokens.iter().for_each(|token| show_token(&mut out, token));
    grants::show(&mut out, &found.access);
    match &log.problem {
        None => {
            out.push_str(&format!("\nThe log holds: {} lines, signed through {}.\n", log.lines, log.signed_through))
        }
        Some(problem) => out.push_str(&format!(
            "\nDo not rely on this: the log is broken at {}, line {}: {}\n",
            problem.file, problem.line, problem.what
        )),
    }
    out
}

fn show_credential(out: &mut String, credential: &Credential) {
    out.push_str(&format!("credential  {}\n", credential.lease_id));
    if !credential.username.is_empty() {
        out.push_str(&format!("  user      {} at {}\n", credential.username, credential.mount));
    }
    if credential.issued.seq > 0 {
        show_act(out, "issued", &credential.issued);
        show_caller(out, &credential.issued);
    }
    credential.later.iter().for_each(|act| show_act(out, "later", act));
    match &credential.ended {
        Some(act) if act.request_id.is_empty() => {
            out.push_str(&format!("  revoked   {} by the server (line {})\n", act.time, act.seq))
        }
        Some(act) => {
            show_act(out, "revoked", act);
            show_caller(out, act);
        }
        None => out.push_str("  revoked   not in this log\n"),
    }
}

fn show_token(out: &mut String, token: &Token) {
    out.push_str(&format!("token       {}\n", token.accessor));
    match &token.made {
        Some(act) => show_act(out, "made", act),
        None => out.push_str("  made      before this log begins, or at initialization\n"),
    }
    if let Some(act) = &token.ended {
        show_act(out, "revoked", act);
    }
}

fn show_act(out: &mut String, label: &str, act: &Act) {
    let error = if act.error.is_empty() { String::new() } else { format!(" REFUSED: {}", act.error.trim()) };
    out.push_str(&format!(
        "  {label:<9} {} {} {}{} (line {}){error}\n",
        act.time, act.operation, act.namespace, act.path, act.seq
    ));
    let from = if act.remote_address.is_empty() { String::new() } else { format!(" from {}", act.remote_address) };
    out.push_str(&format!("            request {}{from}\n", act.request_id));
}

fn show_caller(out: &mut String, act: &Act) {
    let entity = if act.entity_id.is_empty() { String::new() } else { format!(", entity {}", act.entity_id) };
    out.push_str(&format!("            by {:?}, token {}{entity}\n", act.display_name, act.accessor));
    if let Value::Object(metadata) = &act.metadata {
        for (name, value) in metadata {
            out.push_str(&format!("            {name}: {}\n", value.as_str().unwrap_or_default()));
        }
    }
}
