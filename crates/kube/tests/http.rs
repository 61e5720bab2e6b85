//! The webhook over TLS, with a played API server behind it: golden questions and answers, and every body that is none.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "http/bad_input.rs"]
mod bad_input;
#[path = "http/crowd.rs"]
mod crowd;
#[path = "http/fake.rs"]
mod fake;
#[path = "http/golden.rs"]
mod golden;
#[path = "http/lease.rs"]
mod lease;
#[path = "http/lookups.rs"]
mod lookups;
#[path = "http/managed.rs"]
mod managed;
#[path = "http/played.rs"]
mod played;
