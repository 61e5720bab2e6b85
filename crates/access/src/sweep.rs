//! What a grant left behind is deleted at its end, where its role says so: as a user of its own, who may do nothing else, and
//! only the very object that was made (docs/decisions/0027-sweep.md).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Clock;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::info::Info;
use crate::left::{self, Trace};
use crate::record::{Line, Record, What};
use crate::upstream::ApiServer;

/// Who deletes.
const USER: &str = "dewdrop:sweep";
/// What could not be deleted is tried again after this time, at the earliest.
const AGAIN: Duration = Duration::from_secs(50);
/// So long may one deletion take: the others wait for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer to a deletion is longer; the rest is not read.
const LONGEST: usize = 1 << 20;

/// What a grant left behind, and shall go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sweep {
    /// The grant.
    pub grant: String,
    /// The objects.
    pub items: Vec<Item>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Item {
    /// Its path.
    pub path: String,
    /// Which one of that path.
    pub uid: String,
}

/// Deletes.
pub struct Sweeper {
    /// The cluster's name.
    pub cluster: String,
    /// The API server.
    pub api: Arc<ApiServer>,
    /// The record.
    pub record: Record,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

// === impl Sweeper ===

impl Sweeper {
    /// Does what the server asks for, for ever.
    pub async fn work(self, mut asked: mpsc::Receiver<Vec<Sweep>>) {
        let mut tried: HashMap<String, Duration> = HashMap::new();
        while let Some(sweeps) = asked.recv().await {
            let now = self.clock.steady();
            tried.retain(|_, at| now.saturating_sub(*at) < AGAIN);
            for sweep in sweeps {
                for item in sweep.items {
                    if !tried.contains_key(&item.uid) {
                        tried.insert(item.uid.clone(), now);
                        self.delete(&sweep.grant, item).await;
                    }
                }
            }
        }
    }

    async fn delete(&self, grant: &str, item: Item) {
        let Some(info) = target(&item) else {
            return tracing::warn!(path = item.path, "this is nothing that is swept");
        };
        let mut ticket = self.record.begin(Line {
            kind: "sweep",
            cluster: self.cluster.clone(),
            grant: grant.to_owned(),
            user: USER.to_owned(),
            what: What { verb: "delete".into(), target: info.path.clone(), ..What::default() },
            ..Line::default()
        });
        let (code, act, why) = match in_time(self.ask(grant, &item)).await {
            Ok((code, told)) => {
                let (act, why) = outcome(code, &told);
                (code.as_u16(), act, why)
            }
            Err(why) => (0, "kept", why),
        };
        ticket.line().end.code = code;
        let (path, uid) = (item.path, item.uid);
        ticket.line().left = Some(Trace { act: act.into(), path, uid, until: String::new(), why });
    }

    async fn ask(&self, grant: &str, item: &Item) -> Result<(StatusCode, String), String> {
        let body = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": { "uid": item.uid },
        });
        let mut request = Request::new(Either::Left(Full::new(body.to_string().into())));
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = item.path.parse().map_err(|_| "it is no path".to_owned())?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, (*self.api.token()).clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert("impersonate-user", HeaderValue::from_static(USER));
        let grant = HeaderValue::from_str(grant).map_err(|_| "the grant's name is no header".to_owned())?;
        headers.insert("impersonate-extra-dewdrop.dev%2fgrant", grant);
        let answer = self.api.ask(request).await.map_err(|error| error.to_string())?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        // Of a refusal only; an object that was deleted may hold secrets.
        let told = body.ok().filter(|_| !code.is_success()).and_then(|body| {
            let status: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
            Some(status.get("message")?.as_str()?.chars().take(300).collect())
        });
        Ok((code, told.unwrap_or_default()))
    }
}

async fn in_time<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || format!("the API server has not answered for {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(late()))
}

/// What the server names must be what it could have heard from a proxy.
fn target(item: &Item) -> Option<Info> {
    let info = Info::read(&Method::DELETE, &item.path, None).ok()?;
    let of = info.resource.as_ref()?;
    let is_one = !of.name.is_empty() && of.subresource.is_empty() && !item.uid.is_empty();
    (is_one && info.path == item.path && left::is_kind(&info)).then_some(info)
}

fn outcome(code: StatusCode, told: &str) -> (&'static str, String) {
    match code {
        code if code.is_success() => ("swept", String::new()),
        StatusCode::NOT_FOUND => ("gone", String::new()),
        // Another one of the same name.
        StatusCode::CONFLICT if told.contains("UID") => ("gone", String::new()),
        _ => ("kept", format!("{}: {told}", code.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_objects_of_the_few_kinds_are_deleted() {
        let item = |path: &str, uid: &str| target(&Item { path: path.into(), uid: uid.into() });
        assert!(item("/api/v1/namespaces/shop/serviceaccounts/x", "u").is_some());
        assert!(item("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/x", "u").is_some());
        for (path, uid) in [
            ("/api/v1/namespaces/shop/serviceaccounts/x", ""),
            ("/api/v1/namespaces/shop/serviceaccounts", "u"),
            ("/api/v1/namespaces/shop", "u"),
            ("/api/v1/namespaces/shop/pods/x", "u"),
            ("/api/v1/namespaces/shop/serviceaccounts/x/token", "u"),
            ("/api/v1/namespaces/shop/secrets/x?propagationPolicy=Orphan", "u"),
            ("/api/v1/namespaces/a/../b/secrets/x", "u"),
        ] {
            assert!(item(path, uid).is_none(), "{path} {uid}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_holds_up_no_other() {
        let told = tokio::time::timeout(PATIENCE * 2, in_time(std::future::pending::<Result<(), String>>())).await;
        assert!(told.unwrap().unwrap_err().contains("not answered"));
        assert_eq!(in_time(async { Ok(1) }).await, Ok(1));
    }

    #[test]
    fn what_came_of_it() {
        assert_eq!(outcome(StatusCode::OK, "").0, "swept");
        assert_eq!(outcome(StatusCode::NOT_FOUND, "").0, "gone");
        assert_eq!(outcome(StatusCode::CONFLICT, "Precondition failed: UID in precondition: a").0, "gone");
        assert_eq!(outcome(StatusCode::CONFLICT, "try again"), ("kept", "409: try again".into()));
        assert_eq!(outcome(StatusCode::FORBIDDEN, "no"), ("kept", "403: no".into()));
    }
}
