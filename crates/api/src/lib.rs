//! The HTTP API as its clients see it: the reply envelope, and a small typed client.
//!
//! Everything that may be a secret (tokens, `data`, bodies) sits in types that are wiped when they are dropped
//! and that `Debug` does not show. The shapes follow the public OpenBao API documentation.

#[cfg(feature = "client")]
mod call;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod config;
pub mod credentials;
#[cfg(feature = "door")]
pub mod door;
mod envelope;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "outside")]
pub mod outside;
#[cfg(feature = "client")]
mod retry;
pub mod template;
mod text;
pub mod variables;

#[cfg(feature = "client")]
pub use call::Call;
#[cfg(feature = "client")]
pub use client::{Client, Reply};
#[cfg(feature = "client")]
pub use config::{Address, Config, Tls};
pub use envelope::{Auth, Data, Envelope, WrapInfo};
#[cfg(feature = "client")]
pub use error::{ApiError, Error};
#[cfg(feature = "client")]
pub use retry::Backoff;
pub use text::SecretText;
