use x509_parser::prelude::*;

use super::*;

fn parsed(pem: &str) -> Vec<u8> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
    pem.contents
}

#[tokio::test]
async fn a_certificate_names_the_grant_and_nothing_that_the_request_said() {
    let mut s = Stage::new();
    s.role(json!({ "default_ttl": "30m" })).await.unwrap();
    let id = s.running().await;
    let signed = s.certificate("ann", &id).await.unwrap();
    assert_eq!(signed["expires_at"], "2026-01-01T00:10:00.000Z", "minutes, and then another");
    let der = parsed(signed["certificate"].as_str().unwrap());
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(leaf.subject().to_string(), "CN=ann");
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let uri = format!("dewdrop://access/{id}");
    assert_eq!(names.value.general_names, [GeneralName::URI(&uri)]);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !leaf.is_ca());
    assert_eq!(leaf.validity().not_after.timestamp(), 1_767_225_600 + 600);
    let ca = s.sees("eve", "ca").await.unwrap();
    assert_eq!(ca["certificate"], signed["issuing_ca"]);
    let der = parsed(ca["certificate"].as_str().unwrap());
    let (_, authority) = X509Certificate::from_der(&der).unwrap();
    leaf.verify_signature(Some(authority.public_key())).unwrap();
}

#[tokio::test]
async fn the_last_certificate_ends_with_the_grant() {
    let mut s = Stage::new();
    s.role(json!({ "default_ttl": "15m" })).await.unwrap();
    let id = s.running().await;
    s.later(12);
    let signed = s.certificate("ann", &id).await.unwrap();
    assert_eq!(signed["expires_at"], signed["grant_ends_at"]);
}

#[tokio::test]
async fn a_request_with_a_wrong_signature_is_refused() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    let der = parsed(&csr());
    let mut other = der.clone();
    *other.last_mut().unwrap() ^= 1;
    for text in [String::new(), "x".into(), pem(&other), pem(&der[..40]), "x".repeat(20_000)] {
        let fault = s.says("ann", &format!("requests/{id}/certificate"), json!({ "csr": text })).await.unwrap_err();
        assert!(fault.told.starts_with("csr: send a certificate request"), "{fault:?}");
    }
    assert!(s.live().await.is_empty(), "nothing was started");
    s.says("ann", &format!("requests/{id}/certificate"), json!({ "csr": pem(&der) })).await.unwrap();
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[tokio::test]
async fn a_new_authority_signs_and_the_last_is_still_trusted() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let first = s.sees("eve", "ca").await.unwrap()["certificate"].as_str().unwrap().to_owned();
    let both = s.says("eve", "ca/rotate", json!({})).await.unwrap()["certificate"].as_str().unwrap().to_owned();
    assert!(both.ends_with(&first) && both != first);
    let third = s.says("eve", "ca/rotate", json!({})).await.unwrap()["certificate"].as_str().unwrap().to_owned();
    assert!(!third.contains(&first));
    assert!(!third.contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_proxy_is_known_by_a_certificate_of_the_same_authority() {
    let mut s = Stage::new();
    let csr_of = json!({ "csr": csr() });
    assert!(s.says("eve", "clusters/prod/certificate", csr_of.clone()).await.is_err(), "it is not known yet");
    for address in ["", "http://x", "https://", "https://a b"] {
        assert!(s.harness.write("clusters/prod", json!({ "address": address })).await.is_err(), "{address}");
    }
    let cluster = json!({ "address": "https://access.example:6443", "names": "access.example,10.0.0.1" });
    s.harness.write("clusters/prod", cluster).await.unwrap();
    let signed = s.says("eve", "clusters/prod/certificate", csr_of).await.unwrap();
    let der = parsed(signed["certificate"].as_str().unwrap());
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        names.value.general_names,
        [GeneralName::DNSName("access.example"), GeneralName::IPAddress(&[10, 0, 0, 1])]
    );
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth, "it can be nobody's client");
    let read = s.sees("ann", "clusters/prod").await.unwrap();
    assert_eq!(
        (&read["address"], &read["certificate_authority"]),
        (&json!("https://access.example:6443"), &signed["issuing_ca"])
    );
}
