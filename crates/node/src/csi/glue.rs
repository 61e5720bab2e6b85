//! Between tonic and our services: one type that turns an HTTP/2 request into a call of a method by its path.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// A gRPC service of ours.
pub trait GrpcService: Send + Sync + 'static {
    /// `package.Service`.
    const NAME: &'static str;

    /// Serves the method of a request.
    fn serve(self: Arc<Self>, method: &str, request: HttpRequest<Body>) -> Answer;
}

/// The answer to come.
pub type Answer = Pin<Box<dyn Future<Output = HttpResponse<Body>> + Send>>;

/// A service as tonic wants it.
pub struct Glue<S>(pub Arc<S>);

impl<S> Clone for Glue<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: GrpcService> NamedService for Glue<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: GrpcService> Service<HttpRequest<Body>> for Glue<S> {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let answer = self.0.clone().serve(&method, request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// One method: a function of its message. It runs to its end even when the caller hangs up, for half of what it does may
/// be done by then.
pub fn unary<Q, A, F, R>(request: HttpRequest<Body>, act: F) -> Answer
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: FnOnce(Q) -> R + Send + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    Box::pin(async move { Grpc::new(ProstCodec::<A, Q>::default()).unary(Method(Some(act)), request).await })
}

/// A method that we do not have.
pub fn unknown() -> Answer {
    Box::pin(std::future::ready(Status::unimplemented("the driver has no such method").into_http()))
}

struct Method<F>(Option<F>);

impl<Q, A, F, R> UnaryService<Q> for Method<F>
where
    A: Send + 'static,
    F: FnOnce(Q) -> R,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = A;
    type Future = BoxFuture<Response<A>, Status>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let Some(act) = self.0.take() else {
            return Box::pin(std::future::ready(Err(Status::internal("a method was called twice"))));
        };
        let detached = tokio::spawn(act(request.into_inner()));
        Box::pin(async move {
            let done = detached.await.map_err(|_| Status::internal("the task of a call broke"))?;
            done.map(Response::new)
        })
    }
}
