//! The client against a server of our own making: trust, retries, redirects, and what it never tells.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod fake;

use dewdrop_api::{Call, Client, Config, Error, SecretText};
use fake::{Fake, Pki, reply};

async fn client(change: impl FnOnce(&mut Config), address: String) -> Result<Client, Error> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = Config::new(address);
    config.token = Some(SecretText::from("s.hunter2"));
    change(&mut config);
    Client::new(config).await
}

async fn plain(fake: &Fake) -> Client {
    client(|_| {}, fake.http()).await.unwrap()
}

fn read() -> Call {
    Call::read("secret/a").unwrap()
}

#[tokio::test]
async fn the_headers_of_a_request_are_as_asked() {
    let fake = Fake::plain(vec![reply(204, "")]).await;
    let set = |c: &mut Config| {
        c.namespace = "team".into();
        c.mfa = vec!["id:123".into()];
        c.headers = vec![("X-Own".into(), "yes".into())];
    };
    let client = client(set, fake.http()).await.unwrap();
    assert!(client.call(read().wrapped(Some("60s"))).await.unwrap().is_none());
    let asked = fake.asked().remove(0).to_lowercase();
    for wanted in [
        "get /v1/secret/a http/1.1",
        "x-vault-token: s.hunter2",
        "x-vault-request: true",
        "x-vault-namespace: team",
        "x-vault-wrap-ttl: 60s",
        "x-vault-mfa: id:123",
        "x-own: yes",
    ] {
        assert!(asked.contains(wanted), "{wanted} is missing in {asked}");
    }
}

#[tokio::test]
async fn an_anonymous_call_carries_no_token() {
    let fake = Fake::plain(vec![reply(204, "")]).await;
    plain(&fake).await.call(read().anonymous()).await.unwrap();
    assert!(!fake.asked()[0].contains("hunter2"));
}

#[tokio::test]
async fn replies_that_hold_nothing_are_told_from_refusals() {
    let nothing = r#"{"errors":[]}"#;
    let refusal = r#"{"errors":["no handler for route \"x\". route entry not found."]}"#;
    let deleted = r#"{"data":{"data":null,"metadata":{"version":1}}}"#;
    let fake = Fake::plain(vec![reply(404, nothing), reply(404, refusal), reply(404, deleted)]).await;
    let client = plain(&fake).await;
    assert!(client.call(read()).await.unwrap().is_none());
    assert!(client.call(read()).await.unwrap_err().advice().unwrap().contains("secrets list"));
    assert!(client.call(read()).await.unwrap().unwrap().data.is_some());
}

#[tokio::test]
async fn a_busy_server_is_asked_again_but_a_failed_write_is_not() {
    let busy = || reply(503, r#"{"errors":["busy"]}"#);
    let fake = Fake::plain(vec![busy(), reply(429, r#"{"errors":["slow down"]}"#), reply(204, "")]).await;
    plain(&fake).await.call(read()).await.unwrap();
    assert_eq!(fake.asked().len(), 3);

    let fake = Fake::plain(vec![reply(500, r#"{"errors":["half done"]}"#), reply(204, "")]).await;
    let write = Call::write("a", &serde_json::json!({})).unwrap();
    assert_eq!(plain(&fake).await.call(write).await.unwrap_err().status(), Some(500));
    assert_eq!(fake.asked().len(), 1, "a write that may have happened was repeated");
}

#[tokio::test]
async fn one_redirect_is_followed_with_the_body() {
    let active = Fake::plain(vec![reply(204, "")]).await;
    let standby = Fake::plain(vec![fake::redirect(&format!("{}/v1/a", active.http()))]).await;
    plain(&standby).await.call(Call::write("a", &serde_json::json!({"k": "v"})).unwrap()).await.unwrap();
    assert!(active.asked()[0].ends_with(r#"{"k":"v"}"#));

    let looped = Fake::plain(vec![fake::redirect(&format!("{}/v1/b", active.http())), reply(204, "")]).await;
    let client = client(|c| c.follow_redirect = false, looped.http()).await.unwrap();
    assert_eq!(client.send(read()).await.unwrap().status, 307);
}

#[tokio::test]
async fn only_the_given_ca_is_trusted() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let fake = Fake::tls(&pki, false, vec![reply(204, ""), reply(204, ""), reply(204, "")]).await;
    let with = |file: std::path::PathBuf| client(move |c| c.tls.ca_cert = Some(file), fake.https());
    with(pki.ca()).await.unwrap().call(read()).await.unwrap();
    let refused = with(stranger.ca()).await.unwrap().call(read()).await.unwrap_err();
    assert!(refused.advice().unwrap().contains("DEWDROP_CACERT"), "{refused}");
    let folder = client(|c| c.tls.ca_path = Some(pki.ca_folder()), fake.https()).await.unwrap();
    folder.call(read()).await.unwrap();
    let unsafe_one = client(|c| c.tls.skip_verify = true, fake.https()).await.unwrap();
    unsafe_one.call(read()).await.unwrap();
    assert_eq!(fake.asked().len(), 3, "a request reached a server that is not trusted");
}

#[tokio::test]
async fn another_name_is_expected_where_asked() {
    let pki = Pki::new();
    let fake = Fake::tls(&pki, false, vec![reply(204, "")]).await;
    let named = |name: &'static str| {
        let set = |c: &mut Config| {
            c.tls.ca_cert = Some(pki.ca());
            c.tls.server_name = Some(name.into());
        };
        client(set, fake.https())
    };
    named("vault.internal").await.unwrap().call(read()).await.unwrap();
    let refused = named("other.internal").await.unwrap().call(read()).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test]
async fn our_own_certificate_is_shown() {
    let pki = Pki::new();
    let fake = Fake::tls(&pki, true, vec![reply(204, "")]).await;
    let bare = client(|c| c.tls.ca_cert = Some(pki.ca()), fake.https()).await.unwrap();
    assert!(bare.call(read()).await.is_err());
    let (cert, key) = pki.client();
    let set = |c: &mut Config| {
        c.tls.ca_cert = Some(pki.ca());
        c.tls.client_cert = Some(cert);
        c.tls.client_key = Some(key);
    };
    client(set, fake.https()).await.unwrap().call(read()).await.unwrap();
}

#[tokio::test]
async fn tokens_are_not_carried_from_tls_to_plain_text() {
    let pki = Pki::new();
    let open = Fake::plain(vec![reply(204, "")]).await;
    let fake = Fake::tls(&pki, false, vec![fake::redirect(&format!("{}/v1/a", open.http()))]).await;
    let client = client(|c| c.tls.ca_cert = Some(pki.ca()), fake.https()).await.unwrap();
    assert!(matches!(client.call(read()).await, Err(Error::Config(_))));
    assert!(open.asked().is_empty());
}

#[tokio::test]
async fn a_plain_server_behind_an_https_address_is_recognised() {
    let fake = Fake::plain(vec![]).await;
    let client = client(|_| {}, fake.http().replace("http:", "https:")).await.unwrap();
    let error = client.call(read()).await.unwrap_err();
    assert!(error.advice().unwrap().contains("plain HTTP"), "{error}: {:?}", error.advice());
}

#[tokio::test]
async fn errors_tell_no_secret() {
    let odd = r#"{"data": {"password": "hunter2"}, "lease_id": [] }"#;
    let fake = Fake::plain(vec![reply(200, odd)]).await;
    let client = plain(&fake).await;
    let error = client.call(read()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    let bad = client.with_token(Some(SecretText::from("hunter2\n")));
    let error = bad.call(read()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_unix_socket_is_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let fake = Fake::unix(&path, vec![reply(204, "")]).await;
    let client = client(|_| {}, format!("unix://{}", path.display())).await.unwrap();
    client.call(read()).await.unwrap();
    assert!(fake.asked()[0].starts_with("GET /v1/secret/a "));
}
