use super::*;

fn fixtures() -> Fixtures {
    parse_fixtures("fixture kv2\nPOST sys/mounts/$KV2 {\"type\":\"kv\"}\nafter\nDELETE sys/mounts/$KV2\n").unwrap()
}

fn area(text: &str) -> Vec<Conversation> {
    parse_area("x", text, &fixtures()).unwrap()
}

#[test]
fn a_line_has_verb_path_body_options_and_captures() {
    let all = area(
        "== one\nPOST a/b {\"k\": [1, \"} | \"]} | as $T | ns team/ | wrap 60s | until 200 | > V = data.v | > W = x.0\n",
    );
    let step = &all[0].steps[0];
    assert_eq!(
        step.act,
        Act::Http { method: "POST".into(), path: "a/b".into(), body: Some("{\"k\": [1, \"} | \"]}".into()) }
    );
    assert_eq!(step.options.token.as_deref(), Some("$T"));
    assert_eq!(step.options.namespace.as_deref(), Some("team/"));
    assert_eq!(step.options.headers, [("X-Vault-Wrap-TTL".to_owned(), "60s".to_owned())]);
    assert_eq!(step.options.until, Some(Until::Status(200)));
    assert_eq!(step.captures[1], Capture { name: "W".into(), from: "x.0".into() });
}

#[test]
fn fixtures_come_first_and_clean_up_last() {
    let all = area("== one : kv2\nGET $KV2/a\n");
    let ids: Vec<&str> = all[0].steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["kv2.1", "1"]);
    assert_eq!(all[0].after.len(), 1);
    assert!(parse_area("x", "== one : nope\nGET a\n", &fixtures()).is_err());
}

#[test]
fn each_makes_one_conversation_per_value() {
    let all = area("== ttl\neach T: \"1h\" :: 3600\nPOST a {\"ttl\":$T,\"x\":\"$TT\"}\n");
    assert_eq!(all.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["ttl.1", "ttl.2"]);
    let Act::Http { body: Some(body), .. } = &all[1].steps[0].act else { panic!("no request") };
    assert_eq!(body, "{\"ttl\":3600,\"x\":\"$TT\"}");
}

#[test]
fn raw_bodies_need_not_be_json_and_others_must_be() {
    let all = area("== one\nPOST a raw {\"k\": | h Content-Type: text/plain\n");
    let Act::Http { body: Some(body), .. } = &all[0].steps[0].act else { panic!("no body") };
    assert_eq!(body, "{\"k\":");
    assert!(parse_area("x", "== one\nPOST a {\"k\":\n", &fixtures()).is_err());
}

#[test]
fn a_policy_line_is_a_policy_and_a_token() {
    let all = area("== one\npolicy T path \"a/*\" { capabilities = [\"read\"] }\nGET a/b | as $T\n");
    let ids: Vec<&str> = all[0].steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(all[0].steps[1].captures[0].name, "T");
}

#[test]
fn with_sets_defaults_and_bare_with_takes_them_back() {
    let all = area("== one\nwith | as $T\nGET a\nGET b | ns x\nwith\nGET c\n");
    let tokens: Vec<Option<&str>> = all[0].steps.iter().map(|s| s.options.token.as_deref()).collect();
    assert_eq!(tokens, [Some("$T"), Some("$T"), None]);
}

#[test]
fn comments_continuations_and_mistakes() {
    let all = area("# note\n== one\nPOST a\n  {\"k\":1}\n  | as none\n");
    assert_eq!(all[0].steps[0].options.token.as_deref(), Some("none"));
    for bad in [
        "GET a\n",
        "== one\nGET\n",
        "== one\nGET a | foo\n",
        "== one\nget a\n",
        "== one\n@server moon\n",
        "== a\nGET b\n== a\nGET c\n",
    ] {
        assert!(parse_area("x", bad, &fixtures()).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn names_are_replaced_whole() {
    let known = |name: &str| (name == "ME").then(|| "x".to_owned());
    assert_eq!(substitute("$ME-a/$MEN/$", known), "x-a/$MEN/$");
}
