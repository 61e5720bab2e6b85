//! What tests share: a harness that drives one engine without a server, contract suites for the joints, fakes for the
//! faults that real parts cannot be made to show. A development dependency only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a broken expectation is a failed test"
)]

pub mod fake_api;
pub mod fuzz;
pub mod gpg;
pub mod harness;
pub mod jwt;
pub mod map_store;
pub mod passkey;
pub mod pki;
pub mod postgres;
pub mod receiver;
pub mod store_contract;
pub mod totp;
