//! `config`.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, Store, get_json};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Cert;
use super::role::ocsp_not_built;
use super::wire::ConfigRequest;
use crate::token_params::set;

const KEY: &[u8] = b"config";

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// A renewal does not ask for the certificate of the login.
    pub is_unbound: bool,
    /// Metadata of tokens is also that of the alias.
    pub is_alias_told: bool,
}

/// `config`.
pub fn routes() -> Routes<Cert> {
    Routes::new("").at("config", "What holds for all roles.", |route| {
        route.read("Reads the configuration.", Cert::read_config).write("Changes it.", Cert::write_config)
    })
}

/// The configuration as it is kept.
pub async fn read(store: &dyn Store) -> Result<Config, Fault> {
    Ok(get_json(store, KEY).await?.map(|(config, _)| config).unwrap_or_default())
}

impl Cert {
    async fn read_config(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let config = read(&*self.place.store).await?;
        Reply::of(&json!({
            "disable_binding": config.is_unbound,
            "enable_identity_alias_metadata": config.is_alias_told,
            "ocsp_cache_size": 0,
        }))
    }

    async fn write_config(self: Arc<Self>, _: Call, ask: ConfigRequest) -> Result<Reply, Fault> {
        if ask.ocsp_cache_size.is_some_and(|size| size.0 != 0) {
            return Err(ocsp_not_built());
        }
        let _rewriting = self.rewriting().await;
        let mut config = read(&*self.place.store).await?;
        set(&mut config.is_unbound, ask.disable_binding.map(|flag| flag.0));
        set(&mut config.is_alias_told, ask.enable_identity_alias_metadata.map(|flag| flag.0));
        self.place.store.commit(Batch::new().put_json(KEY, &config)?).await?;
        Ok(Reply::nothing())
    }
}
