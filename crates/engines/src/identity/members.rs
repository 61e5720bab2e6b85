//! Members of groups: entities as rows, groups within the record. Both are checked before anything changes.

use std::collections::BTreeSet;

use dewdrop_core::Fault;
use dewdrop_core::store::Batch;

use super::model::Group;
use super::{Identities, keys};

/// Changes of members that go into one commit; an etcd transaction holds about 120 changes.
const CHUNK: usize = 24;

impl Identities {
    /// What makes just `wanted` the member entities of a group, in batches that fit a transaction. The first goes with the
    /// group's own record; the rest, of large groups, follow and may be repeated.
    pub(super) async fn member_changes(&self, group: &str, wanted: &[String]) -> Result<Vec<Batch>, Fault> {
        let held: BTreeSet<String> = self.ends_below(&keys::member_of(group, "")).await?.into_iter().collect();
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        let mut changes = Vec::new();
        for id in wanted.difference(&held) {
            let key = keys::entity(id);
            match self.revision(&key).await? {
                0 => return Err(Fault::bad_request("member_entity_ids holds what is no entity ID")),
                revision => changes.push((id, Some((key, revision)))),
            }
        }
        changes.extend(held.difference(&wanted).map(|id| (id, None)));
        let batches = changes.chunks(CHUNK).map(|chunk| {
            chunk.iter().fold(Batch::new(), |batch, (id, added)| {
                let (one, two) = (keys::group_of(id, group), keys::member_of(group, id));
                let batch = match added {
                    Some((key, revision)) => batch.put(one, "").put(two, "").expect(key.clone(), *revision),
                    None => batch.delete(one).delete(two),
                };
                batch.put(keys::memberships(id), "")
            })
        });
        Ok(batches.collect())
    }

    /// Changes the member groups of a group in `batch`. A group cannot be a member of itself, nor of its own members.
    pub(super) async fn change_member_groups(
        &self,
        group: &mut Group,
        wanted: &[String],
        mut batch: Batch,
    ) -> Result<Batch, Fault> {
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        let held: BTreeSet<String> = group.member_groups.iter().cloned().collect();
        if wanted == held {
            return Ok(batch);
        }
        batch = batch.expect(keys::GRAPH, self.revision(keys::GRAPH).await?).put(keys::GRAPH, "");
        for id in wanted.difference(&held) {
            if *id == group.id {
                return Err(Fault::bad_request("a member group ID is same as the ID of the group"));
            }
            let revision = self.revision(&keys::group(id)).await?;
            if revision == 0 {
                return Err(Fault::bad_request("member_group_ids holds what is no group ID: invalid member group ID"));
            }
            if self.is_below(id, &group.id).await? {
                return Err(Fault::bad_request("cyclic relationship detected for a member group ID"));
            }
            batch = batch.expect(keys::group(id), revision).put(keys::parent_of(id, &group.id), "");
        }
        for id in held.difference(&wanted) {
            batch = batch.delete(keys::parent_of(id, &group.id));
        }
        group.member_groups = wanted.into_iter().collect();
        Ok(batch)
    }

    /// Whether `sought` is a member of `top`, directly or through other groups.
    async fn is_below(&self, top: &str, sought: &str) -> Result<bool, Fault> {
        let mut seen = BTreeSet::new();
        let mut open = vec![top.to_owned()];
        while let Some(id) = open.pop() {
            let Some((group, _)) = self.get::<Group>(&keys::group(&id)).await? else { continue };
            for member in group.member_groups {
                if member == sought {
                    return Ok(true);
                }
                if seen.insert(member.clone()) {
                    open.push(member);
                }
            }
        }
        Ok(false)
    }
}
