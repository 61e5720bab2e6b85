//! What must not open the door. In each case the same login works with the honest certificate.

use std::sync::LazyLock;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
};

use super::super::trust::{Revoked, Shown, Trust};
use super::*;

/// The honest one gets in, the other does not and hears this.
async fn only_the_honest(ca: &Ca, other: &[Bytes], told: &str) {
    let mut harness = with_role(ca, json!({})).await;
    assert_eq!(refused(&mut harness, other).await, told);
    let ada = [ca.leaf("ada", |_| {}), ca.der()];
    assert_eq!(login(&mut harness, &ada).await.unwrap().alias, "ada");
}

fn at(day: (i32, u8, u8)) -> impl Fn(&mut rcgen::CertificateParams) {
    move |params| {
        params.not_before = rcgen::date_time_ymd(day.0, day.1, day.2);
        params.not_after = rcgen::date_time_ymd(day.0, day.1, day.2 + 1);
    }
}

#[tokio::test]
async fn nothing_shown() {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({})).await;
    let fault = login(&mut harness, &[]).await.unwrap_err();
    assert!(fault.kind == Kind::BadRequest && fault.told.starts_with(NONE), "{fault:?}");
    let fault = login(&mut harness, &[Bytes::from_static(b"no certificate")]).await.unwrap_err();
    assert_eq!(fault.kind, Kind::BadRequest);
    let many = vec![ca.leaf("ada", |_| {}); 30];
    assert_eq!(login(&mut harness, &many).await.unwrap_err().kind, Kind::BadRequest);
}

#[tokio::test]
async fn expired_and_not_yet_valid() {
    let ca = Ca::new("one");
    only_the_honest(&ca, &[ca.leaf("ada", at((2025, 12, 30)))], UNKNOWN).await;
    only_the_honest(&ca, &[ca.leaf("ada", at((2026, 1, 2)))], UNKNOWN).await;
    // To the day: this one holds.
    let mut harness = with_role(&ca, json!({})).await;
    login(&mut harness, &[ca.leaf("ada", at((2026, 1, 1)))]).await.unwrap();
}

#[tokio::test]
async fn expired_and_not_yet_valid_when_trusted_by_itself() {
    let ca = Ca::new("one");
    for (day, works) in [((2025, 12, 30), false), ((2026, 1, 2), false), ((2026, 1, 1), true)] {
        let leaf = ca.leaf("ada", at(day));
        let mut harness = harness();
        harness.write("certs/app", json!({ "certificate": pem(&leaf) })).await.unwrap();
        assert_eq!(login(&mut harness, &[leaf]).await.is_ok(), works, "{day:?}");
    }
}

#[tokio::test]
async fn an_authority_that_has_expired() {
    let old = Ca::with("one", |params| params.not_after = rcgen::date_time_ymd(2025, 12, 31));
    let mut harness = with_role(&old, json!({})).await;
    assert_eq!(refused(&mut harness, &[old.leaf("ada", |_| {})]).await, UNKNOWN);
    let root = Ca::new("root");
    let middle = root.below("middle", |params| params.not_after = rcgen::date_time_ymd(2025, 12, 31));
    only_the_honest(&root, &[middle.leaf("ada", |_| {}), middle.der()], UNKNOWN).await;
}

#[tokio::test]
async fn the_right_name_from_another_authority() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    only_the_honest(&one, &[two.leaf("ada", |_| {})], UNKNOWN).await;
    only_the_honest(&one, &[two.leaf("ada", |_| {}), two.der()], UNKNOWN).await;
    // One that calls itself as the trusted one, and brings the trusted one along.
    let twin = Ca::new("one");
    only_the_honest(&one, &[twin.leaf("ada", |_| {}), twin.der(), one.der()], UNKNOWN).await;
    // And one that shows the trusted certificates, but as somebody else.
    only_the_honest(&one, &[twin.leaf("ada", |_| {}), one.leaf("ada", |_| {}), one.der()], UNKNOWN).await;
}

#[tokio::test]
async fn a_certificate_for_servers() {
    let ca = Ca::new("one");
    let server = ca.leaf("ada", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    only_the_honest(&ca, std::slice::from_ref(&server), UNKNOWN).await;
    let fault = harness().write("certs/app", json!({ "certificate": pem(&server) })).await.unwrap_err();
    assert!(fault.told.contains("TLS client authentication"), "{fault}");
    let mut harness = with_role(&ca, json!({})).await;
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    login(&mut harness, &[ca.leaf("ada", |params| params.extended_key_usages = both)]).await.unwrap();
    login(&mut harness, &[ca.leaf("ada", |params| params.extended_key_usages = Vec::new())]).await.unwrap();
}

#[tokio::test]
async fn an_authority_for_servers() {
    let root = Ca::new("root");
    let servers = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let middle = root.below("middle", servers);
    let any = |params: &mut rcgen::CertificateParams| params.extended_key_usages = Vec::new();
    only_the_honest(&root, &[middle.leaf("ada", any), middle.der()], UNKNOWN).await;
    let own = Ca::with("own", servers);
    let mut harness = with_role(&own, json!({})).await;
    assert_eq!(refused(&mut harness, &[own.leaf("ada", any)]).await, UNKNOWN);
}

#[tokio::test]
async fn names_that_the_authority_may_not_give() {
    let root = Ca::new("root");
    let within = |params: &mut rcgen::CertificateParams| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".into())],
            excluded_subtrees: Vec::new(),
        });
    };
    let named = |name: &'static str| {
        move |params: &mut rcgen::CertificateParams| {
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        }
    };
    let middle = root.below("middle", within);
    only_the_honest(&root, &[middle.leaf("ada", named("ada.evil.org")), middle.der()], UNKNOWN).await;
    let mut harness = with_role(&root, json!({})).await;
    login(&mut harness, &[middle.leaf("ada", named("ada.example.com")), middle.der()]).await.unwrap();
    // The same where the trusted one itself is constrained.
    let own = Ca::with("own", within);
    let mut harness = with_role(&own, json!({})).await;
    assert_eq!(refused(&mut harness, &[own.leaf("ada", named("ada.evil.org"))]).await, UNKNOWN);
    login(&mut harness, &[own.leaf("ada", named("ada.example.com"))]).await.unwrap();
}

#[tokio::test]
async fn a_holder_who_plays_authority() {
    let root = Ca::new("root");
    let not_one = root.below("bob", |params| params.is_ca = IsCa::ExplicitNoCa);
    only_the_honest(&root, &[not_one.leaf("ada", |_| {}), not_one.der()], UNKNOWN).await;
    let cannot_sign = root.below("middle", |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    only_the_honest(&root, &[cannot_sign.leaf("ada", |_| {}), cannot_sign.der()], UNKNOWN).await;
    let own = Ca::with("own", |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let mut harness = with_role(&own, json!({})).await;
    assert_eq!(refused(&mut harness, &[own.leaf("ada", |_| {})]).await, UNKNOWN);
}

#[tokio::test]
async fn more_authorities_below_than_there_may_be() {
    let root = Ca::with("root", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let middle = root.below("middle", |_| {});
    only_the_honest(&root, &[middle.leaf("ada", |_| {}), middle.der()], UNKNOWN).await;
    let root = Ca::with("root", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    let middle = root.below("middle", |_| {});
    let lower = middle.below("lower", |_| {});
    only_the_honest(&root, &[lower.leaf("ada", |_| {}), lower.der(), middle.der()], UNKNOWN).await;
    let mut harness = with_role(&root, json!({})).await;
    login(&mut harness, &[middle.leaf("ada", |_| {}), middle.der()]).await.unwrap();
}

#[tokio::test]
async fn the_authority_of_another_role() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let mut harness = with_role(&one, json!({ "allowed_common_names": "ada" })).await;
    harness.write("certs/low", json!({ "certificate": two.pem(), "allowed_common_names": "bob" })).await.unwrap();
    // The name that the one role wants, from the authority of the other.
    assert_eq!(refused(&mut harness, &[two.leaf("ada", |_| {})]).await, UNMET);
    let named = login_with(&mut harness, &[two.leaf("ada", |_| {})], json!({ "name": "app" })).await;
    assert_eq!(named.unwrap_err().told, UNKNOWN);
    login(&mut harness, &[two.leaf("bob", |_| {})]).await.unwrap();
}

#[tokio::test]
async fn a_forged_signature() {
    let ca = Ca::new("one");
    let mut leaf = ca.leaf("ada", |_| {}).to_vec();
    let last = leaf.len() - 1;
    leaf[last] ^= 1;
    only_the_honest(&ca, &[Bytes::from(leaf)], UNKNOWN).await;
}

proptest! {
    /// One bit is enough, wherever it is: in the certificate, or in that of the authority between.
    #[test]
    fn a_changed_certificate(at: proptest::sample::Index, bit in 0..8u8, is_leaf: bool) {
        static CHAIN: LazyLock<(Trust, [Bytes; 2])> = LazyLock::new(|| {
            let root = Ca::new("root");
            let middle = root.below("middle", |_| {});
            (Trust::read(&root.pem()).unwrap(), [middle.leaf("ada", |_| {}), middle.der()])
        });
        let (trust, honest) = &*CHAIN;
        let now = dewdrop_core::Moment(1_767_225_600_000);
        let opens = |chain: &[Bytes]| {
            Shown::of(&showing(chain)).is_ok_and(|shown| trust.admit(&shown, now, &Revoked::new()).is_ok())
        };
        prop_assert!(opens(honest));
        let mut chain = honest.clone();
        let changed = &mut chain[usize::from(!is_leaf)];
        let mut bytes = changed.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        *changed = bytes.into();
        prop_assert!(!opens(&chain), "byte {at}, bit {bit}");
    }
}

#[tokio::test]
async fn without_a_name_nobody_is_anybody() {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({})).await;
    let nameless = ca.leaf("", |params| params.distinguished_name = rcgen::DistinguishedName::new());
    assert_eq!(login(&mut harness, &[nameless]).await.unwrap_err().kind, Kind::BadCredential);
}
