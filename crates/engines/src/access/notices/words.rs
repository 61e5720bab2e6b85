//! A letter in words, for people. What others wrote (reasons, comments, names) is cut to a length, has no control
//! characters, and cannot make a link, call a channel or begin a header.

use dewdrop_core::fault::with_causes;
use serde_json::{Value, json};

use super::Event;
use super::letter::Letter;

/// Letters of a reason or comment.
const LONGEST_TEXT: usize = 2000;
/// Letters of a name, and of a line of what is allowed.
const LONGEST_LINE: usize = 300;
/// Lines of what is allowed.
const MOST_LINES: usize = 20;
/// Letters of one block of Slack's.
const LONGEST_BLOCK: usize = 2900;

/// One line: no control characters, and not long.
pub fn line(text: &str) -> String {
    cut(text.chars().map(|c| if is_bad(c) { ' ' } else { c }), LONGEST_LINE)
}

/// Some lines: no control characters but the ends of lines.
pub fn text(text: &str) -> String {
    cut(text.chars().map(|c| if is_bad(c) && c != '\n' { ' ' } else { c }), LONGEST_TEXT)
}

/// Control characters, other ends of lines, and what turns the direction of what follows.
fn is_bad(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(letters: impl Iterator<Item = char>, most: usize) -> String {
    let mut letters = letters.peekable();
    let mut text: String = letters.by_ref().take(most).collect();
    if letters.peek().is_some() {
        text.push('…');
    }
    text
}

/// An error with its causes, in one line.
pub fn why(error: &dyn std::error::Error) -> String {
    line(&with_causes(error))
}

/// What happened, in a sentence.
pub fn headline(letter: &Letter) -> String {
    let who = letter.of_request("requester");
    let by = match letter.by.as_str() {
        "" => "nobody",
        by => by,
    };
    let what = format!(
        "role {} on cluster {} for {} min",
        letter.of_request("role"),
        letter.of_request("cluster"),
        letter.request.get("ttl").and_then(Value::as_u64).unwrap_or_default().div_ceil(60)
    );
    match letter.event {
        Event::Requested if !letter.of_request("extends").is_empty() => {
            format!("{who} asks for more time: {what}, beside {}", letter.of_request("extends"))
        }
        Event::Requested => format!("{who} asks for access: {what}"),
        Event::BreakGlass => format!("ALARM: {who} took access by break-glass, without approval: {what}"),
        Event::Approval => {
            let missing = letter.request.get("approvals_missing").and_then(Value::as_u64).unwrap_or_default();
            let more = if letter.of_request("extends").is_empty() { "" } else { "more time " };
            format!("{by} approved {more}for {who}, and {missing} more must approve: {what}")
        }
        Event::Approved if letter.by.is_empty() => format!("{who} has access, since nobody needs to approve: {what}"),
        Event::Approved => format!("{by} approved for {who}: {what}"),
        Event::Extended if letter.by.is_empty() => {
            format!("{who} has more time, since nobody needs to approve: {what}")
        }
        Event::Extended => format!("{by} approved more time for {who}: {what}"),
        Event::Denied => format!("{by} denied what {who} asked for: {what}"),
        Event::Withdrawn => format!("{who} withdrew: {what}"),
        Event::Revoked if letter.by.is_empty() => format!("the access of {who} was taken away: {what}"),
        Event::Revoked => format!("{by} revoked the access of {who}: {what}"),
        Event::Started => format!("{who} began to use: {what}"),
        Event::Expired => format!("the access of {who} ran out: {what}"),
        Event::Lapsed => format!("nobody approved or started in time what {who} asked for: {what}"),
        Event::ReviewDue => format!("the break-glass of {who} is over and waits for a review: {what}"),
        Event::Reviewed => format!("{by} reviewed the break-glass of {who}: {what}"),
        Event::Test => format!("this is a test of a notice of {}; nothing happened", line(&letter.mount)),
    }
}

/// All that a person must know, line by line.
pub fn whole(letter: &Letter) -> String {
    let mut lines = vec![headline(letter)];
    lines.extend(facts(letter).into_iter().map(|(name, value)| format!("{name}: {}", quoted(&value))));
    let (allowed, dangers) = (list(letter, "summary"), list(letter, "dangers"));
    if !allowed.is_empty() {
        lines.push("It allows to:".into());
    }
    lines.extend(allowed.into_iter().map(|line| format!("- {line}")));
    lines.extend(dangers.into_iter().map(|line| format!("Beware: {line}")));
    lines.extend(letter.commands.iter().map(|command| format!("$ {command}")));
    lines.join("\n")
}

/// The lines of one person's words after the first, marked as his: none of them can look like one of ours, with something to type.
fn quoted(text: &str) -> String {
    text.replace('\n', "\n  | ")
}

fn facts(letter: &Letter) -> Vec<(&'static str, String)> {
    let reason = text(letter.request.get("reason").and_then(Value::as_str).unwrap_or_default());
    let facts = [
        ("Request", letter.of_request("id")),
        ("Reason", reason),
        ("Ticket", letter.of_request("ticket")),
        ("Comment", letter.comment.clone()),
        (
            "Approval",
            if matches!(letter.event, Event::Requested | Event::Approval) {
                letter.of_request("approvals_needed")
            } else {
                String::new()
            },
        ),
        ("Ends", letter.of_request("ends_at")),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn list(letter: &Letter, name: &str) -> Vec<String> {
    let all = letter.request.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = all.iter().filter_map(Value::as_str).take(MOST_LINES).map(line).collect();
    if all.len() > MOST_LINES {
        lines.push(format!("and {} more; `show` has them all", all.len().saturating_sub(MOST_LINES)));
    }
    lines
}

/// As Slack takes it: what others wrote is plain text there, which makes no links and calls nobody.
pub fn slack(letter: &Letter) -> Value {
    let plain = |text: &str| json!({ "type": "plain_text", "emoji": false, "text": shortened(text) });
    let mut blocks = vec![json!({ "type": "section", "text": plain(&headline(letter)) })];
    let facts: Vec<Value> = facts(letter)
        .into_iter()
        .map(|(name, value)| plain(&shortened_to(&format!("{name}: {value}"), 1990)))
        .collect();
    if !facts.is_empty() {
        blocks.push(json!({ "type": "section", "fields": facts }));
    }
    let mut lines: Vec<String> = list(letter, "summary").into_iter().map(|line| format!("• {line}")).collect();
    lines.extend(list(letter, "dangers").into_iter().map(|line| format!("Beware: {line}")));
    if !lines.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&lines.join("\n")) }));
    }
    if !letter.commands.is_empty() {
        let commands = escaped(&letter.commands.join("\n"));
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("```{commands}```") } }));
    }
    json!({ "text": escaped(&headline(letter)), "blocks": blocks })
}

fn shortened(text: &str) -> String {
    shortened_to(text, LONGEST_BLOCK)
}

fn shortened_to(text: &str, most: usize) -> String {
    cut(text.chars(), most)
}

/// Slack's own three letters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
