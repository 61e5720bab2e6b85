//! Cert: a caller logs in with the TLS certificate that it shows to the server. A role trusts authorities, or one certificate
//! by itself, and says what must stand in the certificate. Paths, fields and texts follow the public API documentation and
//! what an OpenBao server was seen to answer.
//!
//! That the caller has the certificate's key was proven by the TLS handshake. No header is ever asked for a certificate.

mod book;
mod bounds;
mod config;
mod crls;
mod facts;
mod login;
mod role;
mod trust;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::Caller;
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::route::{Room, Routes};
use dewdrop_core::store::Store;
use dewdrop_core::token::TokenParams;
use parking_lot::Mutex;
use serde_json::Value;

use crate::kept_roles::{self, KeepsRoles};
use book::Book;
pub(crate) use crls::serials;
pub(crate) use facts::Facts;
pub(crate) use trust::Trust;

/// The auth method at one mount.
pub struct Cert {
    place: Place,
    /// All that a login needs; `None`: not read yet.
    book: Mutex<Option<Arc<Book>>>,
    /// Held while it is read, and while what it is made of is written.
    opening: tokio::sync::Mutex<()>,
}

impl Cert {
    /// The method behind its routes.
    #[must_use]
    pub fn open(place: Place) -> Room {
        Room::new(Arc::new(Self { place, book: Mutex::default(), opening: tokio::sync::Mutex::default() }))
    }
}

#[async_trait]
impl Engine for Cert {
    fn routes() -> Routes<Self> {
        Routes::new("Callers log in with their TLS certificate.")
            .at("login", "Logs in with the certificate of the TLS connection.", |route| {
                route.public("this is how a caller gets a token").write("Logs in.", Self::login)
            })
            .and(config::routes())
            .and(kept_roles::routes(
                "certs",
                "certs/{name}",
                "A role: which certificates it trusts, and what tokens their holders get.",
            ))
            .and(crls::routes())
    }

    async fn renew_login(&self, internal: &Value, caller: &Caller) -> Result<TokenParams, Fault> {
        self.renew(internal, caller).await
    }

    fn forget_caches(&self) {
        *self.book.lock() = None;
    }
}

#[async_trait]
impl KeepsRoles for Cert {
    type Role = role::Role;

    fn store(&self) -> &dyn Store {
        &*self.place.store
    }

    async fn writing(&self) -> Box<dyn Send + '_> {
        Box::new(self.rewriting().await)
    }
}

#[cfg(test)]
mod tests;
