//! What is seen from outside: the log, and the numbers of `sys/metrics`, and the spans of requests.

pub mod logs;
pub mod metrics;
mod process;
pub mod traces;

pub use logs::{LogError, LogHandle, init_logs, install_panic_hook};
pub use metrics::{Counter, Gauge, Registry, Samples, Timer};

#[cfg(test)]
mod tests;
