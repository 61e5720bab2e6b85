//! Another API server behind the API server: it is told the person and the grant, what is asked of it is judged, and what runs
//! there ends with the grant.

mod extension;
mod tricks;

use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::edges::Running;
use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::client::Way;
use crate::say::{self, Stopwatch};
use crate::tools;
use extension::{Asked, Extension, GROUP};

/// The API server's name for it, and the Service in front of it.
const API: &str = "apiservice/v1.wares.example.com";
const SERVICE: &str = "wares";
/// Where ann may work.
const SHOP: &str = "/apis/wares.example.com/v1/namespaces/shop";
/// Streams end this soon after their grant.
const SOON: Duration = Duration::from_secs(1);
/// A client that wants to speak something else than HTTP from here on.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The other API server, behind that of the cluster.
struct Wares<'t, 's> {
    town: &'t Town<'s>,
    server: Extension,
}

impl Drop for Wares<'_, '_> {
    fn drop(&mut self) {
        // Without its server it would hold up every namespace that is deleted.
        for args in [["delete", API, "--ignore-not-found"], ["delete", "namespace/wares", "--ignore-not-found"]] {
            if let Err(error) = self.town.stage.kubectl(&args) {
                say::failed(&format!("the other API server is still known: {error:#}"));
            }
        }
    }
}

impl<'t, 's> Wares<'t, 's> {
    fn open(town: &'t Town<'s>) -> Result<Self> {
        let host = town.stage.address(0)?;
        let cluster = town.stage.cluster()?;
        let front = cluster.state.join("pki/front-ca.pem");
        let wares = Self { town, server: Extension::start(&host, &format!("{SERVICE}.{SERVICE}.svc"), &front)? };
        cluster.apply(&manifest(&host, &wares.server).to_string())?;
        town.stage.kubectl(&["wait", API, "--for=condition=Available", "--timeout=60s"])?;
        let group = format!("--api-group={GROUP}");
        let is_known = || Ok(town.stage.kubectl(&["api-resources", &group])?.contains("widgets"));
        town.stage.wait("the API server to know of widgets", PATIENCE, is_known)?;
        Ok(wares)
    }

    /// What it was asked in ann's name.
    fn of_ann(&self) -> Vec<Asked> {
        self.server.asked().into_iter().filter(|asked| asked.all("x-remote-user") == ["ann"]).collect()
    }

    /// A connection of ann's to the proxy.
    fn way(&self) -> Result<Way> {
        let home = self.town.credential("ann")?;
        let file = |name: &str| home.join(name);
        Way::new(&self.town.address(), &file("ca.pem"), &file("cert.pem"), &file("key.pem"))
    }

    /// Refused by the proxy, with its words.
    fn refused(&self, args: &[&str], path: &str) -> Result<()> {
        let (code, body) = self.town.curl("ann", args, path)?;
        ensure!((400..500).contains(&code) && body.contains("dewdrop:"), "{args:?} {path}: {code} {body}");
        Ok(())
    }
}

/// A Service without pods, whose one address is this machine's.
fn manifest(host: &str, server: &Extension) -> Value {
    let name = |kind: &str| json!({ "name": kind, "namespace": SERVICE });
    let mut slice = name(SERVICE);
    slice["labels"] = json!({ "kubernetes.io/service-name": SERVICE });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SERVICE } },
        { "apiVersion": "v1", "kind": "Service", "metadata": name(SERVICE),
          "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": server.port }] } },
        { "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice, "addressType": "IPv4",
          "endpoints": [{ "addresses": [host], "conditions": { "ready": true } }],
          "ports": [{ "name": "https", "port": server.port, "protocol": "TCP" }] },
        { "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
          "metadata": { "name": format!("v1.{GROUP}") },
          "spec": {
              "group": GROUP, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
              "service": { "name": SERVICE, "namespace": SERVICE, "port": 443 },
              "caBundle": STANDARD.encode(&server.authority),
          } },
    ] })
}

/// Ann works with widgets; then she tries to be more than that.
pub fn behind(stage: &mut Stage) -> Result<()> {
    tools::bring("curl", "curl", "asking the access proxy what kubectl would not ask")?;
    let town = Town::open(stage)?;
    town.role("pods", json!({}))?;
    let rule = |resources: &[&str]| json!([{ "api_groups": [GROUP], "resources": resources, "verbs": ["get", "list", "watch", "create"] }]);
    town.role("wares", json!({ "rules": rule(&["widgets"]) }))?;
    let consoles =
        |is_recorded| json!({ "rules": rule(&["widgets", "widgets/console"]), "record_sessions": is_recorded });
    town.role("consoles", consoles(false))?;
    town.role("recorded", consoles(true))?;
    let wares = Wares::open(&town)?;
    without_the_group(&wares)?;
    let id = town.only("wares", &["-ttl=10m"])?;
    works(&wares, &id)?;
    tricks::play(&wares)?;
    on_the_record(&wares, &id)?;
    cannot_be_recorded(&wares)?;
    ends_with_the_grant(&wares)
}

/// What there is can be read, by whoever has a grant, as of every group; no more than that.
fn without_the_group(wares: &Wares<'_, '_>) -> Result<()> {
    let town = wares.town;
    let id = town.only("pods", &["-ttl=10m"])?;
    let told = town.refused("ann", &["get", "widgets"])?;
    let asked = format!("your grant {id} does not allow to list widgets.{GROUP} in namespace shop");
    let allowed = "It allows: get, list, watch pods, pods/log in namespace shop of cluster test";
    ensure!(told.contains(&asked) && told.contains(allowed), "a grant without the group: {told}");
    let lists = |path: &str, accept: &str| town.curl("ann", &["-H", &format!("Accept: {accept}")], path);
    let all = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (path, accept, word) in [
        ("/apis", "application/json", GROUP),
        ("/apis", all, "\"widgets\""),
        ("/apis/wares.example.com", "application/json", "preferredVersion"),
        ("/apis/wares.example.com/v1", "application/json", "\"widgets\""),
        ("/apis/wares.example.com/v1/", "application/json", "\"widgets\""),
    ] {
        let (code, body) = lists(path, accept)?;
        ensure!(code == 200 && body.contains(word), "{path} as {accept}: {code} {body}");
    }
    let asked = wares.of_ann();
    ensure!(!asked.is_empty() && asked.iter().all(|asked| !asked.has("/widgets")), "it was asked {asked:?}");
    town.says("ben", &["access", "revoke", &id])?;
    let (code, body) = lists("/apis/wares.example.com/v1", "application/json")?;
    ensure!(code == 401 && body.contains("ended or was revoked"), "discovery without a grant: {code} {body}");
    Ok(())
}

/// What is granted works, and the other server is told person, groups and grant, and nothing else.
fn works(wares: &Wares<'_, '_>, id: &str) -> Result<()> {
    let town = wares.town;
    ensure!(town.kubectl_says("ann", &["get", "widgets"])?.contains("first"), "get widgets");
    let one = town.kubectl_says("ann", &["get", "--raw", &format!("{SHOP}/widgets/first")])?;
    ensure!(one.contains("\"Widget\""), "get --raw: {one}");
    let object = json!({ "apiVersion": format!("{GROUP}/v1"), "kind": "Widget", "metadata": { "name": "second" } });
    let file = town.file("ann", "widget.json", &object.to_string())?;
    let made = town.kubectl_says("ann", &["create", "--validate=false", "-f", &file])?;
    ensure!(made.contains("second created"), "create: {made}");
    for target in
        [&format!("GET {SHOP}/widgets?"), &format!("GET {SHOP}/widgets/first "), &format!("POST {SHOP}/widgets")]
    {
        ensure!(
            wares.of_ann().iter().any(|asked| asked.line.starts_with(target.as_str())),
            "it was not asked {target}"
        );
    }
    let asked = wares.of_ann();
    asked.iter().filter(|asked| asked.has("/widgets")).try_for_each(|asked| is_told_ann(asked, id))
}

/// A request in ann's name has her groups and her grant.
fn is_told_ann(asked: &Asked, id: &str) -> Result<()> {
    let mut groups = asked.all("x-remote-group");
    groups.sort_unstable();
    ensure!(groups == ["dewdrop:people", "system:authenticated"], "groups: {asked:?}");
    let extra: Vec<_> = asked.headers.iter().filter(|(name, _)| name.starts_with("x-remote-extra-")).collect();
    let grant = |(name, value): &&(String, String)| name == "x-remote-extra-dewdrop.dev%2fgrant" && value == id;
    ensure!(extra.len() == 1 && extra.iter().all(grant), "extra: {asked:?}");
    ensure!(asked.all("x-remote-uid").concat().is_empty(), "uid: {asked:?}");
    Ok(())
}

/// Each request that came to the other server is on the record by its name there; each refusal is, too.
fn on_the_record(wares: &Wares<'_, '_>, id: &str) -> Result<()> {
    let town = wares.town;
    let names: Vec<String> = wares
        .of_ann()
        .iter()
        .filter(|asked| asked.all("x-remote-extra-dewdrop.dev%2fgrant") == [id])
        .map(|asked| asked.all("audit-id").concat())
        .collect();
    ensure!(!names.is_empty(), "it was asked nothing by this grant");
    let is_ours = |line: &Value| line["target"].as_str().is_some_and(|target| target.contains(GROUP));
    let lines = || -> Result<Vec<Value>> { Ok(town.lines(id)?.into_iter().filter(is_ours).collect()) };
    let has_all = || {
        let lines = lines()?;
        Ok(names.iter().all(|name| lines.iter().any(|line| line["audit_id"] == *name)))
    };
    town.stage.wait("a line of each request", PATIENCE, has_all)?;
    let has = |verb: &str, target: &str, code: u16| {
        let target = format!("{target}.{GROUP}");
        let is_it = |line: &Value| line["verb"] == verb && line["target"] == *target && line["code"] == code;
        town.stage.wait(&format!("{verb} {target}: {code} on the record"), PATIENCE, || Ok(lines()?.iter().any(is_it)))
    };
    for (verb, target, code) in [
        ("list", "widgets", 200),
        ("get", "widgets", 200),
        ("create", "widgets", 201),
        ("delete", "widgets", 403),
        ("get", "widgets/proxy", 403),
        ("create", "widgets/proxy", 403),
        ("get", "widgets/console", 403),
    ] {
        has(verb, target, code)?;
    }
    Ok(())
}

/// A stream that the proxy cannot record is refused where sessions are to be recorded, and the other server hears nothing of it.
fn cannot_be_recorded(wares: &Wares<'_, '_>) -> Result<()> {
    let town = wares.town;
    let id = town.only("recorded", &["-ttl=10m"])?;
    let before = wares.of_ann().len();
    let told =
        wares.way()?.open()?.raw(&format!("GET {SHOP}/widgets/first/console HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"))?;
    ensure!(told.starts_with("HTTP/1.1 403") && told.contains("cannot be"), "a console that is to be recorded: {told}");
    ensure!(wares.of_ann().len() == before, "the other API server was asked");
    town.says("ben", &["access", "revoke", &id]).map(drop)
}

/// A watch and a stream of the other server run; both are cut when the grant ends, on both sides.
fn ends_with_the_grant(wares: &Wares<'_, '_>) -> Result<()> {
    let town = wares.town;
    let id = town.only("consoles", &["-ttl=10m"])?;
    let before = wares.of_ann().len();
    let mut console = wares.way()?.open()?;
    console.say(&format!("GET {SHOP}/widgets/first/console HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"))?;
    let told = console.hears("\r\n\r\n")?;
    ensure!(told.starts_with("HTTP/1.1 101"), "a console that is granted: {told}");
    console.say("is anybody there?")?;
    console.hears("is anybody there?")?;
    let watch = Running::start(town, &["get", "widgets", "--watch"])?;
    town.stage.wait("both streams", PATIENCE, || Ok(wares.server.streams() == 2))?;
    wares
        .of_ann()
        .iter()
        .skip(before)
        .filter(|asked| asked.has("/widgets"))
        .try_for_each(|asked| is_told_ann(asked, &id))?;
    town.says("ben", &["access", "revoke", &id])?;
    let clock = Stopwatch::start();
    console.ends(SOON)?;
    watch.ends(town, SOON.saturating_sub(clock.elapsed()))?;
    say::line(&format!("a console and a watch ended {} after the revocation", say::time(clock.elapsed())));
    town.stage.wait("the other API server to see it", PATIENCE, || Ok(wares.server.streams() == 0))?;
    let ended = |line: &Value| line["kind"] == "end" && line["target"] == format!("widgets/console.{GROUP}");
    town.stage.wait("the stream's end on the record", PATIENCE, || Ok(town.lines(&id)?.iter().any(ended))).map(drop)
}
