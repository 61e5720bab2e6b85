//! A direct cluster that is entered by a token: what kubectl gets of the plug-in, and who takes it.

use serde_json::Value;

use super::town::Town;

/// The `status` of ann's credential, in a version of kubectl's protocol.
fn status(town: &Town, api: &str) -> Value {
    let args = ["kube", "credential", "-cluster", "edge", &format!("-exec-api={api}")];
    let told: Value = serde_json::from_str(&town.ok("ann", &args, 0)).unwrap();
    assert_eq!(told["apiVersion"], format!("client.authentication.k8s.io/{api}"));
    assert_eq!(told["kind"], "ExecCredential");
    told["status"].clone()
}

#[test]
fn kubectl_gets_a_token_that_one_audience_takes_and_a_trace_leads_back() {
    let town = Town::open();
    for (name, password) in [("ann", "password=of-ann"), ("ben", "password=of-ben")] {
        town.ok(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), password], 0);
    }
    town.happens("a cluster that takes tokens is made known");
    town.happens("another server takes tokens of the issuer");
    town.ok("ann", &["access", "request", "edge", "-reason", "slow", "-no-wait"], 0);
    let id = town.unhide("REQUEST1");
    town.ok("ben", &["access", "approve", &id], 0);
    let first = status(&town, "v1");
    assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), ["expirationTimestamp", "token"]);
    assert_eq!(status(&town, "v1beta1"), first, "it is kept as long as it is good");
    let token = first["token"].as_str().unwrap();
    let login = town.shows("dewdrop-edge", token).ok().value();
    let told = &login["auth"]["metadata"];
    assert_eq!((&told["grant"], &told["person"]), (&id.as_str().into(), &"ann".into()));
    assert_eq!(town.shows("dewdrop-other", token).status, 400, "another audience");
    // With the key of before it is good until its end; what is signed now is good as well, by whatever algorithm.
    town.writes("access/issuer", serde_json::json!({ "algorithm": "RS256" }));
    town.happens("that server fetches the keys");
    std::fs::remove_dir_all(town.cache("ann")).unwrap();
    let second = status(&town, "v1");
    assert_ne!(second["token"], first["token"]);
    for status in [&first, &second] {
        town.shows("dewdrop-edge", status["token"].as_str().unwrap()).ok();
    }
    let name = format!("JTI={}", told["jti"].as_str().unwrap());
    let trace = town.ok("ben", &["audit", "trace", &name, &town.unhide("LOG")], 0);
    assert!([id.as_str(), "slow", "got a token", &name].iter().all(|part| trace.contains(part)), "{trace}");
}
