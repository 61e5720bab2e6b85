//! `cargo xtask bench --fleet`: agents of many nodes against one server, without a cluster.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::{Wish, host};
use crate::parts::output_of;
use crate::parts::vault::{Caller, Kind, Vault};
use crate::say::{self, Stopwatch};

/// Threads that play the agents; each holds one connection.
const CLIENTS: u64 = 16;
/// Containers of a node.
const CONTAINERS: u64 = 30;
const ISSUER: &str = "https://fleet.test";

/// Answers the section of `docs/performance.md`.
pub fn measure(dewdrop: &std::path::Path, wish: &Wish) -> Result<String> {
    let nodes = wish.nodes;
    let load = host::load()?;
    let vault = Vault::open(Kind::Dewdrop, dewdrop)?;
    let signer = Signer::new()?;
    configure(&vault, &signer)?;
    let pid = vault.pid()?;
    let (memory, disk) = (host::resident(pid)?, host::disk(vault.dir())?);
    say::heading(&format!("{nodes} agents log in"));
    let (agents, logins) = log_in(&vault, &signer, nodes)?;
    say::heading(&format!("{} starts", nodes * CONTAINERS));
    let starts = start_all(&vault, &signer, &agents).with_context(|| vault.log_tail())?;
    let (full, written) = (host::resident(pid)?, host::disk(vault.dir())?);
    say::heading("beats");
    let beats = beat_all(&vault, &agents)?;
    let mb = |bytes: u64| bytes >> 20;
    Ok(format!(
        "{}, {}; load of the machine before: {load}. {}; {nodes} nodes x {CONTAINERS} containers, {CLIENTS} clients, KV secret.\n\n\
         | fleet | requests | each second | server's CPU µs each | p50 ms | p99 ms |\n|---|---:|---:|---:|---:|---:|\n\
         | an agent's login | {} |\n| a start and its secret | {} |\n| a beat of {CONTAINERS} starts | {} |\n\n\
         With all starts live the server has {} MB in RAM ({} before) and {} MB on disk ({} before), audit log included.\n\n\
         As fast as the clients go; they sign (RS256) on the same machine while the load runs, outside of the latencies but \
         inside of the rate, so the rate is a lower bound.",
        host::today()?,
        host::machine()?,
        super::version(dewdrop)?,
        logins,
        starts,
        beats,
        mb(full),
        mb(memory),
        mb(written),
        mb(disk)
    ))
}

/// The agents' tokens, and how it went.
fn log_in(vault: &Vault, signer: &Signer, nodes: u64) -> Result<(Vec<String>, String)> {
    let agents = Mutex::new(vec![String::new(); usize::try_from(nodes)?]);
    let logins = phase(
        vault,
        nodes,
        |caller, node| {
            let jwt = signer.token("system", "agent", node, 0)?;
            Ok(Box::new(move |agents: &Mutex<Vec<String>>| {
                let token = token_of(caller.send(
                    "POST",
                    "auth/kubernetes/login",
                    Some(json!({ "role": "agent", "jwt": jwt })),
                )?)?;
                if let Ok(mut agents) = agents.lock()
                    && let Some(place) = agents.get_mut(usize::try_from(node)?)
                {
                    *place = token;
                }
                Ok(())
            }))
        },
        &agents,
    )?;
    Ok((agents.into_inner().ok().context("a thread of the fleet broke")?, logins))
}

/// A token for each container, and its secret read with it.
fn start_all(vault: &Vault, signer: &Signer, agents: &[String]) -> Result<String> {
    let nodes = agents.len() as u64;
    phase(
        vault,
        nodes * CONTAINERS,
        |caller, n| {
            let jwt = signer.token("dev", "app", n / CONTAINERS, n + 1)?;
            let agent = caller.with_token(agents.get(usize::try_from(n / CONTAINERS)?).context("no agent")?);
            Ok(Box::new(move |_: &Mutex<Vec<String>>| {
                let body = json!({ "role": "app", "jwt": jwt, "container": "web", "start": uuid(2, n + 1) });
                let token = token_of(agent.send("POST", "auth/kubernetes/agent/start", Some(body))?)?;
                let (status, answer) = agent.with_token(&token).send("GET", "secret/data/app", None)?;
                ensure!(status == 200, "the start's token reads its secret: {status} {answer}");
                Ok(())
            }))
        },
        &Mutex::default(),
    )
}

/// A complete beat of each agent.
fn beat_all(vault: &Vault, agents: &[String]) -> Result<String> {
    let nodes = agents.len() as u64;
    phase(
        vault,
        nodes,
        |caller, node| {
            let held: Vec<Value> = (node * CONTAINERS..(node + 1) * CONTAINERS)
            .map(|n| json!({ "pod_uid": uuid(1, n + 1), "container": "web", "start": uuid(2, n + 1), "role": "app" }))
            .collect();
            let agent = caller.with_token(agents.get(usize::try_from(node)?).context("no agent")?);
            Ok(Box::new(move |_: &Mutex<Vec<String>>| {
                let (status, told) = agent.send(
                    "POST",
                    "auth/kubernetes/agent/beat",
                    Some(json!({ "complete": true, "starts": held })),
                )?;
                ensure!(
                    status == 200 && told.pointer("/data/unknown") == Some(&json!([])),
                    "the server knows all starts: {status} {told}"
                );
                Ok(())
            }))
        },
        &Mutex::default(),
    )
}

type Act = Box<dyn FnOnce(&Mutex<Vec<String>>) -> Result<()>>;

/// Does `count` things with all clients; answers the cells of a row.
fn phase(
    vault: &Vault,
    count: u64,
    prepare: impl Fn(Caller, u64) -> Result<Act> + Sync,
    kept: &Mutex<Vec<String>>,
) -> Result<String> {
    let (next, times) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let pid = vault.pid()?;
    let (clock, before) = (Stopwatch::start(), host::cpu_micros(pid)?);
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            let caller = vault.caller();
            let mut own = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    break;
                }
                let act = prepare(caller.clone(), n)?;
                let clock = Stopwatch::start();
                act(kept)?;
                own.push(clock.elapsed());
            }
            times.lock().map_err(|_| anyhow::anyhow!("a thread of the fleet broke"))?.extend(own);
            Ok(())
        };
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread of the fleet broke"))?)
    })?;
    let (took, cpu) = (clock.elapsed().as_secs_f64(), host::cpu_micros(pid)? - before);
    let mut times: Vec<Duration> = times.into_inner().map_err(|_| anyhow::anyhow!("a thread of the fleet broke"))?;
    times.sort();
    let at = |percent| super::kubernetes::ms(super::kubernetes::percentile(&times, percent));
    let row = format!(
        "{count} | {:.0} | {:.0} | {:.2} | {:.2}",
        count as f64 / took,
        cpu as f64 / count as f64,
        at(50),
        at(99)
    );
    say::line(&row);
    Ok(row)
}

fn token_of((status, answer): (u16, Value)) -> Result<String> {
    let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
    token.map(str::to_owned).with_context(|| format!("no token: {status} {:?}", answer.get("errors")))
}

fn configure(vault: &Vault, signer: &Signer) -> Result<()> {
    let root = |path: &str, body: Value| vault.ask("POST", path, Some(body)).map(drop);
    root("sys/auth/kubernetes", json!({ "type": "kubernetes" }))?;
    let jwks = json!({ "keys": [signer.jwk()] }).to_string();
    let ca = rcgen::generate_simple_self_signed(vec!["fleet.test".into()])?.cert.pem();
    root(
        "auth/kubernetes/config",
        json!({
            "kubernetes_host": ISSUER, "kubernetes_ca_cert": ca, "issuer": ISSUER, "verify": "offline", "jwks": jwks, "cluster": "fleet",
            "node_grace": "1h", "disable_local_ca_jwt": true,
        }),
    )?;
    let agents = r#"path "auth/kubernetes/agent/*" { capabilities = ["create", "update"] }"#;
    root("sys/policies/acl/node-agent", json!({ "policy": agents }))?;
    root("sys/policies/acl/app", json!({ "policy": r#"path "secret/data/app" { capabilities = ["read"] }"# }))?;
    root(
        "auth/kubernetes/role/agent",
        json!({
            "bound_service_account_names": "agent", "bound_service_account_namespaces": "system",
            "audience": "dewdrop", "agent": true, "token_policies": "node-agent", "token_ttl": "2h",
        }),
    )?;
    root(
        "auth/kubernetes/role/app",
        json!({
            "bound_service_account_names": "app", "bound_service_account_namespaces": "dev",
            "audience": "dewdrop", "bound_container_names": "web", "token_policies": "app", "token_ttl": "2h",
        }),
    )?;
    root("sys/mounts/secret", json!({ "type": "kv", "options": { "version": "2" } }))?;
    root("secret/data/app", json!({ "data": { "password": "fleet" } }))
}

fn uuid(kind: u64, n: u64) -> String {
    format!("{kind:08x}-0000-4000-8000-{n:012x}")
}

/// The cluster's key.
struct Signer {
    key: RsaKeyPair,
    now: u64,
}

impl Signer {
    fn new() -> Result<Self> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow::anyhow!("no key was made"))?;
        Ok(Self { key, now: output_of(std::process::Command::new("date").arg("+%s"))?.trim().parse()? })
    }

    fn jwk(&self) -> Value {
        let key = self.key.public_key();
        let (n, e) =
            (key.modulus().big_endian_without_leading_zero(), key.exponent().big_endian_without_leading_zero());
        json!({ "kty": "RSA", "kid": "fleet", "alg": "RS256", "use": "sig", "n": BASE64.encode(n), "e": BASE64.encode(e) })
    }

    /// A token of a pod's service account; pod 0 of a node is its agent.
    fn token(&self, namespace: &str, account: &str, node: u64, pod: u64) -> Result<String> {
        let uid = if pod == 0 { uuid(3, node) } else { uuid(1, pod) };
        let claims = json!({
            "iss": ISSUER, "aud": ["dewdrop"], "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "iat": self.now - 5, "nbf": self.now - 5, "exp": self.now + 3595,
            "kubernetes.io": {
                "namespace": namespace, "serviceaccount": { "name": account, "uid": uuid(5, 1) },
                "pod": { "name": format!("{account}-{pod}"), "uid": uid },
                "node": { "name": format!("node-{node}"), "uid": uuid(4, node) },
            },
        });
        let head = json!({ "alg": "RS256", "kid": "fleet", "typ": "JWT" });
        let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let signed = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature);
        signed.map_err(|_| anyhow::anyhow!("nothing was signed"))?;
        Ok(format!("{message}.{}", BASE64.encode(signature)))
    }
}
