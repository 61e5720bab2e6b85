//! What is in a line, and what never is.

use super::*;

#[test]
fn no_secret_gets_in_by_any_door() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.audit.set_headers(BTreeMap::from([("x-shown".to_owned(), false), ("x-hidden".to_owned(), true)]));
    let fields =
        json!({ "password": "CANARYone", "list": ["CANARYtwo", { "deep": ["CANARY\"quoted\n"] }], "n": 5, "on": true });
    let errors = [
        "invalid value \"CANARYone\" for password",
        "got \"CANARY\\\"quoted\\n\" and CANARYtwo",
        "token s.CANARYtoken is odd",
    ];
    for error in errors {
        let fault = Fault::bad_request(error).knowing(error);
        rig.play(Story { fields: fields.clone(), fault: Some(fault), ..Story::default() }).unwrap();
    }
    rig.play(Story {
        operation: Operation::Read,
        reply: Some(json!({ "data": { "k": "CANARYreply" }, "version": 3 })),
        ..Story::default()
    })
    .unwrap();
    let text = all_text(folder.path());
    assert!(!text.contains("CANARY"), "{text}");
    let found = lines(folder.path());
    let hash = |text: &str| Value::from(rig.audit.hash(text).unwrap());
    let asked = found.iter().find(|line| line["type"] == "request").unwrap();
    let data = &asked["request"]["data"];
    assert_eq!(data["password"], hash("CANARYone"));
    assert_eq!((&data["n"], &data["on"], &data["list"][0]), (&json!(5), &json!(true), &hash("CANARYtwo")));
    assert_eq!(asked["auth"]["client_token"], hash("s.CANARYtoken"));
    assert_eq!(asked["request"]["headers"], json!({ "x-shown": ["shown-value"], "x-hidden": [hash("CANARYheader")] }));
    let read = found.last().unwrap();
    assert_eq!(read["response"]["data"]["data"]["k"], hash("CANARYreply"));
    assert_eq!(read["response"]["data"]["version"], 3);
    assert!(found.iter().any(
        |line| line["error"] == format!("invalid value \"{}\" for password", rig.audit.hash("CANARYone").unwrap())
    ));
}

#[test]
fn the_hash_is_an_hmac_with_the_key_of_the_vault() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    let expected = format!("hmac-sha256:{}", hex::encode(aws_lc_rs::hmac::sign(&key, b"x").as_ref()));
    assert_eq!(rig.audit.hash("x"), Some(expected));
    rig.audit.lock();
    assert_eq!(rig.audit.hash("x"), None);
}

#[test]
fn a_refusal_says_who_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    let fault = Fault::denied("policy app has no rule for secret/a");
    rig.play(Story { operation: Operation::Read, fault: Some(fault), ..Story::default() }).unwrap();
    let line = lines(folder.path()).pop().unwrap();
    assert_eq!(line["type"], "response");
    assert_eq!(line["error"], "permission denied");
    assert_eq!(line["reason"], "policy app has no rule for secret/a");
    assert_eq!(line["auth"]["display_name"], "approle-web");
    assert_eq!(line["auth"]["entity_id"], "entity-1");
    assert_eq!(line["auth"]["metadata"], json!({ "pod": "web-1" }));
    assert_eq!(line["request"]["path"], "secret/a");
    assert_eq!(line["request"]["remote_address"], "10.0.0.1");
}

#[test]
fn a_write_is_there_before_it_is_done_and_a_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.play(Story::default()).unwrap();
    rig.play(Story { operation: Operation::Read, ..Story::default() }).unwrap();
    let types: Vec<Value> = lines(folder.path()).iter().skip(2).map(|line| line["type"].clone()).collect();
    assert_eq!(types, ["request", "response", "response"]);
}

#[test]
fn the_mount_says_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = open(&config(folder.path())).unwrap();
    rig.mount.tune.audit_non_hmac_request_keys = vec!["shown".into()];
    rig.mount.tune.audit_non_hmac_response_keys = vec!["names".into()];
    let reply = json!({ "names": ["a", "b"], "other": "CANARY" });
    rig.play(Story { fields: json!({ "shown": "x", "names": "CANARY" }), reply: Some(reply), ..Story::default() })
        .unwrap();
    let line = lines(folder.path()).pop().unwrap();
    assert_eq!(line["request"]["data"]["shown"], "x");
    assert_eq!(line["response"]["data"]["names"], json!(["a", "b"]));
    assert!(!all_text(folder.path()).contains("CANARY"));
}

#[test]
fn large_records_are_lines_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    let long_keys: Map<String, Value> = (0..20_000).map(|at| (format!("key-{at:0>60}"), json!("v"))).collect();
    rig.play(Story {
        fields: json!({ "big": "x".repeat(3 << 20) }),
        reply: Some(Value::Object(long_keys)),
        ..Story::default()
    })
    .unwrap();
    assert!(all_text(folder.path()).lines().any(|line| line.len() > 2 << 20));
    rig.write(1);
    assert!(check(folder.path()).ok);
    drop(rig);
    drop(open(&config(folder.path())).unwrap());
    assert!(check(folder.path()).ok);
}

#[test]
fn a_database_user_leads_to_its_request_its_caller_and_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = open(&config(folder.path())).unwrap();
    rig.mount = mount("database", "database/");
    let issue = |user: &'static str, lease: &'static str| Story {
        operation: Operation::Read,
        path: "database/creds/app",
        reply: Some(json!({ "username": user, "password": "CANARY" })),
        lease: Some(lease),
        ..Story::default()
    };
    rig.play(issue("v-app-1", "database/creds/app/L1")).unwrap();
    rig.play(issue("v-app-2", "database/creds/app/L2")).unwrap();
    rig.play(issue("v-app-3", "database/creds/app/L3")).unwrap();
    rig.mount = mount("system", "sys/");
    rig.play(Story {
        path: "sys/leases/renew",
        fields: json!({ "lease_id": "database/creds/app/L1" }),
        lease: Some("database/creds/app/L1"),
        ..Story::default()
    })
    .unwrap();
    rig.play(Story {
        path: "sys/leases/revoke",
        fields: json!({ "lease_id": "database/creds/app/L1" }),
        ..Story::default()
    })
    .unwrap();
    rig.play(Story { path: "sys/leases/revoke-prefix/database/creds/app", ..Story::default() }).unwrap();
    let paths = files(folder.path()).unwrap();
    let found = crate::audit::trace::trace(&paths, "v-app-1").unwrap();
    assert!(!all_text(folder.path()).contains("CANARY"));
    let [credential] = found.credentials.as_slice() else { panic!("{found:?}") };
    assert_eq!((credential.lease_id.as_str(), credential.username.as_str()), ("database/creds/app/L1", "v-app-1"));
    assert_eq!(
        (credential.issued.display_name.as_str(), credential.issued.remote_address.as_str()),
        ("approle-web", "10.0.0.1")
    );
    assert_eq!(credential.later.len(), 1);
    assert_eq!(credential.ended.as_ref().unwrap().path, "sys/leases/revoke");
    assert_eq!(found.tokens[0].accessor, "ACCESSOR");
    let by_lease = crate::audit::trace::trace(&paths, "database/creds/app/L2").unwrap();
    assert!(by_lease.credentials[0].ended.as_ref().unwrap().path.contains("revoke-prefix"));
    assert_eq!(crate::audit::trace::trace(&paths, "ACCESSOR").unwrap().credentials.len(), 3);
    assert!(crate::audit::trace::trace(&paths, "v-app").unwrap().credentials.is_empty());
}
