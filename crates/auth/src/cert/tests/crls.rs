//! Revoked certificates.

use super::*;

#[tokio::test]
async fn lists_read_as_the_oracles() {
    let harness = harness();
    let ca = Ca::new("one");
    let told = async |fields| harness.write("crls/x", fields).await.unwrap_err();
    assert_eq!(told(json!({})).await.told, "one of 'crl' or 'url' must be provided");
    assert_eq!(told(json!({ "url": "http://127.0.0.1/" })).await.kind, Kind::NotBuilt);
    let two = format!("{}{}", ca.crl(&[1]), ca.crl(&[2]));
    for odd in ["foo", &ca.pem(), "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", &two] {
        let fault = told(json!({ "crl": odd })).await;
        assert!(fault.kind == Kind::BadRequest && fault.told.starts_with("failed to parse CRL"), "{fault:?}");
    }
    let gone = harness.read("crls/x").await.unwrap_err();
    assert_eq!((gone.kind, gone.told.as_ref()), (Kind::BadRequest, "no such CRL x"));
    harness.write("crls/X", json!({ "crl": ca.crl(&[]) })).await.unwrap();
    assert_eq!(harness.read("crls/x").await.unwrap().data(), json!({}));
    harness.write("crls/x", json!({ "crl": ca.crl(&[4243, 255]) })).await.unwrap();
    let expected = json!({ "serials": { "255": {}, "4243": {} } });
    assert_eq!(harness.read("crls/x").await.unwrap().data(), expected);
    assert_eq!(harness.list("crls").await.unwrap().keys(), ["x"]);
    harness.delete("crls/x").await.unwrap();
    assert_eq!(harness.delete("crls/x").await.unwrap_err().told, "no such CRL x");
}

#[tokio::test]
async fn revoked_certificates_are_refused_until_the_list_is_gone() {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({})).await;
    // 255 has a zero in front in DER.
    for serial in [4243_u64, 255] {
        let leaf = [ca.leaf("ada", |params| params.serial_number = Some(serial.into()))];
        let other = [ca.leaf("ada", |params| params.serial_number = Some((serial + 1).into()))];
        login(&mut harness, &leaf).await.unwrap();
        harness.write("crls/x", json!({ "crl": ca.crl(&[serial]) })).await.unwrap();
        assert_eq!(refused(&mut harness, &leaf).await, UNMET);
        login(&mut harness, &other).await.unwrap();
        harness.write("certs/own", json!({ "certificate": pem(&leaf[0]) })).await.unwrap();
        assert_eq!(refused(&mut harness, &leaf).await, UNMET, "trusted by itself");
        harness.delete("certs/own").await.unwrap();
        harness.delete("crls/x").await.unwrap();
        login(&mut harness, &leaf).await.unwrap();
    }
}

#[tokio::test]
async fn a_revoked_authority_takes_all_below_along() {
    let root = Ca::with("root", |params| params.serial_number = Some(77.into()));
    let middle = root.below("middle", |params| params.serial_number = Some(78.into()));
    let mut harness = with_role(&root, json!({})).await;
    let (ada, bob) = ([middle.leaf("ada", |_| {}), middle.der()], [root.leaf("bob", |_| {})]);
    login(&mut harness, &ada).await.unwrap();
    harness.write("crls/x", json!({ "crl": root.crl(&[78]) })).await.unwrap();
    assert_eq!(refused(&mut harness, &ada).await, UNMET);
    login(&mut harness, &bob).await.unwrap();
    harness.write("crls/x", json!({ "crl": root.crl(&[77]) })).await.unwrap();
    assert_eq!(refused(&mut harness, &bob).await, UNMET);
}
