//! The webhook over TLS, with a played API server behind it: golden questions and answers, and every body that is none.

#[path = "http/bad_input.rs"]
mod bad_input;
#[path = "http/fake.rs"]
mod fake;
#[path = "http/golden.rs"]
mod golden;
#[path = "http/lookups.rs"]
mod lookups;
