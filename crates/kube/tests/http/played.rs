//! An API server that is played: objects by path, and one token that it knows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dewdrop_kube::cluster::Api;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Objects = BTreeMap<String, (u16, Value)>;

/// The objects, with the status that a GET has.
#[derive(Clone, Default)]
pub struct Played(Arc<Mutex<Objects>>);

impl Played {
    /// These objects.
    pub fn with(paths: &[(&str, u16, Value)]) -> Self {
        let objects = paths.iter().map(|(path, status, body)| ((*path).to_owned(), (*status, body.clone()))).collect();
        Self(Arc::new(Mutex::new(objects)))
    }

    /// What is at a path now.
    pub fn at(&self, path: &str) -> Value {
        self.0.lock().unwrap().get(path).map_or(Value::Null, |(_, object)| object.clone())
    }

    /// Puts something there.
    pub fn put(&self, path: &str, status: u16, object: Value) {
        self.0.lock().unwrap().insert(path.to_owned(), (status, object));
    }

    /// Serves; `folder` becomes the account that may ask.
    pub async fn start(&self, folder: &Path) -> Api {
        let (tls, ca) = super::fake::certificate().await;
        std::fs::write(folder.join("ca.crt"), ca).unwrap();
        std::fs::write(folder.join("token"), "own-token\n").unwrap();
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let played = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, played) = (TlsAcceptor::from(tls.current()), played.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let played = played.clone();
                        async move { played.answer(request).await }
                    });
                    let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(stream, service).await;
                });
            }
        });
        Api::new(&base, folder).unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
        let known = request.headers().get("authorization").is_some_and(|it| it == "Bearer own-token");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let (status, body) = match known {
            true => self.done(&method, path, &serde_json::from_slice(&body).unwrap_or_default()),
            false => (401, json!({})),
        };
        Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())))
    }

    fn done(&self, method: &Method, path: String, body: &Value) -> (u16, Value) {
        let mut objects = self.0.lock().unwrap();
        match *method {
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                write(&mut objects, path, body, |known| known.is_none())
            }
            Method::PUT => write(&mut objects, path, body, |known| {
                known.is_some_and(|(_, it)| it["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"])
            }),
            Method::PATCH => patch(&mut objects, &path, body),
            _ => objects.get(&path).cloned().unwrap_or((404, json!({}))),
        }
    }
}

/// A write, unless somebody was faster.
fn write(
    objects: &mut Objects,
    path: String,
    body: &Value,
    good: impl Fn(Option<&(u16, Value)>) -> bool,
) -> (u16, Value) {
    if !good(objects.get(&path)) {
        return (409, json!({}));
    }
    let version =
        objects.get(&path).and_then(|(_, it)| it["metadata"]["resourceVersion"].as_str()?.parse().ok()).unwrap_or(0u32);
    let mut body = body.clone();
    body["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    objects.insert(path, (200, body));
    (200, json!({}))
}

fn patch(objects: &mut Objects, path: &str, steps: &Value) -> (u16, Value) {
    let Some((_, object)) = objects.get_mut(path) else { return (404, json!({})) };
    for step in steps.as_array().unwrap() {
        let at = step["path"].as_str().unwrap();
        if step["op"] == "test" && object.pointer(at) != Some(&step["value"]) {
            return (422, json!({}));
        }
        if step["op"] == "add" {
            let (parent, last) = at.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[last] = step["value"].clone();
        }
    }
    (200, json!({}))
}
