use proptest::prelude::*;

use super::*;

fn read(method: &str, target: &str) -> Result<String, Unreadable> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Info::read(&method.parse().unwrap(), path, query).map(|info| info.attributes().to_string())
}

fn says(method: &str, target: &str) -> String {
    read(method, target).unwrap()
}

#[test]
fn verbs_and_places() {
    for (method, target, expected) in [
        ("GET", "/api/v1/pods", "list pods"),
        ("GET", "/api/v1/namespaces/shop/pods", "list pods in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods/", "list pods in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods/web", "get pods \"web\" in namespace shop"),
        ("HEAD", "/api/v1/namespaces/shop/pods/web", "get pods \"web\" in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods/web/log?follow=true", "get pods/log \"web\" in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods?watch=true", "watch pods in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods?watch=0", "list pods in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods/web?watch=true", "get pods \"web\" in namespace shop"),
        ("GET", "/api/v1/watch/namespaces/shop/pods", "watch pods in namespace shop"),
        ("GET", "/api/v1/watch/namespaces/shop/pods/web", "watch pods \"web\" in namespace shop"),
        (
            "GET",
            "/api/v1/namespaces/shop/pods?watch=1&fieldSelector=metadata.name%3Dweb",
            "watch pods \"web\" in namespace shop",
        ),
        ("GET", "/api/v1/namespaces/shop/pods?fieldSelector=status.phase%3DRunning", "list pods in namespace shop"),
        ("POST", "/api/v1/namespaces/shop/pods/web/exec?command=sh", "create pods/exec \"web\" in namespace shop"),
        ("GET", "/api/v1/namespaces/shop/pods/web/exec?command=sh", "get pods/exec \"web\" in namespace shop"),
        (
            "PUT",
            "/apis/apps/v1/namespaces/shop/deployments/web/scale",
            "update deployments/scale.apps \"web\" in namespace shop",
        ),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", "patch deployments.apps \"web\" in namespace shop"),
        ("DELETE", "/api/v1/namespaces/shop/pods/web", "delete pods \"web\" in namespace shop"),
        ("DELETE", "/api/v1/namespaces/shop/pods", "deletecollection pods in namespace shop"),
        ("GET", "/api/v1/namespaces", "list namespaces"),
        ("GET", "/api/v1/namespaces/shop", "get namespaces \"shop\" in namespace shop"),
        ("PUT", "/api/v1/namespaces/shop/finalize", "update namespaces/finalize \"shop\" in namespace shop"),
        ("GET", "/api/v1/nodes/n1/proxy/pods", "get nodes/proxy \"n1\""),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
            "get clusterroles.rbac.authorization.k8s.io \"system:node\"",
        ),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "get clusterroles.rbac.authorization.k8s.io \"system:node\"",
        ),
        ("GET", "/api", "get /api"),
        ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
        ("POST", "/version", "post /version"),
        ("GET", "/", "get /"),
    ] {
        assert_eq!(says(method, target), expected, "{method} {target}");
    }
}

/// Behind the API server there may be another one, to whom more of the path means something.
#[test]
fn other_api_servers_are_asked_by_their_group_and_nothing_else() {
    for (method, target, expected) in [
        (
            "GET",
            "/apis/wares.example.com/v1/namespaces/shop/widgets/first/console",
            "get widgets/console.wares.example.com \"first\" in namespace shop",
        ),
        (
            "POST",
            "/apis/wares.example.com/v1/namespaces/shop/widgets/first/proxy/a/b?watch=true",
            "create widgets/proxy.wares.example.com \"first\" in namespace shop",
        ),
        (
            "GET",
            "/apis/wares.example.com/v1/watch/namespaces/shop/widgets",
            "watch widgets.wares.example.com in namespace shop",
        ),
        (
            "GET",
            "/apis/wares.example.com/v1/namespaces/shop/status",
            "get namespaces/status.wares.example.com \"shop\" in namespace shop",
        ),
        ("GET", "/apis/WARES.example.com/v1/widgets", "list widgets.WARES.example.com"),
        ("GET", "/apis/wares.example.com./v1/widgets", "list widgets.wares.example.com."),
        ("GET", "/APIS/wares.example.com/v1/widgets", "get /APIS/wares.example.com/v1/widgets"),
    ] {
        assert_eq!(says(method, target), expected, "{method} {target}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for path in [
        "/api/v1/namespaces/a/../b/pods",
        "/api/v1/namespaces/a/%2e%2e/b/pods",
        "/api/v1/namespaces/a/.%2E/b/pods",
        "/api/v1/namespaces//pods",
        "//api/v1/pods",
        "/api/v1/pods//",
        "/api/v1/namespaces/a%2Fb/pods",
        "/api/v1/namespaces/a%252Fb/pods",
        "/api/v1/namespaces/a%5Cb/pods",
        "/api/v1/namespaces/a/./pods",
        "/api/v1/namespaces/a/pods/x%00",
        "/api/v1/namespaces/a/pods/x%0Ay",
        "/api/v1/namespaces/a/pods/x%20y",
        "/api/v1/namespaces/a/pods;x",
        "/api/v1/proxy/namespaces/a/pods/x",
        "/apis/wares.example.com/v1/proxy/namespaces/a/widgets/x",
        "/apis/wares.example.com/v1/namespaces/a/widgets/x/proxy/../../y",
        "/apis/wares.example.com/v1/namespaces/a/widgets/x/proxy/%2e%2e/y",
        "/apis/wares.example.com/v1/namespaces/a/widgets/x/proxy//y",
        "/apis/wares.example.com%2Fv1/namespaces/a/widgets",
        "/api/v1/namespaces/a/pods/%ff",
        "api/v1/pods",
        "",
    ] {
        assert_eq!(read("GET", path), Err(Unreadable::Path), "{path}");
    }
    for query in [
        "watch=true&watch=false",
        "watch=yes",
        "watch",
        "Watch=true",
        "w%61tch=1&watch=0",
        "watch=1;x",
        "fieldSelector=a&fieldSelector=b",
        "x=%ff",
    ] {
        assert_eq!(read("GET", &format!("/api/v1/namespaces/a/pods?{query}")), Err(Unreadable::Query), "{query}");
    }
    for method in ["OPTIONS", "TRACE", "CONNECT", "BREW"] {
        assert_eq!(read(method, "/api/v1/namespaces/a/pods"), Err(Unreadable::Method), "{method}");
    }
}

#[test]
fn an_escaped_word_is_the_word() {
    assert_eq!(says("GET", "/api/v1/namespaces/shop/p%6fds?w%61tch=%31"), "watch pods in namespace shop");
    let info = Info::read(&Method::GET, "/api/v1/namespaces/shop/p%6fds/", Some("a=b")).unwrap();
    assert_eq!(info.target(), "/api/v1/namespaces/shop/pods?a=b");
}

#[test]
fn a_proxy_gets_the_slash_at_the_end_of_its_path() {
    let path = |path: &str| Info::read(&Method::GET, path, None).unwrap().path;
    for kept in ["/api/v1/namespaces/shop/services/web/proxy/", "/api/v1/nodes/n1/proxy/logs/"] {
        assert_eq!(path(kept), kept);
    }
    assert_eq!(path("/api/v1/namespaces/shop/services/web/proxy"), "/api/v1/namespaces/shop/services/web/proxy");
    assert_eq!(path("/api/v1/namespaces/shop/pods/web/log/"), "/api/v1/namespaces/shop/pods/web/log");
}

#[test]
fn a_command_is_read_as_it_would_be_typed() {
    let command = |query: &str| {
        Info::read(&Method::POST, "/api/v1/namespaces/shop/pods/web/exec", Some(query)).unwrap().command()
    };
    assert_eq!(command("command=ls&command=-l&container=app&stdin=true"), "ls -l");
    assert_eq!(command("c%6fmmand=sh&command=-c&command=echo+it%27s%0Ax"), "sh -c 'echo it'\\''s\nx'");
    assert_eq!(command("stdin=true&command"), "");
}

#[test]
fn an_apply_is_asked_about_as_what_it_may_make() {
    let web = "/apis/apps/v1/namespaces/shop/deployments/web";
    let create = "create deployments.apps \"web\" in namespace shop";
    assert_eq!(made("PATCH", web, true).as_deref(), Some(create));
    assert_eq!(made("PATCH", web, false), None, "another patch makes nothing");
    assert_eq!(made("PATCH", &format!("{web}/scale"), true), None, "nor does one of a part");
}

/// Of Kubernetes 1.37; where a `PUT` makes something, the part that is written brings the whole.
#[test]
fn a_put_of_few_kinds_is_asked_about_as_what_it_may_make() {
    let (core, apis) = ("/api/v1/namespaces/shop", "/apis");
    let rbac = format!("{apis}/rbac.authorization.k8s.io/v1");
    for (path, create) in [
        (format!("{core}/services/web"), "services \"web\" in namespace shop"),
        (format!("{core}/services/web/status"), "services \"web\" in namespace shop"),
        (format!("{core}/endpoints/web"), "endpoints \"web\" in namespace shop"),
        (format!("{core}/limitranges/web"), "limitranges \"web\" in namespace shop"),
        (format!("{rbac}/clusterrolebindings/web"), "clusterrolebindings.rbac.authorization.k8s.io \"web\""),
        (format!("{rbac}/namespaces/shop/roles/web"), "roles.rbac.authorization.k8s.io \"web\" in namespace shop"),
        (
            format!("{apis}/coordination.k8s.io/v1/namespaces/shop/leases/web"),
            "leases.coordination.k8s.io \"web\" in namespace shop",
        ),
    ] {
        assert_eq!(made("PUT", &path, false), Some(format!("create {create}")), "{path}");
    }
    assert!(made("PATCH", &format!("{core}/services/web/status"), true).is_some());
    for path in [
        "/apis/apps/v1/namespaces/shop/deployments/web",
        "/api/v1/namespaces/shop/configmaps/web",
        "/api/v1/namespaces/shop/pods/web/status",
        "/apis/example.com/v1/namespaces/shop/services/web",
        "/version",
    ] {
        assert_eq!(made("PUT", path, false), None, "{path}: what is not there is not found");
    }
    assert_eq!(made("GET", &format!("{core}/services/web"), false), None);
}

/// What a request is asked about as well, in words.
fn made(method: &str, path: &str, is_apply: bool) -> Option<String> {
    let info = Info::read(&method.parse().unwrap(), path, None).unwrap();
    info.made(is_apply).map(|made| made.attributes().to_string())
}

proptest! {
    /// What goes on is read again as what was judged, and holds nothing that is read in two ways.
    #[test]
    fn what_goes_on_is_what_was_judged(path in "(/(api|apis|v1|namespaces|watch|pods|proxy|a|%2e|%2F|\\.|\\.\\.|[ -~]{0,4})){0,8}/?") {
        if let Ok(info) = Info::read(&Method::GET, &path, None) {
            let again = Info::read(&Method::GET, &info.path, None).unwrap();
            prop_assert_eq!(&again, &info);
            prop_assert!(!info.path.contains("//") && !info.path.contains("/../") && !info.path.contains("/./"));
            prop_assert!(info.path.parse::<http::uri::PathAndQuery>().is_ok());
        }
    }
}
