//! Ring 1: the secrets engines. One file or folder each; `shared` is what several of them need.

pub mod access;
pub mod cubbyhole;
pub mod database;
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod kubernetes;
pub mod kv1;
pub mod kv2;
pub mod postgres;
mod shared;
