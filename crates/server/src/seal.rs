//! The life of the seal: initializing, unsealing, sealing; and the paths that are served while there is no vault.

pub mod backup;
pub mod ceremonies;
mod gate;
pub mod generate_root;
mod init;
pub mod pgp;
pub mod rekey;
mod status;
mod unseal;

use dewdrop_core::Fault;
use dewdrop_core::store::{Store, get_json};
use dewdrop_store::BarrierError;
use serde::{Deserialize, Serialize};

pub use gate::{Gate, gate, parse_share};
pub(crate) use gate::{keys_json, plain};
pub use init::{Eyes, InitAsk, initialize};
pub use status::VERSION;
pub use unseal::{Ceremonies, Given, Shares, auto_unseal, open_again, open_vault, unseal_with};

const CONFIG: &[u8] = b"seal/config";

/// How the root key is shared out. Kept below the barrier, since it is needed to open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealConfig {
    /// `shamir`, or the kind of the automatic seal.
    pub kind: String,
    /// Shares there are: unseal keys, or recovery keys with an automatic seal.
    pub shares: u8,
    /// Shares that are needed.
    pub threshold: u8,
    /// Names this cluster.
    pub cluster_name: String,
    /// Names this cluster.
    pub cluster_id: String,
}

impl SealConfig {
    /// Reads it; `None` before initialization.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(below: &dyn Store) -> Result<Option<Self>, Fault> {
        Ok(get_json(below, CONFIG).await?.map(|(config, _)| config))
    }

    /// How many shares there are, and how many are needed.
    #[must_use]
    pub fn split(&self) -> InitAsk {
        InitAsk { shares: self.shares, threshold: self.threshold }
    }

    /// Whether people hold the unseal keys.
    #[must_use]
    pub fn is_shamir(&self) -> bool {
        self.kind == "shamir"
    }
}

/// A failure of the barrier, as the API says it.
#[must_use]
pub fn barrier_fault(error: BarrierError) -> Fault {
    match error {
        BarrierError::NotInitialized => Fault::bad_request("Vault is not initialized"),
        BarrierError::AlreadyInitialized => Fault::bad_request("Vault is already initialized"),
        BarrierError::WrongKey => Fault::bad_request("unseal failed, invalid key"),
        BarrierError::Key(error) => Fault::internal(error.to_string()),
        BarrierError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests;
