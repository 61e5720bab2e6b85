//! Spans of a request's walk, for OpenTelemetry: the request, and within it who asks, the policies, the engine, commits to
//! the store, the making of a credential.
//!
//! A span bears the mount, the verb, the route's pattern, the namespace and the status: no path, no token, no field, no
//! body. Where no traces are configured, none of this is there: one flag is read.

#[cfg_attr(feature = "otel", path = "traces/otel.rs")]
#[cfg_attr(not(feature = "otel"), path = "traces/without.rs")]
mod otel;

#[cfg(feature = "otel")]
#[cfg(test)]
mod tests;

pub use otel::{Traces, carried, found, kept, within};
