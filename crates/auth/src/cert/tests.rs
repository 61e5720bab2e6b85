//! Driven through the routes, as a server would. Shapes and texts are those of an OpenBao 2.7.2 that was asked the same.

mod attacks;
mod bounds;
mod crls;
mod renewal;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_core::call::{Caller, Login};
use dewdrop_core::mount::MountClass;
use dewdrop_core::{Fault, Kind};
use dewdrop_testkit::harness::{Got, Harness};
use dewdrop_testkit::pki::{self, Ca, pem};
use serde_json::{Value, json};

use super::Cert;

const NONE: &str = "no client certificate found";
const UNKNOWN: &str = "invalid certificate or no client certificate supplied";
const UNMET: &str = "no chain matching all constraints could be found for this login certificate";

fn harness() -> Harness {
    Harness::new(MountClass::Auth, &[], Cert::open)
}

/// A mount with one role `app` that trusts an authority.
async fn with_role(ca: &Ca, mut fields: Value) -> Harness {
    let harness = harness();
    fields["certificate"] = ca.pem().into();
    harness.write("certs/App", fields).await.unwrap();
    harness
}

fn showing(chain: &[Bytes]) -> Caller {
    let address = Some("127.0.0.1".parse().unwrap());
    Caller { address, certificates: chain.to_vec(), ..Caller::default() }
}

async fn login_with(harness: &mut Harness, chain: &[Bytes], fields: Value) -> Result<Login, Fault> {
    harness.caller = Arc::new(showing(chain));
    harness.write("login", fields).await.map(Got::login)
}

async fn login(harness: &mut Harness, chain: &[Bytes]) -> Result<Login, Fault> {
    login_with(harness, chain, json!({})).await
}

/// What is told to one who is refused.
async fn refused(harness: &mut Harness, chain: &[Bytes]) -> String {
    let fault = login(harness, chain).await.unwrap_err();
    assert_eq!(fault.kind, Kind::BadCredential, "{fault:?}");
    fault.told.into_owned()
}

#[tokio::test]
async fn a_role_reads_as_the_oracles() {
    let ca = Ca::new("one");
    let harness = with_role(&ca, json!({})).await;
    let mut expected = json!({
        "allowed_common_names": null, "allowed_dns_sans": null, "allowed_email_sans": null,
        "allowed_metadata_extensions": null, "allowed_names": null, "allowed_organizational_units": null,
        "allowed_uri_sans": null, "certificate": ca.pem(), "display_name": "app", "ocsp_ca_certificates": "",
        "ocsp_enabled": false, "ocsp_fail_open": false, "ocsp_query_all_servers": false,
        "ocsp_servers_override": null, "required_extensions": null, "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false, "token_num_uses": 0,
        "token_period": 0, "token_policies": [], "token_strictly_bind_ip": false, "token_ttl": 0,
        "token_type": "default",
    });
    assert_eq!(harness.read("certs/APP").await.unwrap().data(), expected);
    let more = json!({ "allowed_names": "a,b", "required_extensions": "1.2.3:x", "policies": "p", "lease": 60 });
    harness.write("certs/app", more).await.unwrap();
    for (field, value) in [
        ("allowed_names", json!(["a", "b"])),
        ("required_extensions", json!(["1.2.3:x"])),
        ("policies", json!(["p"])),
        ("token_policies", json!(["p"])),
        ("ttl", json!(60)),
        ("token_ttl", json!(60)),
    ] {
        expected[field] = value;
    }
    assert_eq!(harness.read("certs/app").await.unwrap().data(), expected);
    assert_eq!(harness.list("certs").await.unwrap().keys(), ["app"]);
    harness.delete("certs/app").await.unwrap();
    assert_eq!(harness.read("certs/app").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_what_is_not_built_says_so() {
    let harness = harness();
    let ca = Ca::new("one").pem();
    for fields in [
        json!({}),
        json!({ "certificate": "foo" }),
        json!({ "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }),
        json!({ "certificate": ca, "required_extensions": "1.2.3.4" }),
        json!({ "certificate": ca, "required_extensions": "x:y" }),
        json!({ "certificate": ca, "allowed_metadata_extensions": "not an oid" }),
        json!({ "certificate": ca, "token_num_uses": -1 }),
    ] {
        let fault = harness.write("certs/app", fields.clone()).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest, "{fields}");
    }
    for fields in [
        json!({ "certificate": ca, "ocsp_enabled": true }),
        json!({ "certificate": ca, "ocsp_ca_certificates": ca }),
        json!({ "certificate": ca, "ocsp_servers_override": "http://127.0.0.1" }),
    ] {
        assert_eq!(harness.write("certs/app", fields).await.unwrap_err().kind, Kind::NotBuilt);
    }
    assert_eq!(harness.write("config", json!({ "ocsp_cache_size": 5 })).await.unwrap_err().kind, Kind::NotBuilt);
    assert_eq!(harness.list("certs").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn the_configuration_keeps_what_is_not_given() {
    let harness = harness();
    let read = async || harness.read("config").await.unwrap().data();
    let config = |unbound, told| json!({ "disable_binding": unbound, "enable_identity_alias_metadata": told, "ocsp_cache_size": 0 });
    assert_eq!(read().await, config(false, false));
    harness.write("config", json!({ "disable_binding": true })).await.unwrap();
    harness.write("config", json!({ "enable_identity_alias_metadata": true })).await.unwrap();
    assert_eq!(read().await, config(true, true));
}

#[tokio::test]
async fn a_login_tells_the_server_all_it_needs() {
    let ca = Ca::new("one");
    let fields =
        json!({ "token_policies": "p", "token_ttl": 60, "allowed_metadata_extensions": "1.2.3.4,1.2.3.5,1.9" });
    let mut harness = with_role(&ca, fields).await;
    let leaf = ca.leaf("ada", |params| {
        params.serial_number = Some(4242.into());
        params.custom_extensions.extend([pki::text(&[1, 2, 3, 4], "hello"), pki::number(&[1, 2, 3, 5], 7)]);
    });
    let login = login(&mut harness, std::slice::from_ref(&leaf)).await.unwrap();
    assert_eq!((login.alias.as_str(), login.display_name.as_str(), login.renewable), ("ada", "app", true));
    assert_eq!((login.params.policies, login.params.ttl), (vec!["p".to_owned()], Duration::from_secs(60)));
    let metadata = json!(login.metadata);
    for (name, value) in [
        ("cert_name", "app"),
        ("common_name", "ada"),
        ("serial_number", "4242"),
        ("authority_key_id", &ca.key_id()),
        ("1-2-3-4", "hello"),
        ("1-2-3-5", ""),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    assert_eq!(metadata.as_object().unwrap().len(), 7);
    assert_eq!(metadata["subject_key_id"].as_str().unwrap().len(), 20 * 3 - 1);
    assert!(login.alias_metadata.is_empty());
    harness.write("config", json!({ "enable_identity_alias_metadata": true })).await.unwrap();
    let told = super::tests::login(&mut harness, &[leaf]).await.unwrap();
    assert_eq!(json!(told.alias_metadata), metadata);
}

#[tokio::test]
async fn one_certificate_can_be_trusted_by_itself() {
    let ca = Ca::new("one");
    let (ada, bob) = (ca.leaf("ada", |_| {}), ca.leaf("bob", |_| {}));
    let mut harness = harness();
    // The chain behind it is not a way in for all others of its authority.
    let bundle = format!("{}{}", pem(&ada), ca.pem());
    harness.write("certs/ada", json!({ "certificate": bundle })).await.unwrap();
    assert_eq!(login(&mut harness, std::slice::from_ref(&ada)).await.unwrap().alias, "ada");
    assert_eq!(refused(&mut harness, &[bob, ca.der()]).await, UNKNOWN);
    // An authority that shows its own certificate, as `openssl req -x509` makes them.
    let own = Ca::new("own");
    harness.write("certs/own", json!({ "certificate": own.pem() })).await.unwrap();
    assert_eq!(login(&mut harness, &[own.der()]).await.unwrap().alias, "own");
}

#[tokio::test]
async fn a_role_can_be_named() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let mut harness = with_role(&one, json!({})).await;
    for (name, ca) in [("aaa", &two), ("zzz", &one)] {
        harness.write(&format!("certs/{name}"), json!({ "certificate": ca.pem() })).await.unwrap();
    }
    let ada = [one.leaf("ada", |_| {})];
    assert_eq!(login(&mut harness, &ada).await.unwrap().metadata["cert_name"], "app");
    for (asked, given) in [("ZZZ", Some("zzz")), ("app", Some("app")), ("aaa", None), ("nope", None)] {
        let login = login_with(&mut harness, &ada, json!({ "name": asked })).await;
        assert_eq!(login.as_ref().ok().map(|login| login.metadata["cert_name"].as_str()), given, "{asked}");
    }
}

#[tokio::test]
async fn changes_hold_from_the_next_login() {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({})).await;
    let ada = [ca.leaf("ada", |_| {})];
    login(&mut harness, &ada).await.unwrap();
    harness.write("certs/app", json!({ "allowed_common_names": "bob" })).await.unwrap();
    assert_eq!(refused(&mut harness, &ada).await, UNMET);
    harness.write("certs/app", json!({ "allowed_common_names": "a*" })).await.unwrap();
    login(&mut harness, &ada).await.unwrap();
    harness.delete("certs/app").await.unwrap();
    assert_eq!(refused(&mut harness, &ada).await, UNKNOWN);
}

#[tokio::test]
async fn addresses_are_bound() {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({ "token_bound_cidrs": "10.0.0.0/8" })).await;
    let fault = login(&mut harness, &[ca.leaf("ada", |_| {})]).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Denied);
}
