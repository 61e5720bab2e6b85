//! A renewal asks for the certificate of the login.

use super::*;

struct Signed {
    harness: Harness,
    ca: Ca,
    ada: Bytes,
    login: Login,
}

async fn signed() -> Signed {
    let ca = Ca::new("one");
    let mut harness = with_role(&ca, json!({ "token_policies": "p" })).await;
    let ada = ca.leaf("ada", |params| {
        params.serial_number = Some(4242.into());
        params.not_after = rcgen::date_time_ymd(2026, 6, 1);
    });
    let login = login(&mut harness, std::slice::from_ref(&ada)).await.unwrap();
    Signed { harness, ca, ada, login }
}

impl Signed {
    async fn renew(&self, chain: &[Bytes]) -> Result<(), Fault> {
        self.harness.room.renew_login(&self.login.internal, &showing(chain)).await.map(|_| ())
    }

    async fn told(&self, chain: &[Bytes]) -> String {
        self.renew(chain).await.unwrap_err().told.into_owned()
    }
}

#[tokio::test]
async fn the_same_certificate_must_come() {
    let signed = signed().await;
    signed.renew(std::slice::from_ref(&signed.ada)).await.unwrap();
    assert!(signed.told(&[]).await.starts_with(NONE));
    let other = "client identity during renewal not matching client identity used during login";
    let same_name = signed.ca.leaf("ada", |params| params.serial_number = Some(4242.into()));
    assert_eq!(signed.told(&[same_name]).await, other);
    assert_eq!(signed.told(&[Ca::new("one").leaf("ada", |_| {}), signed.ada.clone()]).await, other);
    signed.harness.write("config", json!({ "disable_binding": true })).await.unwrap();
    signed.renew(&[]).await.unwrap();
    signed.harness.write("config", json!({ "disable_binding": false })).await.unwrap();
    assert!(signed.told(&[]).await.starts_with(NONE));
}

#[tokio::test]
async fn it_must_still_be_good() {
    let signed = signed().await;
    let ada = [signed.ada.clone()];
    signed.harness.write("certs/app", json!({ "allowed_common_names": "bob" })).await.unwrap();
    assert_eq!(signed.told(&ada).await, UNMET);
    signed.harness.write("certs/app", json!({ "allowed_common_names": "" })).await.unwrap();
    signed.renew(&ada).await.unwrap();
    signed.harness.clock.advance(Duration::from_secs(200 * 86400));
    assert_eq!(signed.told(&ada).await, UNKNOWN, "it expires in June");
}

#[tokio::test]
async fn revocation_ends_renewals_whether_it_is_shown_or_not() {
    let signed = signed().await;
    signed.harness.write("crls/x", json!({ "crl": signed.ca.crl(&[4242]) })).await.unwrap();
    assert!(signed.told(std::slice::from_ref(&signed.ada)).await.contains("revoked"));
    signed.harness.write("config", json!({ "disable_binding": true })).await.unwrap();
    assert!(signed.told(&[]).await.contains("revoked"));
}

#[tokio::test]
async fn the_role_must_still_give_the_same() {
    let signed = signed().await;
    let ada = [signed.ada.clone()];
    // Another role that would take the certificate does not stand in.
    signed.harness.write("certs/zzz", json!({ "certificate": signed.ca.pem(), "token_policies": "p" })).await.unwrap();
    signed.harness.write("certs/app", json!({ "token_policies": "q" })).await.unwrap();
    assert_eq!(signed.told(&ada).await, "policies have changed, not renewing");
    signed.harness.delete("certs/app").await.unwrap();
    assert!(signed.told(&ada).await.contains("does not exist"));
}
