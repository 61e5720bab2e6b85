//! Ring 0: the rules of Dewdrop and the joints between its rooms. Nothing here knows a socket, a disk or the time of day.

pub mod access;
pub mod call;
pub mod clock;
pub mod engine;
pub mod fault;
#[doc(hidden)]
pub mod fuzzing;
pub mod lease;
pub mod mount;
pub mod op;
pub mod password;
pub mod policy;
pub mod route;
pub mod secret;
pub mod selector;
pub mod shamir;
pub mod store;
pub mod token;
pub mod wire;

pub use clock::{Clock, FakeClock, Moment, SystemClock};
pub use fault::{Fault, Kind};
pub use op::Operation;
pub use secret::Secret;
