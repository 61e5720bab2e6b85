use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::call::Caller;
use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Room;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Kind, Moment};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::json;

use super::*;

fn caller(accessor: &str, kind: TokenKind) -> Arc<Caller> {
    let token = TokenRecord {
        accessor: accessor.into(),
        parent: None,
        kind,
        policies: vec!["default".into()],
        path: "auth/token/create".into(),
        display_name: "token".into(),
        meta: BTreeMap::new(),
        num_uses: 0,
        created: Moment(0),
        ttl: Duration::ZERO,
        expires: None,
        renewed: None,
        explicit_max_ttl: Duration::ZERO,
        period: Duration::ZERO,
        renewable: false,
        entity_id: String::new(),
        namespace: "root".into(),
        bound_cidrs: Vec::new(),
        role: String::new(),
        internal: Value::Null,
        beside: String::new(),
        mfa: None,
    };
    Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() })
}

fn harness() -> Harness {
    let mut h = Harness::new(MountClass::Secret, &[], |place| Room::new(Cubbyhole::open(place)));
    h.caller = caller("one", TokenKind::Service);
    h
}

#[tokio::test]
async fn no_token_sees_the_secrets_of_another() {
    let mut h = harness();
    h.write("a", json!({ "x": 1, "ttl": "1h" })).await.unwrap();
    h.write("f/b", json!({ "x": 2 })).await.unwrap();
    assert_eq!(h.read("a").await.unwrap().data(), json!({ "x": 1, "ttl": "1h" }));
    assert_eq!(h.list("").await.unwrap().keys(), ["a", "f/"]);
    assert_eq!(h.list("f/").await.unwrap().keys(), ["b"]);
    h.caller = caller("on", TokenKind::Service);
    assert_eq!(h.read("a").await.unwrap_err(), Fault::not_found());
    assert_eq!(h.list("").await.unwrap_err(), Fault::not_found());
    assert!(matches!(h.delete("a").await, Ok(Got::Nothing)));
    h.caller = caller("one", TokenKind::Service);
    assert!(h.read("a").await.is_ok());
}

#[tokio::test]
async fn it_ends_with_its_token() {
    let mut h = harness();
    h.write("a", json!({ "x": 1 })).await.unwrap();
    h.caller = caller("one2", TokenKind::Service);
    h.write("a", json!({ "x": 2 })).await.unwrap();
    Cubbyhole::clear(&*h.store, "one").await.unwrap();
    assert_eq!(h.read("a").await.unwrap().data(), json!({ "x": 2 }));
    assert_eq!(h.store.dump().len(), 1);
    assert!(Cubbyhole::clear(&*h.store, "").await.is_err());
    assert_eq!(h.store.dump().len(), 1);
}

#[tokio::test]
async fn batch_tokens_and_strangers_have_none() {
    let mut h = harness();
    for somebody in [caller("", TokenKind::Batch), caller("x", TokenKind::Batch), Arc::default()] {
        h.caller = somebody;
        for fault in [
            h.read("a").await.unwrap_err(),
            h.write("a", json!({ "x": 1 })).await.unwrap_err(),
            h.list("").await.unwrap_err(),
            h.delete("a").await.unwrap_err(),
        ] {
            assert_eq!(fault.kind, Kind::BadRequest);
            assert_eq!(fault.told, "cubbyhole operations are only supported by 'service' type tokens");
        }
    }
    assert!(h.store.dump().is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let h = harness();
    for (path, data) in [("a", json!({})), ("", json!({ "x": 1 })), ("a\0b", json!({ "x": 1 }))] {
        assert_eq!(h.write(path, data).await.unwrap_err().kind, Kind::BadRequest);
    }
    assert_eq!(h.read("").await.unwrap_err().told, "missing path");
}
