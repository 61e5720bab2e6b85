//! From the request line to a path and a query. Pure; everything a client may write comes through here.
//!
//! What OpenBao 2.7.2 does, and we: a doubled slash is answered with 307 to the clean path; `%2F` is a slash like any other;
//! characters that cannot be printed are 400; an encoded `..` is 400. We differ where it is lax: a plain `.` or `..` is 400
//! (there: 307 to where it leads), bytes that are not UTF-8 are 400 (there: a path that nothing can be found under), and a
//! broken percent-encoding in the query is 400 (there: ignored).

use std::borrow::Cow;

use http::StatusCode;
use percent_encoding::percent_decode_str;

/// A decoded path below `/v1/`. Never has `.` or `..` or empty segments, save that it may end in one slash or be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPath(String);

impl ApiPath {
    /// The path without `/v1/`: `sys/health`, `secret/metadata/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, taken out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Why a path is none of the API's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/v1/`: 404 with an empty list, or the user interface.
    #[error("")]
    NotApi,
    /// It has doubled slashes: 307 to this path (the query is to be put after it).
    #[error("empty path segments are not supported")]
    Redirect(String),
    /// It has a segment `.` or `..`.
    #[error("relative paths not supported")]
    Relative,
    /// It has an empty segment once it is decoded.
    #[error("empty path segments are not supported")]
    Empty,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("invalid percent-encoding in the path")]
    Encoding,
    /// It is no UTF-8 once it is decoded.
    #[error("the path is not valid UTF-8")]
    NotText,
    /// It holds characters that cannot be printed.
    #[error("the path contains characters that cannot be printed")]
    Unprintable,
}

impl BadPath {
    /// The code of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotApi => StatusCode::NOT_FOUND,
            Self::Redirect(_) => StatusCode::TEMPORARY_REDIRECT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a raw path.
///
/// # Errors
/// See [`BadPath`].
pub fn api_path(raw: &str) -> Result<ApiPath, BadPath> {
    if raw.contains("//") && raw.starts_with('/') {
        let clean = single_slashes(raw);
        return if clean.starts_with("/v1/") { Err(BadPath::Redirect(clean)) } else { Err(BadPath::NotApi) };
    }
    let rest = raw.strip_prefix("/v1/").ok_or(BadPath::NotApi)?;
    let path = decoded(rest)?;
    if !path.chars().all(printable) {
        return Err(BadPath::Unprintable);
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(BadPath::Relative);
    }
    if path.starts_with('/') || path.contains("//") {
        return Err(BadPath::Empty);
    }
    Ok(ApiPath(path.into_owned()))
}

fn decoded(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    if !well_encoded(raw) {
        return Err(BadPath::Encoding);
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| BadPath::NotText)
}

/// Whether each `%` has its two digits.
fn well_encoded(raw: &str) -> bool {
    raw.split('%').skip(1).all(|part| part.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

fn single_slashes(raw: &str) -> String {
    let mut clean = String::with_capacity(raw.len());
    for c in raw.chars() {
        if c != '/' || !clean.ends_with('/') {
            clean.push(c);
        }
    }
    clean
}

/// Whether a character may stand in a path: no control characters, no blanks but the space, nothing invisible or for
/// private use.
fn printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let hidden = matches!(
        u32::from(c),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
            | 0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfeff | 0xfff0..=0xfffb | 0xe0000..=0xe0fff | 0xf0000..=0x10ffff
    );
    !(c.is_control() || c.is_whitespace() || hidden || u32::from(c) & 0xfffe == 0xfffe)
}

/// Name and value pairs of a query, decoded, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Why a query is refused: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// A `%` is not followed by two hexadecimal digits, or the result is no UTF-8.
    #[error("invalid percent-encoding in the query")]
    Encoding,
    /// More pairs than anyone needs.
    #[error("more than 1000 query parameters")]
    TooMany,
    /// A flag that is neither true nor false.
    #[error("query parameter {0:?} must be true or false")]
    Flag(String),
}

impl<'a> Query<'a> {
    /// Reads what stands after `?`.
    ///
    /// # Errors
    /// See [`BadQuery`].
    pub fn parse(raw: &'a str) -> Result<Self, BadQuery> {
        let mut pairs = Vec::new();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            if pairs.len() == 1000 {
                return Err(BadQuery::TooMany);
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push((form_decoded(name)?, form_decoded(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a name; empty for `?name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// All values of a name.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> + 's {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// A flag as OpenBao reads it: `true`, `1`, `t` or `false`, `0`, `f`; empty or missing is false.
    ///
    /// # Errors
    /// Anything else.
    pub fn flag(&self, name: &str) -> Result<bool, BadQuery> {
        match self.get(name) {
            None | Some("") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(BadQuery::Flag(name.to_owned())),
        }
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

fn form_decoded(raw: &str) -> Result<Cow<'_, str>, BadQuery> {
    if !raw.contains(['%', '+']) {
        return Ok(Cow::Borrowed(raw));
    }
    if !well_encoded(raw) {
        return Err(BadQuery::Encoding);
    }
    let spaced = raw.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8().map_err(|_| BadQuery::Encoding)?.into_owned();
    Ok(Cow::Owned(text))
}
