//! Ring 2: the access proxy. It ends TLS, knows the grant of a person by the certificate, judges every request by that grant
//! as it is now, and acts towards the API server as that person (docs/decisions/0022).

mod body;
mod carrier;
mod door;
#[doc(hidden)]
pub mod fuzzing;
mod grants;
mod headers;
mod health;
mod heard;
mod info;
mod inside;
mod lanes;
mod lasting;
mod left;
mod record;
mod refuse;
mod review;
mod run;
mod session;
#[cfg(test)]
mod soon;
mod stream;
mod sweep;
mod tls;
mod upstream;
mod vault;
mod walk;

pub use heard::Hearing;
pub use run::{RunError, Settings, run};
pub use upstream::Place;
pub use vault::SignIn;
