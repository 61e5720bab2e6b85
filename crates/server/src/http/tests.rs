//! Real sockets and a toy handler.

mod limits;
mod peers;
mod protocol;
mod rig;
mod targets;
mod tls;
