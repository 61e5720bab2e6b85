//! What a role wants to stand in a certificate. Each line was asked of an OpenBao as well.

use rcgen::{DnType, SanType};

use super::*;

fn ada(ca: &Ca) -> Bytes {
    ca.leaf("ada", |params| {
        params.distinguished_name.push(DnType::OrganizationalUnitName, "eng");
        params.subject_alt_names = vec![
            SanType::DnsName("ada.example.com".try_into().unwrap()),
            SanType::Rfc822Name("ada@example.com".try_into().unwrap()),
            SanType::URI("spiffe://x/ada".try_into().unwrap()),
        ];
        params.custom_extensions.extend([pki::text(&[1, 2, 3, 4], "hello"), pki::number(&[1, 2, 3, 5], 7)]);
    })
}

#[tokio::test]
async fn names_and_extensions() {
    let ca = Ca::new("one");
    let leaf = [ada(&ca)];
    for (field, value, works) in [
        ("allowed_common_names", "Ada", false),
        ("allowed_common_names", "a*", true),
        ("allowed_common_names", "x,ada", true),
        ("allowed_common_names", "ada.example.com", false),
        ("allowed_dns_sans", "*.example.com", true),
        ("allowed_dns_sans", "*.EXAMPLE.com", false),
        ("allowed_dns_sans", "ada", false),
        ("allowed_names", "*@example.com", true),
        ("allowed_names", "ada.*", true),
        ("allowed_names", "ada", true),
        ("allowed_names", "spiffe*", false),
        ("allowed_uri_sans", "spiffe://*/ada", true),
        ("allowed_uri_sans", "spiffe://y/*", false),
        ("allowed_email_sans", "*@example.com", true),
        ("allowed_email_sans", "*@evil.org", false),
        ("allowed_organizational_units", "ops,eng", true),
        ("allowed_organizational_units", "en", false),
        ("required_extensions", "1.2.3.4:hello", true),
        ("required_extensions", "1.2.3.4:hel*", true),
        ("required_extensions", "1.2.3.4:HELLO", false),
        ("required_extensions", "1.2.3.5:", true),
        ("required_extensions", "1.2.3.5:7", false),
        ("required_extensions", "1.2.3.4:hello,1.2.3.9:x", false),
    ] {
        let mut harness = with_role(&ca, json!({ field: value })).await;
        let login = login(&mut harness, &leaf).await;
        assert_eq!(login.is_ok(), works, "{field} {value}");
        if let Err(fault) = login {
            assert_eq!(fault.told, UNMET);
            assert!(fault.known.contains(field), "{fault:?}");
        }
    }
}

/// Which OpenBao does not know, and Vault does.
#[tokio::test]
async fn extensions_in_hex() {
    let ca = Ca::new("one");
    let leaf = [ada(&ca)];
    for (value, works) in [
        ("hex:1.2.3.5:020107", true),
        ("hex:1.2.3.5:02*", true),
        ("hex:1.2.3.4:0C05*", true),
        ("hex:1.2.3.5:020108", false),
    ] {
        let mut harness = with_role(&ca, json!({ "required_extensions": value })).await;
        assert_eq!(login(&mut harness, &leaf).await.is_ok(), works, "{value}");
    }
}

#[tokio::test]
async fn all_lists_must_be_met() {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({ "allowed_common_names": "ada", "allowed_dns_sans": "nope" })).await;
    assert_eq!(refused(&mut harness, &[ada(&ca)]).await, UNMET);
    harness.write("certs/app", json!({ "allowed_dns_sans": "" })).await.unwrap();
    login(&mut harness, &[ada(&ca)]).await.unwrap();
}
