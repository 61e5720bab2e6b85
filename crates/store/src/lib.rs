//! Where Dewdrop keeps its bytes: an embedded file ([`Redb`]), an etcd cluster (`Etcd`, feature `etcd`) or memory
//! ([`Memory`]), and the two layers above them: the encrypting [`Barrier`] and the [`Slice`] of one mount.
//!
//! All of them are the same joint, [`dewdrop_core::store::Store`], and pass the same contract suite
//! (`dewdrop-testkit`, `store_contract`).

mod barrier;
mod check;
#[cfg(feature = "etcd")]
mod etcd;
#[doc(hidden)]
pub mod fuzzing;
mod holds;
mod hub;
mod locked;
mod memory;
mod range;
mod redb;
mod seal;
mod slice;
mod snapshot;

pub use barrier::{Barrier, BarrierError, KeyStatus, Rotation};
pub use check::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdConfig, EtcdTls};
pub use locked::{KEY_BYTES, LockedError, LockedKey, harden_process};
pub use memory::Memory;
pub use redb::{OpenError, Redb, RedbOptions};
pub use seal::{KeySeal, Seal, SealError, WrappedKey, WrappedKeys, parse_static_key};
pub use slice::Slice;
pub use snapshot::{SnapshotError, SnapshotInfo, SnapshotStore, snapshot_value, verify_snapshot};

#[cfg(test)]
mod tests;
