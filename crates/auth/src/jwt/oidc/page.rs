//! The pages that a browser sees when it comes back to us (`callback_mode=direct`). They load nothing and run no script;
//! the server forbids to show them within another page.

use dewdrop_core::call::{Outcome, Raw, Reply};

use super::pending::Pending;

const STYLE: &str = "body{font:16px system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color:#222}\
h1{font-size:1.3em}button{font:inherit;padding:.5em 1.2em;cursor:pointer}";

/// The sign-in has ended well.
pub fn done() -> Reply {
    page(200, "Signed in", "<p>You may close this window and go back to where you began.</p>")
}

/// The sign-in has failed.
pub fn failed(why: &str) -> Reply {
    page(400, "Sign-in failed", &format!("<p>{}</p>", escaped(why)))
}

/// Asks whether the person began this sign-in: a link that somebody else sent must not sign that one in.
pub fn confirm(pending: &Pending, state: &str, code: &str) -> Reply {
    let from = pending.address.map_or_else(|| "an unknown address".into(), |address| address.to_string());
    let text = format!(
        "<p>A program at <b>{}</b> has asked to be signed in as you, with the role <b>{}</b>.</p>\
         <p>Confirm only if you began this yourself just now. If somebody sent you a link, close this window.</p>\
         <form method=\"get\"><input type=\"hidden\" name=\"state\" value=\"{}\">\
         <input type=\"hidden\" name=\"code\" value=\"{}\"><input type=\"hidden\" name=\"confirm\" value=\"yes\">\
         <button>Confirm sign-in</button></form>",
        escaped(&from),
        escaped(&pending.role),
        escaped(state),
        escaped(code)
    );
    page(200, "Did you begin this sign-in?", &text)
}

fn page(status: u16, title: &str, body: &str) -> Reply {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Dewdrop: {title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
    );
    let raw = Raw { content_type: "text/html; charset=utf-8", body: text.into() };
    Reply { status: Some(status), ..Outcome::Raw(raw).into() }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_given_becomes_markup() {
        assert_eq!(super::escaped("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
