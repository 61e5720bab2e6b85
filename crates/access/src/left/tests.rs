use http::Method;
use serde_json::json;

use super::*;

fn info(method: &Method, target: &str) -> Info {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Info::read(method, path, query).unwrap()
}

#[test]
fn few_kinds_are_watched_and_only_when_something_is_made() {
    for (method, target) in [
        (Method::POST, "/api/v1/namespaces/shop/serviceaccounts"),
        (Method::POST, "/api/v1/namespaces/shop/serviceaccounts/x/token"),
        (Method::POST, "/api/v1/namespaces/shop/serviceaccounts/x/token?dryRun=All"),
        (Method::POST, "/api/v1/namespaces/shop/secrets?dryRun=all"),
        (Method::PATCH, "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/x?fieldManager=kubectl"),
        (Method::PUT, "/apis/rbac.authorization.k8s.io/v1beta1/clusterroles/x"),
        (Method::PUT, "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval"),
    ] {
        assert!(is_watched(&info(&method, target)), "{method} {target}");
    }
    for (method, target) in [
        (Method::GET, "/api/v1/namespaces/shop/serviceaccounts"),
        (Method::DELETE, "/api/v1/namespaces/shop/serviceaccounts/x"),
        (Method::POST, "/api/v1/namespaces/shop/secrets?dryRun=All"),
        (Method::POST, "/api/v1/namespaces/shop/pods"),
        (Method::POST, "/apis/other.example/v1/namespaces/shop/rolebindings"),
        (Method::POST, "/api/v1"),
    ] {
        assert!(!is_watched(&info(&method, target)), "{method} {target}");
    }
}

#[test]
fn an_answer_tells_what_was_made() {
    let at = info(&Method::POST, "/api/v1/namespaces/shop/serviceaccounts");
    let body = json!({ "kind": "ServiceAccount", "metadata": { "name": "a:b c", "uid": "u1" } }).to_string();
    let told = trace(&at, 201, body.as_bytes()).unwrap();
    assert_eq!((told.act.as_str(), told.uid.as_str()), ("made", "u1"));
    assert_eq!(told.path, "/api/v1/namespaces/shop/serviceaccounts/a:b%20c");
    let at = info(&Method::PATCH, "/apis/rbac.authorization.k8s.io/v1/clusterroles/x");
    assert_eq!(trace(&at, 200, body.as_bytes()).unwrap().act, "changed");
    assert_eq!(trace(&at, 201, body.as_bytes()).unwrap().act, "made");
    assert_eq!(trace(&at, 201, b"k8s\0").unwrap().why, "the answer could not be read");
}

#[test]
fn of_secrets_only_those_that_are_a_way_in() {
    let at = info(&Method::POST, "/api/v1/namespaces/shop/secrets");
    let secret = |of: &str| json!({ "metadata": { "name": "s", "uid": "u" }, "type": of, "data": { "token": "dG9w" } });
    let told = trace(&at, 201, secret(KEYS[0]).to_string().as_bytes()).unwrap();
    assert!(!format!("{told:?}").contains("dG9w"));
    assert_eq!(trace(&at, 201, secret("Opaque").to_string().as_bytes()), None);
}

#[test]
fn a_token_ends_with_the_grant() {
    let (now, end) = (Moment(1_000_000), Moment(1_000_000 + 7_200_000));
    assert!(within(7200, now, end).is_ok());
    for seconds in [7201, -1, i64::MAX, 3607] {
        assert!(within(seconds, now, end).is_err(), "{seconds}");
    }
    let told = within(600, now, Moment(1_000_000 + 599_000)).unwrap_err().message;
    assert!(told.contains("shorter than 10 minutes"), "{told}");
}

#[test]
fn what_asks_for_a_token_is_read_as_the_api_server_reads_it() {
    let headers = |kinds: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for kind in kinds {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        headers
    };
    let (json, proto) = (headers(&["application/json"]), headers(&["application/vnd.kubernetes.protobuf"]));
    let asked = br#"{"spec":{"audiences":["a"],"expirationSeconds":700}}"#;
    assert_eq!(token::seconds(&json, asked), Some(700));
    assert_eq!(token::seconds(&headers(&[]), asked), Some(700));
    assert_eq!(token::seconds(&json, br#"{"spec":{"expirationSeconds":null}}"#), Some(3600));
    assert_eq!(token::seconds(&json, br#"{"spec":{"expirationSeconds":700,"expirationSeconds":99999}}"#), None);
    assert_eq!(token::seconds(&json, br#"{"spec":{"expirationSeconds":7e2}}"#), None);
    assert_eq!(token::seconds(&proto, &token::written(Some(99))), Some(99));
    assert_eq!(token::seconds(&proto, &token::written(None)), Some(3600));
    assert_eq!(token::seconds(&proto, asked), None);
    assert_eq!(token::seconds(&headers(&["application/yaml"]), asked), None);
    assert_eq!(token::seconds(&headers(&["application/json", "application/yaml"]), asked), None);
}

#[test]
fn whoever_takes_no_json_makes_nothing_of_these_kinds() {
    let mut headers = HeaderMap::new();
    ask_for_json(&mut headers).unwrap();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/vnd.kubernetes.protobuf"));
    assert!(ask_for_json(&mut headers).is_err());
    let both = HeaderValue::from_static("application/vnd.kubernetes.protobuf,application/json");
    headers.insert(header::ACCEPT, both);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    ask_for_json(&mut headers).unwrap();
    assert_eq!((headers.len(), &headers[header::ACCEPT]), (1, &HeaderValue::from_static("application/json")));
}
