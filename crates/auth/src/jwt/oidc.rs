//! Sign-in by browser (OpenID Connect): the authorization code flow with PKCE, and the flow for devices. A sign-in begins
//! at `oidc/auth_url`; the provider sends the browser back to the client (`client`) or to us (`direct`).
//!
//! What is under way lives in the memory of the one server that is active: whoever is in the middle of a sign-in when it
//! ends begins anew. Nothing else hangs on it.

mod browser;
mod client;
pub(super) mod finish;
mod page;
mod pending;
mod poll;
mod proof;
pub(super) mod provider;
mod redirects;
mod start;
mod wire;

use dewdrop_core::route::Routes;

use super::Jwt;

pub use browser::Browser;
pub use client::Client;
pub use pending::Pendings;
pub use provider::Provider;

/// What is said of a state that is not known, was used or is too old.
pub const NO_STATE: &str = "Dewdrop login failed. Expired or missing OAuth state.";

/// `oidc` and below.
pub fn routes() -> Routes<Jwt> {
    Routes::new("")
        .at("oidc/auth_url", "Where a sign-in by browser begins.", |route| {
            route
                .public("whoever signs in has no token yet")
                .write("Begins a sign-in: answers the provider's URL.", Jwt::begin)
        })
        .at("oidc/callback", "Where the provider sends the browser back to.", |route| {
            route
                .public("the provider's code and the state are the credential")
                .read_that_makes("Ends a sign-in with the provider's code.", Jwt::callback)
                .write("The same for providers that answer with a form (form_post).", Jwt::callback_form)
        })
        .at("oidc/poll", "Where a client waits for a sign-in that ends elsewhere.", |route| {
            route
                .public("the state and the client's own nonce are the credential")
                .write("Asks whether the sign-in has ended; gives the token once.", Jwt::poll)
        })
}
