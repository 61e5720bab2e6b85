//! Rows that live with a token, through the whole walk: starts of containers as a node agent asks for them.

use dewdrop_core::mount::Mount;
use dewdrop_testkit::jwt::{Signer, jwks, pod_claims};
use serde_json::{Value, json};

use super::end_tokens;
use crate::vault::rig::{Got, ROOT, Rig};

const POD: &str = "0e0f6a5c-0000-4000-8000-000000000001";
const START: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const SECOND: &str = "aaaaaaaa-0000-4000-8000-000000000002";
const AGENT: &str = r#"path "auth/kubernetes/agent/*" { capabilities = ["update"] } path "auth/token/create" { capabilities = ["update"] }"#;

struct Cluster {
    rig: Rig,
    signer: Signer,
    agent: String,
}

impl Cluster {
    async fn new() -> Self {
        let (rig, signer) = (Rig::new().await, Signer::ec("k1"));
        rig.must("POST", "sys/auth/kubernetes", json!({ "type": "kubernetes" })).await;
        let config =
            json!({ "kubernetes_host": "https://cluster.test", "verify": "offline", "jwks": jwks(&[&signer]) });
        rig.must("POST", "auth/kubernetes/config", config).await;
        rig.must("PUT", "sys/policies/acl/agent", json!({ "policy": AGENT })).await;
        let bound =
            |name: &str| json!({ "bound_service_account_names": name, "bound_service_account_namespaces": "dev" });
        let role = |name: &str, more: Value| {
            let mut fields = bound(name);
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            fields
        };
        rig.must(
            "POST",
            "auth/kubernetes/role/agent",
            role("agent", json!({ "agent": true, "token_policies": "agent" })),
        )
        .await;
        let app = role("app", json!({ "container": true, "token_type": "batch", "token_ttl": "1h" }));
        rig.must("POST", "auth/kubernetes/role/app", app).await;
        let mut cluster = Self { rig, signer, agent: String::new() };
        cluster.agent = cluster.login().await;
        cluster
    }

    fn jwt(&self, account: &str, pod: &str) -> String {
        let mut claims = pod_claims(pod, "node-1", self.rig.clock_now().seconds());
        claims["kubernetes.io"]["serviceaccount"]["name"] = account.into();
        self.signer.token(&claims)
    }

    async fn login(&self) -> String {
        let ask = json!({ "role": "agent", "jwt": self.jwt("agent", "0e0f6a5c-0000-4000-8000-0000000000ff") });
        let got = self.rig.ask("POST", "auth/kubernetes/login", ask).with("").send().await;
        got.json["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{got:?}")).to_owned()
    }

    async fn start(&self, start: &str) -> Got {
        let ask = json!({ "role": "app", "jwt": self.jwt("app", POD), "container": "web", "start": start });
        self.rig.ask("POST", "auth/kubernetes/agent/start", ask).with(&self.agent).send().await
    }

    /// The token and its accessor.
    async fn started(&self, start: &str) -> (String, String) {
        let got = self.start(start).await;
        let text = |name: &str| got.json["auth"][name].as_str().unwrap_or_else(|| panic!("{got:?}")).to_owned();
        (text("client_token"), text("accessor"))
    }

    async fn lives(&self, token: &str) -> bool {
        self.rig.ask("GET", "auth/token/lookup-self", Value::Null).with(token).send().await.status == 200
    }

    /// Ids of the starts that are kept for the node.
    async fn kept(&self) -> Vec<String> {
        let node = self.rig.must("GET", "auth/kubernetes/agent/nodes/node-1", Value::Null).await;
        let starts = node["data"]["starts"].as_array().unwrap().clone();
        starts.iter().map(|start| start["start"].as_str().unwrap().to_owned()).collect()
    }

    async fn tick(&self) {
        let mounted = self.rig.vault().mounts.at("auth/kubernetes/").unwrap();
        mounted.room.tick(&mounted.mount, self.rig.clock_now()).await.unwrap();
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.rig.advance(1);
            self.tick().await;
        }
    }
}

#[tokio::test]
async fn a_start_is_a_token_and_a_row() {
    let cluster = Cluster::new().await;
    let got = cluster.start(START).await;
    let auth = &got.json["auth"];
    assert_eq!((&auth["token_type"], &auth["orphan"]), (&json!("service"), &json!(true)), "{auth}");
    assert_eq!(auth["metadata"]["node_name"], "node-1");
    assert_eq!(auth["metadata"]["start"], START);
    assert_eq!(auth["lease_duration"], 3600);
    assert_eq!(cluster.kept().await, [START]);
    let (second, _) = cluster.started(SECOND).await;
    assert!(!cluster.lives(auth["client_token"].as_str().unwrap()).await, "the first one has ended");
    assert!(cluster.lives(&second).await);
    assert_eq!(cluster.kept().await, [SECOND]);
}

#[tokio::test]
async fn the_row_goes_with_the_token_whoever_ends_it() {
    let mut cluster = Cluster::new().await;
    for way in ["accessor", "self", "agent", "restart"] {
        let (token, accessor) = cluster.started(START).await;
        match way {
            "accessor" => {
                drop(cluster.rig.must("POST", "auth/token/revoke-accessor", json!({ "accessor": accessor })).await)
            }
            "self" => drop(cluster.rig.ask("POST", "auth/token/revoke-self", Value::Null).with(&token).send().await),
            "agent" => {
                let ask = json!({ "starts": [{ "pod_uid": POD, "container": "web" }] });
                let got = cluster.rig.ask("POST", "auth/kubernetes/agent/end", ask).with(&cluster.agent).send().await;
                assert_eq!(got.status, 204);
            }
            _ => {
                cluster.rig.restart().await;
                assert!(cluster.lives(&token).await);
                end_tokens(&cluster.rig.vault(), &[accessor], false).await.unwrap();
            }
        }
        assert!(!cluster.lives(&token).await, "{way}");
        assert_eq!(cluster.kept().await, [""; 0], "{way}");
        let ask = json!({ "starts": [{ "pod_uid": POD, "container": "web", "start": START, "role": "app" }] });
        let got = cluster.rig.ask("POST", "auth/kubernetes/agent/beat", ask).with(&cluster.agent).send().await;
        assert_eq!(got.json["data"]["unknown"][0]["start"], START, "{way}");
    }
}

#[tokio::test]
async fn an_old_end_does_not_take_the_successors_row() {
    let cluster = Cluster::new().await;
    let (_, first) = cluster.started(START).await;
    cluster.started(SECOND).await;
    end_tokens(&cluster.rig.vault(), &[first], false).await.unwrap();
    assert_eq!(cluster.kept().await, [SECOND]);
}

#[tokio::test]
async fn starts_at_once_leave_one_token_and_its_row() {
    let cluster = Cluster::new().await;
    let (one, two, three) = tokio::join!(cluster.start(START), cluster.start(SECOND), cluster.start(START));
    let mut living = 0;
    for got in [&one, &two, &three] {
        assert!([200, 503].contains(&got.status), "{got:?}");
        if let Some(token) = got.json["auth"]["client_token"].as_str() {
            living += usize::from(cluster.lives(token).await);
        }
    }
    assert_eq!((living, cluster.kept().await.len()), (1, 1));
}

#[tokio::test]
async fn whoever_makes_a_token_with_an_agents_metadata_is_none() {
    let cluster = Cluster::new().await;
    let meta = json!({ "meta": { "agent": "true", "node_name": "node-1" }, "policies": ["agent"] });
    for maker in [ROOT, &cluster.agent] {
        let made = cluster.rig.ask("POST", "auth/token/create", meta.clone()).with(maker).send().await;
        let token = made.json["auth"]["client_token"].as_str().unwrap();
        let got = cluster.rig.ask("POST", "auth/kubernetes/agent/beat", json!({})).with(token).send().await;
        assert_eq!((got.status, got.error()), (403, "permission denied"));
    }
    let got = cluster.rig.ask("POST", "auth/kubernetes/agent/beat", json!({})).with(ROOT).send().await;
    assert_eq!(got.status, 403, "not even root is an agent");
    let got = cluster.rig.ask("POST", "auth/kubernetes/agent/beat", json!({})).with(&cluster.agent).send().await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn a_silent_nodes_tokens_end_and_a_restart_is_no_silence() {
    let mut cluster = Cluster::new().await;
    let (token, _) = cluster.started(START).await;
    cluster.pass(50).await;
    cluster.rig.restart().await;
    cluster.pass(50).await;
    assert!(cluster.lives(&token).await, "its grace began anew");
    cluster.pass(12).await;
    assert!(!cluster.lives(&token).await);
    let node = cluster.rig.must("GET", "auth/kubernetes/agent/nodes/node-1", Value::Null).await;
    assert_eq!((&node["data"]["state"], &node["data"]["starts"]), (&json!("lost"), &json!([])));
    // The agent's own token is no start: it comes back with it.
    let (token, _) = cluster.started(SECOND).await;
    cluster.pass(1).await;
    assert!(cluster.lives(&token).await);
}

#[tokio::test]
async fn an_unmounted_method_leaves_nothing() {
    let cluster = Cluster::new().await;
    let (token, _) = cluster.started(START).await;
    let mount: Mount = (*cluster.rig.vault().mounts.at("auth/kubernetes/").unwrap().mount).clone();
    cluster.rig.must("DELETE", "sys/auth/kubernetes", Value::Null).await;
    assert!(!cluster.lives(&token).await);
    assert!(!cluster.lives(&cluster.agent).await);
    let left = cluster.rig.vault().mounts.slice(&mount).scan(b"", None, 10).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
