//! Paths and queries. What OpenBao 2.7.2 answered to each path stands beside it.

use proptest::prelude::*;

use crate::http::target::{BadPath, BadQuery, Query, api_path};

/// raw path, what we say, what OpenBao 2.7.2 said.
const GOLDEN: &[(&str, Result<&str, &str>, &str)] = &[
    ("/v1/secret/data/a", Ok("secret/data/a"), "200"),
    ("/v1/secret/data/a/", Ok("secret/data/a/"), "500 of the engine"),
    ("/v1/secret/metadata/", Ok("secret/metadata/"), "200"),
    ("/v1/", Ok(""), "404 no handler for route"),
    ("/v1/SYS/health", Ok("SYS/health"), "404 no handler for route"),
    ("/v1/secret/data%2Fa", Ok("secret/data/a"), "200"),
    ("/v1/secret%2fdata/a", Ok("secret/data/a"), "200"),
    ("/v1/secret/data/a%252fb", Ok("secret/data/a%2fb"), "404"),
    ("/v1/secret/data/..a", Ok("secret/data/..a"), "404"),
    ("/v1/secret/data/a..", Ok("secret/data/a.."), "404"),
    ("/v1/secret/data/...", Ok("secret/data/..."), "404"),
    ("/v1/secret/data/a+b", Ok("secret/data/a+b"), "404"),
    ("/v1/secret/data/a%20b", Ok("secret/data/a b"), "404"),
    ("/v1/secret/data/%c3%a9", Ok("secret/data/é"), "404"),
    ("/v1/secret/data/é", Ok("secret/data/é"), "404"),
    ("/v1/secret/data/%F0%9F%98%80", Ok("secret/data/😀"), "404"),
    ("/v1/secret/data/a;b", Ok("secret/data/a;b"), "404"),
    ("/v1/secret/data/a\\b", Ok("secret/data/a\\b"), "404"),
    ("/v1//secret/data/a", Err("307 /v1/secret/data/a"), "307 /v1/secret/data/a"),
    ("/v1/secret//data///a", Err("307 /v1/secret/data/a"), "307 /v1/secret/data/a"),
    ("//v1/secret/data/a", Err("307 /v1/secret/data/a"), "307 /v1/secret/data/a"),
    ("//evil.example/x", Err("404"), "307 /evil.example/x"),
    ("/v1/secret/data/x/../a", Err("400 relative paths not supported"), "307 /v1/secret/data/a"),
    ("/v1/secret/data/./a", Err("400 relative paths not supported"), "307 /v1/secret/data/a"),
    ("/v1/secret/data/..", Err("400 relative paths not supported"), "307 /v1/secret"),
    ("/v1/secret/data/%2e%2e/data/a", Err("400 relative paths not supported"), "400 relative paths not supported"),
    ("/v1/..%2fsys/health", Err("400 relative paths not supported"), "400 relative paths not supported"),
    ("/v1/%2e%2e/sys/health", Err("400 relative paths not supported"), "400 relative paths not supported"),
    ("/v1/secret/data%2F%2Fa", Err("400 empty path segments are not supported"), "500 of the engine"),
    ("/v1/%2fsys/health", Err("400 empty path segments are not supported"), "404 no handler for route"),
    ("/v1/secret/data/a%00b", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/a%0ab", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/a%7fb", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/%C2%85", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/%C2%A0x", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/%E2%80%AE", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/%EE%80%80", Err("400 the path contains characters that cannot be printed"), "400, empty"),
    ("/v1/secret/data/%ff", Err("400 the path is not valid UTF-8"), "404"),
    ("/v1/secret/data/%zz", Err("400 invalid percent-encoding in the path"), "400"),
    ("/v1/secret/data/%", Err("400 invalid percent-encoding in the path"), "400"),
    ("/v1", Err("404"), "404"),
    ("/V1/sys/health", Err("404"), "404"),
    ("/%761/sys/health", Err("404"), "200"),
    ("/v2/x", Err("404"), "404"),
    ("/v1x/", Err("404"), "404"),
    ("/../v1/sys/health", Err("404"), "404"),
    ("/", Err("404"), "307 /ui/"),
    ("*", Err("404"), "404"),
    ("", Err("404"), "400"),
];

#[test]
fn paths_are_as_recorded() {
    for (raw, ours, theirs) in GOLDEN {
        let said = match api_path(raw) {
            Ok(path) => Ok(path.into_string()),
            Err(BadPath::Redirect(to)) => Err(format!("307 {to}")),
            Err(bad) => Err(format!("{} {bad}", bad.status().as_u16()).trim_end().to_owned()),
        };
        assert_eq!(said.as_deref().map_err(String::as_str), *ours, "{raw} (OpenBao: {theirs})");
    }
}

#[test]
fn queries_are_read_as_forms() {
    let query = Query::parse("list=true&version=3&after=a%2Fb+c&k=1&k=2&help&e=").unwrap();
    assert_eq!(query.flag("list"), Ok(true));
    assert_eq!(
        (query.get("version"), query.get("after"), query.get("help"), query.get("no")),
        (Some("3"), Some("a/b c"), Some(""), None)
    );
    assert_eq!(query.all("k").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((query.flag("help"), query.flag("no"), query.flag("k")), (Ok(false), Ok(false), Ok(true)));
    assert_eq!(query.flag("version"), Err(BadQuery::Flag("version".into())));
    for bad in ["a=%", "a=%zz", "%ff=1"] {
        assert_eq!(Query::parse(bad), Err(BadQuery::Encoding), "{bad}");
    }
    assert_eq!(Query::parse(&"a&".repeat(1001)), Err(BadQuery::TooMany));
    assert_eq!(Query::parse("").unwrap().pairs().count(), 0);
}

proptest! {
    #[test]
    fn a_path_that_is_accepted_is_clean(raw in "(/v1)?[/.%a-c0-9\\PC]{0,40}") {
        match api_path(&raw) {
            Ok(path) => {
                let path = path.as_str();
                prop_assert!(!path.starts_with('/') && !path.contains("//") && !path.chars().any(char::is_control));
                prop_assert!(path.split('/').all(|s| s != "." && s != ".."));
            }
            Err(BadPath::Redirect(to)) => {
                prop_assert!(to.starts_with("/v1/") && !to.contains("//"));
                prop_assert!(!matches!(api_path(&to), Err(BadPath::Redirect(_))), "no loop");
            }
            Err(_) => {}
        }
    }

    #[test]
    fn no_query_makes_it_panic(raw in "\\PC{0,60}") {
        let _ = Query::parse(&raw).map(|q| q.pairs().count());
    }
}
