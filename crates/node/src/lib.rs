//! The node agent: one program on each node that gives every container its own credentials and takes them back when it
//! ends (docs/decisions/0016). CSI is the anchor that nothing starts without; NRI says when a container starts and ends.

mod agent;
mod api_watch;
mod check;
mod csi;
mod env;
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
pub mod nri;
mod pidfd;
mod run;
mod settings;
mod spec;
mod volume;

pub use agent::vault::SignIn;
pub use api_watch::KubeSettings;
pub use check::check;
pub use run::{RunError, run};
pub use settings::Settings;
