//! A plain HTTP/1.1 client that sends exactly what a conversation says.
//!
//! Well-behaved clients tidy a path (`..`, `//`), refuse unknown verbs and follow redirects. Half of the conversations
//! are about what a server says to just that, so this one does none of it: one connection, one request, one answer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// E.g. 200.
    pub status: u16,
    /// Names in small letters, in the order they came.
    pub headers: Vec<(String, String)>,
    /// After removing the chunks.
    pub body: Vec<u8>,
}

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends one request to `http://host:port`; the error says how the connection failed.
pub fn send(
    base: &str,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<Reply> {
    let host = base.strip_prefix("http://").unwrap_or(base).trim_end_matches('/');
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(host).with_context(|| format!("cannot connect to {host}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    // A server may answer (and close) before it has read everything; then the answer is what counts.
    let written = stream.write_all(&bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() || error.kind() != ErrorKind::ConnectionReset => {
            return Err(error).context("no answer");
        }
        _ => {}
    }
    if answer.is_empty() {
        written.context("the server closed the connection")?;
        bail!("the server closed the connection without an answer");
    }
    parse(&answer, method == "HEAD")
}

/// Takes a whole answer apart.
fn parse(answer: &[u8], no_body: bool) -> Result<Reply> {
    let end = find(answer, b"\r\n\r\n").ok_or_else(|| anyhow!("an answer without an end of its head"))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status: u16 = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| anyhow!("`{status_line}` is no status line"))?;
    let rest = &answer[end + 4..];
    if status == 100 {
        return parse(rest, no_body);
    }
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v.eq_ignore_ascii_case("chunked"));
    let body = if no_body {
        Vec::new()
    } else if chunked {
        unchunk(rest)?
    } else {
        rest.to_vec()
    };
    Ok(Reply { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").ok_or_else(|| anyhow!("a chunk without a length"))?;
        let line = String::from_utf8_lossy(&rest[..end]);
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length =
            usize::from_str_radix(digits, 16).with_context(|| format!("`{digits}` is no length of a chunk"))?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(body);
        }
        let chunk = rest.get(..length).ok_or_else(|| anyhow!("the answer breaks off in a chunk"))?;
        body.extend_from_slice(chunk);
        rest = rest.get(length + 2..).unwrap_or_default();
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_chunks_and_continue_are_understood() {
        let plain = parse(b"HTTP/1.1 404 Not Found\r\nA-B: c\r\n\r\n{}", false).unwrap();
        assert_eq!((plain.status, plain.body.as_slice()), (404, b"{}".as_slice()));
        assert_eq!(plain.headers, [("a-b".to_owned(), "c".to_owned())]);
        let chunked =
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", false);
        assert_eq!(chunked.unwrap().body, b"abcde");
        let after_100 = parse(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", false).unwrap();
        assert_eq!(after_100.status, 204);
    }

    #[test]
    fn cut_off_answers_are_errors() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n", false).is_err());
        assert!(parse(b"nonsense\r\n\r\n", false).is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", false).is_err());
    }
}
