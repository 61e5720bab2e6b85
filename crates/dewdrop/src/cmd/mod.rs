//! The commands, one file or folder for each family.

pub mod access;
pub mod audit;
pub mod completion;
pub mod credential;
pub mod doctor;
mod exec_api;
pub mod guards;
pub mod kube;
pub mod kube_operator;
pub mod kv;
pub mod lease;
pub mod logical;
pub mod login;
pub mod mfa;
pub mod misc;
pub mod mounts;
pub mod namespace;
pub mod node;
pub mod operator;
pub mod policy;
pub mod proxy;
pub mod run;
pub mod status;
pub mod token;
pub mod webhook;
