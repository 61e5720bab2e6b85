//! The requests under way, for whoever looks why a server is slow: `sys/in-flight-req`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dewdrop_core::Moment;
use http::Method;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::http::Request;

/// By id.
#[derive(Default)]
pub struct Running(Mutex<HashMap<Arc<str>, Line>>);

/// What is shown of a request: its path and nothing else that it says.
struct Line {
    method: Method,
    target: PathAndQuery,
    address: Option<IpAddr>,
    began: Moment,
}

/// A request is under way as long as this lives.
pub struct Entered<'r> {
    running: &'r Running,
    id: Arc<str>,
}

impl Running {
    /// A request begins.
    #[must_use]
    pub fn enter(&self, request: &Request, now: Moment) -> Entered<'_> {
        let line = Line {
            method: request.method.clone(),
            target: request.target.clone(),
            address: request.peer.address,
            began: now,
        };
        self.0.lock().insert(request.id.clone(), line);
        Entered { running: self, id: request.id.clone() }
    }

    /// All of them.
    #[must_use]
    pub fn show(&self) -> Value {
        let running = self.0.lock();
        let lines: Map<String, Value> = running.iter().map(|(id, line)| (id.to_string(), line.show())).collect();
        lines.into()
    }
}

impl Line {
    fn show(&self) -> Value {
        json!({
            "start_time": self.began.rfc3339(),
            "client_remote_address": self.address.map(|address| address.to_string()).unwrap_or_default(),
            "request_path": self.target.path(),
            "request_method": self.method.as_str(),
        })
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.running.0.lock().remove(&self.id);
    }
}
