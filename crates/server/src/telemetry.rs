//! What is seen from outside: the log, the numbers of `sys/metrics`, and the spans of requests.

pub mod logs;
pub mod metrics;
mod process;
pub mod traces;

pub use logs::{LogError, LogHandle, init_logs, install_panic_hook};
pub use metrics::{Counter, Gauge, Registry, Samples, Timer};

/// What a server tells beside its numbers.
pub struct Telemetry {
    /// The log of the process, once there is one.
    pub logs: std::sync::OnceLock<LogHandle>,
    /// Where the spans of requests go, if anywhere.
    pub traces: Option<traces::Traces>,
}

#[cfg(test)]
mod tests;
