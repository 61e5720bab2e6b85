//! What a proxy says about the client, and headers from the configuration.

use std::net::IpAddr;

use http::HeaderMap;

use super::rig::*;
use crate::config::{Forwarded, ResponseHeaders};
use crate::http::forwarded::client;

fn rules() -> Forwarded {
    Forwarded {
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
        hop_skips: 0,
        reject_stranger: false,
        reject_missing: false,
    }
}

fn ask(rules: &Forwarded, remote: &str, header: &[&str]) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    for value in header {
        headers.append("x-forwarded-for", value.parse().unwrap());
    }
    client(rules, remote.parse::<IpAddr>().unwrap(), &headers).map(|a| a.to_string())
}

#[test]
fn only_trusted_proxies_are_believed() {
    let lax = rules();
    assert_eq!(ask(&lax, "10.1.1.1", &["1.2.3.4"]).as_deref(), Ok("1.2.3.4"));
    assert_eq!(ask(&lax, "::ffff:10.1.1.1", &["9.9.9.9, 1.2.3.4"]).as_deref(), Ok("1.2.3.4"));
    assert_eq!(ask(&lax, "10.1.1.1", &["9.9.9.9", "[2001:db8::1]:443"]).as_deref(), Ok("2001:db8::1"));
    assert_eq!(ask(&lax, "11.1.1.1", &["1.2.3.4"]).as_deref(), Ok("11.1.1.1"));
    assert_eq!(ask(&lax, "10.1.1.1", &[]).as_deref(), Ok("10.1.1.1"));
    assert!(ask(&lax, "10.1.1.1", &["unknown"]).is_err());
    let skipping = Forwarded { hop_skips: 1, ..rules() };
    assert_eq!(ask(&skipping, "10.1.1.1", &["1.2.3.4:80, 5.6.7.8"]).as_deref(), Ok("1.2.3.4"));
    assert!(ask(&skipping, "10.1.1.1", &["1.2.3.4"]).unwrap_err().contains("hops to skip (1) would skip"));
    let strict = Forwarded { reject_stranger: true, reject_missing: true, ..rules() };
    assert!(ask(&strict, "11.1.1.1", &["1.2.3.4"]).unwrap_err().contains("not authorized"));
    assert!(ask(&strict, "10.1.1.1", &[]).unwrap_err().contains("missing x-forwarded-for"));
    assert_eq!(ask(&strict, "11.1.1.1", &[]).as_deref(), Ok("11.1.1.1"));
}

#[tokio::test]
async fn a_refused_proxy_gets_400() {
    let mut settings = listener();
    settings.forwarded = Some(Forwarded { reject_stranger: true, ..rules() });
    let server = start(settings);
    let answer = server.say("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn headers_of_the_configuration_go_by_status() {
    let header = |name: &str, value: &str| (name.parse().unwrap(), value.parse().unwrap());
    let mut settings = listener();
    settings.headers = ResponseHeaders {
        always: vec![header("x-a", "1"), header("x-a", "2"), header("x-b", "all"), header("cache-control", "private")],
        by_status: [(4, vec![header("x-b", "class")]), (404, vec![header("x-c", "exact")])].into(),
    };
    let server = start(settings);
    let missing = server.say("GET /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    for expected in ["x-a: 1", "x-a: 2", "x-b: class", "x-c: exact", "cache-control: private"] {
        assert!(missing.contains(expected), "{expected} is not in {missing}");
    }
    assert!(!missing.contains("x-b: all") && !missing.contains("no-store"), "{missing}");
    let found = server.say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(found.contains("x-b: all") && !found.contains("x-c"), "{found}");
}
