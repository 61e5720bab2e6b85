//! `requests/{id}/token`: a token of minutes for a grant, at a direct cluster that is entered by one. It says to the API server
//! what a certificate says, and to no other.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::{Fault, Moment};
use serde_json::json;
use uuid::Uuid;

use super::Access;
use super::issuer::no_issuer;

/// Clocks differ.
const EARLIER: Duration = Duration::from_secs(30);

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("requests/{id}/token", "A token for a grant.", |route| {
        route.write("Starts the grant when it has not started; for whoever asked.", token)
    })
}

async fn token(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let started = access.started(&call).await?;
    let by_certificate = || {
        Fault::bad_request(format!(
            "the cluster {} is entered by a certificate: ask for that (requests/ID/certificate)",
            started.cluster()
        ))
    };
    let terms = started.terms.as_ref().ok_or_else(by_certificate)?;
    let audience = access.audience(started.cluster()).await?.ok_or_else(by_certificate)?;
    let issuer = access.issuer().await?.ok_or_else(no_issuer)?;
    // Whole seconds: so the token says it.
    let end = Moment(started.end(call.now, terms.ttl).seconds() * 1000);
    // The API server's audit log names it by this.
    let name = Uuid::new_v4().to_string();
    let token = issuer.sign(&json!({
        "iss": issuer.url(), "aud": audience, "sub": started.person.name, "groups": [terms.group],
        "grant": started.case.id, "jti": name, "iat": call.now.seconds(),
        "nbf": call.now.minus(EARLIER).seconds(), "exp": end.seconds(),
    }))?;
    access.keep_started(&call, &started).await?;
    Reply::of(&json!({
        "token": token, "jti": name, "expires_at": end.rfc3339(),
        "grant_ends_at": started.running.until.rfc3339(), "id": started.case.id,
    }))
}
