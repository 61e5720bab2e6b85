//! Whoever goes into a pod: announced at the server before, under a name that the API server hands to the webhook there; and
//! told when he has left, so that what he has seen is replaced.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::carrier::Carrier;
use crate::grants::{Live, Miss};
use crate::info::{Info, Resource};
use crate::refuse::Refusal;

/// Parts of a pod that lead into it.
const DOORS: [&str; 4] = ["exec", "attach", "portforward", "ephemeralcontainers"];
/// Of these, the ones by which a container's files can be read.
const READING: [&str; 2] = ["exec", "attach"];
/// An end is told so often at most, with longer and longer rests; after that it comes with the grant's.
const TRIES: u32 = 8;
const REST: Duration = Duration::from_millis(250);

/// What is announced.
#[derive(Debug, Clone, Serialize)]
pub struct Announcement {
    /// A name that nobody can guess.
    pub session: String,
    /// The grant.
    pub grant: String,
    /// The cluster.
    pub cluster: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub name: String,
    /// `pods/exec`.
    pub target: String,
}

/// Somebody is inside; when it is dropped, he has left.
pub struct Inside {
    session: String,
    carrier: Arc<dyn Carrier>,
}

/// Whether a request leads into a pod.
#[must_use]
pub fn leads_in(info: &Info) -> bool {
    let is_door = |of: &&Resource| {
        let writes = of.subresource != "ephemeralcontainers" || info.verb != "get";
        of.group.is_empty() && of.resource == "pods" && DOORS.contains(&of.subresource.as_str()) && writes
    };
    info.resource.as_ref().filter(is_door).is_some()
}

/// Announces a request that leads into a pod, and says so in its headers; `None`: it leads into none, or reads nothing there.
///
/// # Errors
/// The server cannot be told, or the grant ended meanwhile.
pub async fn announce(
    info: &Info,
    live: &Live,
    cluster: &str,
    carrier: &Arc<dyn Carrier>,
    headers: &mut HeaderMap,
) -> Result<Option<Inside>, Refusal> {
    let Some(of) = info.resource.as_ref().filter(|_| leads_in(info)) else { return Ok(None) };
    let mut random = [0; 16];
    fill(&mut random).map_err(|_| Refusal::unavailable("there is no randomness"))?;
    let session = hex::encode(random);
    let value = HeaderValue::from_str(&session).map_err(|_| Refusal::unavailable("a session has no name"))?;
    let announcement = Announcement {
        session: session.clone(),
        grant: live.grant.id.clone(),
        cluster: cluster.to_owned(),
        namespace: of.namespace.clone(),
        name: of.name.clone(),
        target: format!("pods/{}", of.subresource),
    };
    let told = carrier.announce(&announcement).await;
    told.map_err(|why| Refusal::unavailable(format!("the server cannot be told of the session: {why}")))?;
    // That may have taken seconds, and a command runs from the moment in which the API server hears of it.
    if live.over.is_cancelled() {
        return Err(Refusal::unauthorized(Miss::None.to_string()));
    }
    headers.insert(HeaderName::from_static("impersonate-extra-dewdrop.dev%2fsession"), value);
    let reads = READING.contains(&of.subresource.as_str());
    Ok(reads.then(|| Inside { session, carrier: carrier.clone() }))
}

impl Drop for Inside {
    fn drop(&mut self) {
        let (session, carrier) = (std::mem::take(&mut self.session), self.carrier.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for tried in 0..TRIES {
                match carrier.left(&session).await {
                    Ok(()) => return,
                    Err(why) if tried + 1 == TRIES => {
                        tracing::warn!(%why, "the end of a session cannot be told: what it has seen is replaced when its grant ends");
                    }
                    Err(_) => tokio::time::sleep(REST * 2_u32.pow(tried)).await,
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::carrier::Untold;
    use crate::carrier::stub::{Stub, Told};
    use crate::soon::until;

    const EXEC: &str = "/api/v1/namespaces/shop/pods/web/exec";

    fn announced(server: &Stub) -> Vec<Announcement> {
        let heard = server.heard().into_iter();
        heard.filter_map(|told| if let Told::Door(door) = told { Some(door) } else { None }).collect()
    }

    fn left(server: &Stub) -> Vec<String> {
        let heard = server.heard().into_iter();
        heard.filter_map(|told| if let Told::Left(session) = told { Some(session) } else { None }).collect()
    }

    async fn asks(server: &Stub, method: Method, path: &str) -> (Result<Option<Inside>, Refusal>, HeaderMap) {
        asks_until(server, method, path, tokio_util::sync::CancellationToken::new()).await
    }

    /// By a grant that ends so.
    async fn asks_until(
        server: &Stub,
        method: Method,
        path: &str,
        over: tokio_util::sync::CancellationToken,
    ) -> (Result<Option<Inside>, Refusal>, HeaderMap) {
        let info = Info::read(&method, path, None).unwrap();
        let carrier: Arc<dyn Carrier> = Arc::new(server.clone());
        let mut headers = HeaderMap::new();
        let grant = serde_json::from_value(serde_json::json!({
            "id": "g1", "user": "ann", "role": "look", "ends_at": "2026-01-01T00:00:00Z",
            "scope": { "clusters": [], "namespaces": [], "rules": [] },
        }));
        let live = Live { grant: grant.unwrap(), over };
        (announce(&info, &live, "prod", &carrier, &mut headers).await, headers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_door_is_announced_by_a_name_that_the_api_server_gets_too() {
        let server = Stub::default();
        let (inside, headers) = asks(&server, Method::POST, EXEC).await;
        let told = announced(&server).remove(0);
        assert_eq!(headers["impersonate-extra-dewdrop.dev%2fsession"], *told.session);
        assert_eq!(told.session.len(), 32);
        let what = [&told.grant, &told.cluster, &told.namespace, &told.name, &told.target];
        assert_eq!(what, ["g1", "prod", "shop", "web", "pods/exec"]);
        assert!(left(&server).is_empty());
        server.says(|_| Err(Untold::Away("away".into())));
        drop(inside);
        until(|| left(&server).len() == 2).await;
        server.takes_all();
        until(|| left(&server).len() == 3).await;
        tokio::time::sleep(REST * 2_u32.pow(TRIES)).await;
        assert_eq!(left(&server), vec![told.session; 3], "told until it is heard");
    }

    #[tokio::test]
    async fn what_reads_nothing_has_no_end_to_tell_and_what_leads_nowhere_is_not_announced() {
        let server = Stub::default();
        for path in ["portforward", "ephemeralcontainers"] {
            let path = format!("/api/v1/namespaces/shop/pods/web/{path}");
            assert!(asks(&server, Method::PATCH, &path).await.0.unwrap().is_none());
        }
        assert_eq!(announced(&server).len(), 2);
        for (method, path) in [
            (Method::GET, "/api/v1/namespaces/shop/pods/web/ephemeralcontainers"),
            (Method::GET, "/api/v1/namespaces/shop/pods/web/log"),
            (Method::POST, "/apis/x.example/v1/namespaces/shop/pods/web/exec"),
        ] {
            let (inside, headers) = asks(&server, method, path).await;
            assert!(inside.unwrap().is_none() && headers.is_empty(), "{path}");
        }
        assert_eq!(announced(&server).len(), 2);
    }

    #[tokio::test]
    async fn nobody_goes_in_by_a_grant_that_ended_while_he_was_announced() {
        let (server, over) = (Stub::default(), tokio_util::sync::CancellationToken::new());
        let ends = over.clone();
        server.says(move |_| {
            ends.cancel();
            Ok(())
        });
        let (inside, headers) = asks_until(&server, Method::POST, EXEC, over).await;
        assert!(inside.is_err() && headers.is_empty());
    }

    #[tokio::test]
    async fn nobody_goes_in_unannounced() {
        let server = Stub::default();
        server.says(|_| Err(Untold::Away("away".into())));
        let (inside, headers) = asks(&server, Method::POST, "/api/v1/namespaces/shop/pods/web/attach").await;
        assert!(inside.is_err() && headers.is_empty());
    }
}
