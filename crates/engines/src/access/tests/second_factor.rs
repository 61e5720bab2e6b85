use dewdrop_core::Clock as _;
use dewdrop_core::token::MfaPassed;

use super::*;

impl Stage {
    /// A certificate for ann, whose token passed a second factor so many seconds ago.
    async fn certificate_after(&mut self, id: &str, seconds: Option<u64>) -> Result<Value, Fault> {
        let mut token = TokenRecord::clone(caller("e-ann").token.as_deref().unwrap());
        let now = self.harness.clock.now();
        let at = |ago| now.minus(Duration::from_secs(ago));
        token.mfa = seconds.map(|ago| MfaPassed { at: at(ago), methods: vec!["m".into()] });
        self.harness.caller = Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() });
        self.harness.write(&format!("requests/{id}/certificate"), json!({ "csr": csr() })).await.map(Got::data)
    }
}

#[tokio::test]
async fn a_grant_is_started_with_a_fresh_second_factor_and_goes_on_without() {
    let mut s = Stage::new();
    s.role(json!({ "mfa_max_age": "5m" })).await.unwrap();
    assert_eq!(s.harness.read("roles/look").await.unwrap().data()["mfa_max_age"], 300);
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    for never_or_old in [None, Some(301)] {
        let refused = s.certificate_after(&id, never_or_old).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Denied);
        assert!(refused.told.contains("sys/mfa/step-up"), "{refused}");
        assert!(s.live().await.is_empty(), "a refusal starts nothing");
    }
    s.certificate_after(&id, Some(300)).await.unwrap();
    assert_eq!(s.live().await, [id.as_str()]);
    s.certificate_after(&id, None).await.unwrap();
}

#[tokio::test]
async fn break_glass_needs_it_as_well() {
    let mut s = Stage::new();
    s.role(json!({ "mfa_max_age": "5m", "break_glass_entities": "ann" })).await.unwrap();
    let ask = json!({ "role": "look", "reason": "fire", "break_glass": true });
    let case = s.says("ann", "request", ask).await.unwrap();
    let id = case["id"].as_str().unwrap();
    assert!(s.certificate_after(id, None).await.is_err());
    s.certificate_after(id, Some(1)).await.unwrap();
}

#[tokio::test]
async fn a_moment_that_lies_ahead_is_none() {
    let mut s = Stage::new();
    s.role(json!({ "mfa_max_age": "5m", "approvals": [], "auto_approve": true })).await.unwrap();
    let ask = json!({ "role": "look", "reason": "disk full" });
    let id = s.says("ann", "request", ask).await.unwrap()["id"].as_str().unwrap().to_owned();
    let mut token = TokenRecord::clone(caller("e-ann").token.as_deref().unwrap());
    let at = s.harness.clock.now().plus(Duration::from_secs(3600));
    token.mfa = Some(MfaPassed { at, methods: Vec::new() });
    s.harness.caller = Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() });
    let path = format!("requests/{id}/certificate");
    assert!(s.harness.write(&path, json!({ "csr": csr() })).await.is_err());
}
