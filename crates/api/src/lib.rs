//! The HTTP API as its clients see it: the reply envelope, and a small typed client.
//!
//! Everything that may be a secret (tokens, `data`, bodies) sits in types that are wiped when they are dropped
//! and that `Debug` does not show. The shapes follow the public OpenBao API documentation.

mod call;
mod client;
mod config;
mod envelope;
mod error;
mod retry;
mod text;

pub use call::Call;
pub use client::{Client, Reply};
pub use config::{Address, Config, Tls};
pub use envelope::{Auth, Data, Envelope, WrapInfo};
pub use error::{ApiError, Error};
pub use retry::Backoff;
pub use text::SecretText;
