#![allow(missing_docs, unused_variables)]
use std::collections::BTreeMap;
use std::sync::Arc;
use dewdrop_core::policy::IdentityValues;
use dewdrop_core::{Fault, engine::{Place, Engine}, route::Routes};
pub struct Identities;
pub struct LoginIdentity { pub entity_id: String, pub disabled: bool }
pub struct EntityView { pub id: String, pub disabled: bool, pub policies: Vec<String> }
impl EntityView { pub fn template_values(&self) -> IdentityValues { IdentityValues::default() } }
impl Identities {
    pub fn open(_: Place) -> Arc<Self> { Arc::new(Self) }
    pub async fn on_login(&self, a: &str, p: &str, k: &str, n: &str, m: &BTreeMap<String,String>, g: &[String]) -> Result<LoginIdentity, Fault> { Ok(LoginIdentity{entity_id: String::new(), disabled: false}) }
    pub async fn view(&self, id: &str) -> Result<Option<Arc<EntityView>>, Fault> { Ok(None) }
    pub async fn remove_aliases_of(&self, a: &str) -> Result<(), Fault> { Ok(()) }
}
#[async_trait::async_trait]
impl Engine for Identities { fn routes() -> Routes<Self> { Routes::new("x") } }
