//! Grants and what was done by them, as a timeline.

use dewdrop_server::audit::grants::{Event, Found, Grant};

use crate::cmd::access::told::clean;

/// Shows all that was found.
pub fn show(out: &mut String, found: &Found) {
    found.grants.iter().for_each(|grant| show_grant(out, grant));
    if !found.without_grant.is_empty() {
        out.push_str("without a grant\n");
        found.without_grant.iter().for_each(|event| show_event(out, event));
    }
}

fn show_grant(out: &mut String, grant: &Grant) {
    out.push_str(&format!("grant       {}\n", clean(&grant.id)));
    if grant.role.is_empty() {
        out.push_str("  asked     before this log begins\n");
    } else {
        let (requester, role, cluster) = (clean(&grant.requester), clean(&grant.role), clean(&grant.cluster));
        out.push_str(&format!("  for       {requester}, by the role {role} on cluster {cluster}\n"));
    }
    for (label, text) in
        [("reason", &grant.reason), ("ticket", &grant.ticket), ("extends", &grant.extends), ("state", &grant.state)]
    {
        if !text.is_empty() {
            out.push_str(&format!("  {label:<9} {}\n", clean(text)));
        }
    }
    grant.summary.iter().for_each(|sentence| out.push_str(&format!("  allows to {}\n", clean(sentence))));
    // A long recording is read part by part: that is told once.
    for alike in grant.events.chunk_by(is_read_again) {
        let Some(first) = alike.first() else { continue };
        show_event(out, first);
        if let [_, .., last] = alike {
            out.push_str(&format!("      {} times, until {}\n", alike.len(), clean(&last.time)));
        }
    }
}

fn is_read_again(one: &Event, next: &Event) -> bool {
    let same = |of: fn(&Event) -> &str| of(one) == of(next);
    one.what == "read" && same(|e| &e.what) && same(|e| &e.by) && same(|e| &e.comment) && same(|e| &e.error)
}

fn show_event(out: &mut String, event: &Event) {
    out.push_str(&format!("  {} {}", clean(&event.time), clean(&event.by)));
    match &event.command {
        None => out.push_str(&format!(" {}", what(event))),
        Some(command) => {
            let place = if command.namespace.is_empty() { String::new() } else { format!(" in {}", command.namespace) };
            let name = if command.name.is_empty() { String::new() } else { format!(" {:?}", command.name) };
            let did = format!("{} {}{name}{place}", command.verb, command.target);
            let kind = match event.what.as_str() {
                "stream" => "began to ",
                "end" => "ended: ",
                _ => "",
            };
            out.push_str(&format!(" {kind}{}", clean(&did)));
            if command.code > 0 {
                out.push_str(&format!(" -> {}", command.code));
            }
            if !command.recording.is_empty() {
                out.push_str(&format!(", recording {}", clean(&command.recording)));
            }
        }
    }
    if !event.comment.is_empty() {
        out.push_str(&format!(": {}", clean(&event.comment)));
    }
    out.push_str(&format!(" (line {})\n", event.seq));
    let command = event.command.as_ref().map_or("", |command| command.line.as_str());
    if !command.is_empty() {
        out.push_str(&format!("      {}\n", clean(command)));
    }
    if !event.error.is_empty() {
        out.push_str(&format!("      REFUSED: {}\n", clean(&event.error)));
    }
}

/// The step in words; a refused one was only tried.
fn what(event: &Event) -> String {
    let (done, tried) = match event.what.as_str() {
        "asked" => ("asked for it", "ask for it"),
        "break-glass" => ("took it by break-glass", "take it by break-glass"),
        "approve" => ("approved", "approve"),
        "deny" => ("denied it", "deny it"),
        "withdraw" => ("took it back", "take it back"),
        "revoke" => ("revoked it", "revoke it"),
        "extend" => ("asked for more time", "ask for more time"),
        "review" => ("reviewed it", "review it"),
        "certificate" => ("got a certificate", "get a certificate"),
        "token" => ("got a token", "get a token"),
        "read" => ("read", "read"),
        other => (other, other),
    };
    if event.error.is_empty() { done.to_owned() } else { format!("tried to {}", clean(tried)) }
}
