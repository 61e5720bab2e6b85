//! Taking a credential back: what was made for its lease goes, and the token with it.

use dewdrop_core::Fault;
use dewdrop_core::engine::Credential;
use serde::Deserialize as _;

use super::objects::Objects;
use super::shared::Shared;
use super::target::Gone;

pub(super) async fn revoke(engine: &Shared, credential: &Credential) -> Result<(), Fault> {
    let objects = Objects::deserialize(&credential.internal)
        .map_err(|e| Fault::internal(format!("lease {} holds no objects: {e}", credential.lease_id)))?;
    if objects.kinds.is_empty() {
        // A token that is bound to nothing: it ends by its own time.
        return Ok(());
    }
    let target = engine.target_of_lease(&objects.cluster).await?;
    let known = engine.known(&objects);
    let mut missing = None;
    // Backwards: the token dies first.
    for kind in objects.kinds.iter().rev() {
        let whose = |uid: &str, mark: Option<&str>| known.whose(&objects, *kind, uid, mark);
        match target.take_away(&objects.path(*kind), whose).await {
            Ok(Gone::Before) if !known.uids.contains_key(kind) => missing = Some(kind),
            Ok(_) => {}
            Err(why) => return Err(Fault::target(format!("take away {kind:?} {}: {why}", objects.name))),
        }
    }
    match missing.filter(|_| !known.is_over && engine.is_recent(credential.issued)) {
        Some(kind) => Err(Fault::unavailable(format!(
            "{kind:?} {} is not there, but its making may still be under way",
            objects.name
        ))),
        None => Ok(()),
    }
}
