//! A build without the feature `otel` traces nothing.

use std::future::Future;

use dewdrop_core::Operation;
use dewdrop_core::mount::Mount;
use dewdrop_core::store::SharedStore;
use futures_util::future::BoxFuture;

use crate::config;
use crate::http::{Request, Response};

/// There are none.
pub enum Traces {}

impl Traces {
    /// Never called: the configuration refuses the block.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: &config::Traces) -> anyhow::Result<Self> {
        anyhow::bail!("this program was built without OpenTelemetry (feature \"otel\")")
    }

    /// Of no traces.
    pub fn request(
        &self,
        _: Request,
        _: impl FnOnce(Request) -> BoxFuture<'static, Response>,
    ) -> BoxFuture<'static, Response> {
        match *self {}
    }

    /// Of no traces.
    pub fn stop(&self) {
        match *self {}
    }
}

/// The work itself.
pub fn within<F: Future>(_: &'static str, work: F) -> F {
    work
}

/// The work itself.
pub fn carried<F: Future>(work: F) -> F {
    work
}

/// Nothing.
pub fn found(_: Operation, _: &Mount, _: impl FnOnce() -> &'static str) {}

/// The store itself.
pub fn kept(store: SharedStore, _: Option<&Traces>) -> SharedStore {
    store
}
