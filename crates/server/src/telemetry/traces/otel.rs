//! The spans themselves. The one that is open stands in a variable of the task; work that is spawned carries it along.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use dewdrop_core::Operation;
use dewdrop_core::mount::Mount;
use dewdrop_core::store::{Batch, Entry, Hold, Revision, Row, SharedStore, Store, StoreError, Watch};
use futures_util::future::{BoxFuture, Either};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use parking_lot::Mutex;
use tokio::task::futures::TaskLocalFuture;

use crate::config;
use crate::http::{Request, Response};

/// Whether any traces were ever configured in this process.
static ON: AtomicBool = AtomicBool::new(false);
/// A collector that does not answer within this time loses a batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is still here at the end is sent within this time.
const LAST_WORDS: Duration = Duration::from_secs(5);

tokio::task_local! {
    static OPEN: Arc<Open>;
}

/// A span that is open. It ends when the last who works within it does.
pub struct Open {
    span: Mutex<Span>,
    /// For spans within this one.
    context: Context,
    tracer: SdkTracer,
}

/// The way to the collector.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    callers: TraceContextPropagator,
}

/// Work within a span, or plain work.
pub type Within<F> = Either<F, TaskLocalFuture<Arc<Open>, F>>;

impl Traces {
    /// Starts sending. Must be called within the runtime.
    ///
    /// # Errors
    /// The exporter refuses its settings.
    pub fn start(config: &config::Traces) -> anyhow::Result<Self> {
        // Whoever has set one up before has set up the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // A header may hold the collector's token: it goes to the address of the configuration and nowhere else.
        let inner = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let client = Client { inner, runtime: tokio::runtime::Handle::current() };
        let headers = config.headers.iter().map(|(name, value)| (name.clone(), value.expose().clone())).collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&config.endpoint)
            .with_timeout(TIMEOUT)
            .with_headers(headers)
            .build()
            .context("start sending traces")?;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(Resource::builder_empty().with_service_name(config.service.clone()).build())
            .build();
        ON.store(true, Ordering::Relaxed);
        Ok(Self { tracer: provider.tracer("dewdrop"), provider, callers: TraceContextPropagator::new() })
    }

    /// Answers a request within a span of its own: a part of the caller's trace, when it has one.
    pub fn request(
        &self,
        request: Request,
        answer: impl FnOnce(Request) -> BoxFuture<'static, Response>,
    ) -> BoxFuture<'static, Response> {
        let caller = self.callers.extract_with_context(&Context::new(), &HeaderExtractor(&request.headers));
        let method = request.method.as_str();
        let builder = self.tracer.span_builder(method.to_owned()).with_kind(SpanKind::Server).with_attributes([
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("dewdrop.request_id", request.id.to_string()),
        ]);
        let open = Arc::new(Open::new(&self.tracer, builder, &caller));
        let answer = answer(request);
        Box::pin(async move {
            let response = OPEN.scope(open.clone(), answer).await;
            let mut span = open.span.lock();
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(response.status.as_u16())));
            if response.status.is_server_error() {
                span.set_status(Status::error(""));
            }
            drop(span);
            response
        })
    }

    /// Sends what is still here.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_WORDS) {
            tracing::warn!(%error, "some traces were not sent");
        }
    }
}

impl Open {
    fn new(tracer: &SdkTracer, builder: SpanBuilder, parent: &Context) -> Self {
        let span = tracer.build_with_context(builder, parent);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        Self { span: Mutex::new(span), context, tracer: tracer.clone() }
    }

    fn child(&self, name: &'static str) -> Option<Arc<Self>> {
        let sampled = self.context.span().span_context().is_sampled();
        let builder = || self.tracer.span_builder(name).with_kind(SpanKind::Internal);
        sampled.then(|| Arc::new(Self::new(&self.tracer, builder(), &self.context)))
    }
}

fn open() -> Option<Arc<Open>> {
    if ON.load(Ordering::Relaxed) { OPEN.try_with(Arc::clone).ok() } else { None }
}

/// Works within a new span, when the request is traced.
pub fn within<F: Future>(name: &'static str, work: F) -> Within<F> {
    match open().and_then(|open| open.child(name)) {
        None => Either::Left(work),
        Some(span) => Either::Right(OPEN.scope(span, work)),
    }
}

/// Work that is about to be spawned stays within the span that is open here.
pub fn carried<F: Future>(work: F) -> Within<F> {
    match open() {
        None => Either::Left(work),
        Some(span) => Either::Right(OPEN.scope(span, work)),
    }
}

/// Tells the open span which route it is.
pub fn found(operation: Operation, mount: &Mount, pattern: impl FnOnce() -> &'static str) {
    let Some(open) = open() else { return };
    let pattern = pattern();
    let mut span = open.span.lock();
    span.update_name(format!("{} {}{pattern}", operation.name(), mount.path));
    span.set_attributes([
        KeyValue::new("dewdrop.operation", operation.name()),
        KeyValue::new("dewdrop.mount", mount.path.clone()),
        KeyValue::new("dewdrop.mount_type", mount.kind.clone()),
        KeyValue::new("dewdrop.namespace", mount.namespace.path.clone()),
        KeyValue::new("http.route", pattern),
    ]);
}

/// A store whose commits are seen, where anything is.
pub fn kept(store: SharedStore, traces: Option<&Traces>) -> SharedStore {
    if traces.is_some() { Arc::new(Kept(store)) } else { store }
}

struct Kept(SharedStore);

#[async_trait]
impl Store for Kept {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.scan(prefix, after, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        within("store commit", self.0.commit(batch)).await
    }
    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        self.0.watch(prefix).await
    }
    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        self.0.hold(name, ttl).await
    }
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.0.revision().await
    }
}

/// The exporter has a thread of its own, without a runtime: it borrows ours.
#[derive(Debug)]
struct Client {
    inner: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.inner.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        Ok(http::Response::builder().status(status).body(body)?)
    }
}
