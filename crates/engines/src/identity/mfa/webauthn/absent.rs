//! In the place of the protocol where it is not built in.

use std::time::Duration;

use dewdrop_core::Fault;
use serde_json::Value;

use super::party::Party;

pub struct Pending;
pub struct Asked;

pub struct Person<'a> {
    pub id: &'a str,
    pub name: &'a str,
}

pub fn begin_registration(_: &Party, who: &Person<'_>, _: &[&Value], _: Duration) -> Result<(Value, Pending), Fault> {
    let _ = (who.id, who.name);
    Err(not_built())
}

pub fn finish_registration(_: &Party, _: &Pending, _: &Value) -> Result<Value, Fault> {
    Err(not_built())
}

pub fn begin_authentication(_: &Party, _: &[&Value], _: Duration) -> Result<(Value, Asked), Fault> {
    Err(not_built())
}

pub fn named_by(_: &Value) -> Option<String> {
    None
}

pub fn finish_authentication(_: &Party, _: &Asked, _: &Value, _: &Value) -> Result<Value, &'static str> {
    Err("passkeys are not built into this program")
}

pub fn id_of(_: &Value) -> Result<String, Fault> {
    Err(not_built())
}

fn not_built() -> Fault {
    Fault::not_built("unsupported: this program was built without passkeys (feature `webauthn`)")
}
