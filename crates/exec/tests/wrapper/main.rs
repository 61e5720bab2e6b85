//! The wrapper as a process, with an agent that is played.

mod agent;
mod signals;
mod simple;
mod waiting;
