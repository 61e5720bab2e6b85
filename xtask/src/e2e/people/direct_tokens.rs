//! A cluster without the access proxy that is entered by a token: its API server trusts the mount as an issuer, by the very
//! configuration that the guide shows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::direct::{Edge, GROUP, TTL, is_ann};
use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};
use crate::say;

const GUIDE: &str = include_str!("../../../../docs/guides/kubectl-access.md");
/// The issuer and the authority, as the guide has them.
const URL: &str = "https://dewdrop.example:8200/v1/access";
const PEM: [&str; 2] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];
/// An API server remembers for ten seconds that a token was good.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The kubectl of a person works within her grant; other tokens are nothing; a revocation takes the token's minutes.
pub fn tokens(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    let vault = &town.stage.vault;
    let issuer = format!("{}/v1/access", vault.tls);
    vault.ask("POST", "access/issuer", Some(json!({ "url": issuer })))?;
    let config = configuration(&issuer, &std::fs::read_to_string(vault.dir().join("tls.pem"))?)?;
    let config = town.file("ann", "authentication.yaml", &config)?;
    let edge = Edge::open(&town, "token", vec![format!("--authentication-config={config}")])?;
    edge.refused(&["get", "pods"], "you have no access to edge now")?;
    let id = town.asks("ann", "edge", &[])?;
    let told = town.says("ben", &["access", "approve", &id])?;
    ensure!(told.contains("for whoever has it") && told.contains(GROUP), "ben reads: {told}");
    // The API server looks for the issuer every ten seconds, until it finds it.
    let after =
        town.stage.wait("the API server to trust the issuer", PATIENCE, || Ok(edge.ann(&["get", "pods"])?.0))?;
    say::line(&format!("kubectl worked {} after the approval", say::time(after)));
    edge.refused(&["get", "pods", "-n", "bank"], "cannot list resource \"pods\"")?;
    edge.refused(&["get", "secrets"], "cannot list resource \"secrets\"")?;
    edge.refused(&["auth", "can-i", "delete", "pods"], "no")?;
    let extra = is_ann(&edge, &id)?;
    ensure!(extra["dewdrop.dev/grant"] == json!([id]), "the API server does not say by which grant: {extra}");
    let mut seen = vec![token(&edge, "edge")?];
    elsewhere(&edge, &mut seen)?;
    new_key(&edge, &mut seen)?;
    revoked(&edge, &id, &mut seen)?;
    off_the_record(&town, &seen)
}

/// What the guide shows, with our issuer and its authority.
fn configuration(issuer: &str, authority: &str) -> Result<String> {
    let block = GUIDE.split("```yaml\n").find(|block| block.starts_with("apiVersion: apiserver.config.k8s.io/"));
    let block = block.and_then(|block| block.split_once("```")).context("the guide shows no configuration")?.0;
    let (begin, rest) = block.split_once(PEM[0]).context("the guide shows no authority")?;
    let (_, end) = rest.split_once(PEM[1]).context("the guide shows no whole authority")?;
    let indent = begin.rsplit('\n').next().unwrap_or_default().to_owned();
    ensure!(block.contains(URL), "the guide names another issuer");
    Ok(format!("{begin}{}{end}", authority.trim().replace('\n', &format!("\n{indent}"))).replace(URL, issuer))
}

/// What ann's kubectl shows to a cluster.
fn token(edge: &Edge<'_, '_>, cluster: &str) -> Result<String> {
    let told = edge.credential(cluster)?;
    ensure!(told["clientCertificateData"].is_null(), "there is a certificate beside the token");
    Ok(told["token"].as_str().context("no token")?.to_owned())
}

fn shows(edge: &Edge<'_, '_>, token: &str, at: &str) -> Result<u16> {
    edge.knocks(&["-H", &format!("Authorization: Bearer {token}")], at)
}

/// A token for another cluster is nothing here, and one for this is nothing at the proxy; nor is one that was changed.
fn elsewhere(edge: &Edge<'_, '_>, seen: &mut Vec<String>) -> Result<()> {
    let (town, server) = (edge.town, edge.cluster()?.server.clone());
    town.granted("other", &[])?;
    let (own, other) = (token(edge, "edge")?, token(edge, "other")?);
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let mixed = [&parts(&other)[..2], &parts(&own)[2..]].concat().join(".");
    let codes = [
        shows(edge, &own, &server)?,
        shows(edge, &other, &server)?,
        shows(edge, &mixed, &server)?,
        shows(edge, &own, &town.address())?,
    ];
    ensure!(codes == [200, 401, 401, codes[3]] && codes[3] != 200, "own, another's, mixed, at the proxy: {codes:?}");
    say::line(&format!("own token 200, another cluster's 401, a mixed one 401, own at the proxy {}", codes[3]));
    seen.extend([own, other]);
    Ok(())
}

/// After a rotation both keys are good: the API server fetches the new one when it meets it.
fn new_key(edge: &Edge<'_, '_>, seen: &mut Vec<String>) -> Result<()> {
    let server = edge.cluster()?.server.clone();
    let old = token(edge, "edge")?;
    edge.town.stage.vault.ask("POST", "access/issuer/rotate", Some(json!({})))?;
    let new = token(edge, "edge")?;
    let codes = [shows(edge, &new, &server)?, shows(edge, &old, &server)?];
    ensure!(codes == [200, 200], "a token of the new key, one of the last: {codes:?}");
    seen.extend([old, new]);
    Ok(())
}

/// No further token; the last one is good for its time, and for as long as the API server remembers it.
fn revoked(edge: &Edge<'_, '_>, id: &str, seen: &mut Vec<String>) -> Result<()> {
    let server = edge.cluster()?.server.clone();
    let last = token(edge, "edge")?;
    edge.town.says("cleo", &["access", "revoke", id, "-reason", "enough"])?;
    edge.refused(&["get", "pods"], "you have no access to edge now")?;
    let still = shows(edge, &last, &server)?;
    let ends = || Ok(shows(edge, &last, &server)? == 401);
    let after = edge.town.stage.wait("the last token to end", TTL + REMEMBERED + PATIENCE, ends)?;
    say::line(&format!("the last token ({still} right after the revocation) was refused {} later", say::time(after)));
    seen.push(last);
    Ok(())
}

/// The names of tokens are on the audit log, and neither what they say nor their signatures.
fn off_the_record(town: &Town<'_>, seen: &[String]) -> Result<()> {
    let log = town.stage.vault.record()?;
    for part in seen.iter().flat_map(|token| token.split('.').skip(1)) {
        ensure!(!log.contains(part), "a part of a token is on the audit log: {part}");
    }
    let named = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let named = named.filter(|line| line["response"]["data"]["jti"].is_string()).count();
    ensure!(named >= seen.len(), "{named} tokens are on the audit log by their names, and {} were given", seen.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_shows_what_an_api_server_is_told() {
        let pem = format!("{}\nMIIB\n{}\n", PEM[0], PEM[1]);
        let told = configuration("https://10.244.0.1:1/v1/access", &pem).expect("a configuration");
        assert!(told.contains("    url: https://10.244.0.1:1/v1/access\n"), "{told}");
        assert!(told.contains(&format!("      {}\n      MIIB\n      {}\n", PEM[0], PEM[1])), "{told}");
        assert!(told.contains("[dewdrop-edge]") && told.contains("dewdrop.dev/grant"), "{told}");
    }
}
