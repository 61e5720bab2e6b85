use std::sync::{Arc, Mutex};

use super::*;
use crate::operator::kinds::Condition;
use crate::operator::plan::Plan;

/// What the server and the cluster hold, and how the server is.
#[derive(Default)]
struct World {
    roles: BTreeMap<String, Plan>,
    writes: u32,
    fails: Option<Fail>,
    access: Option<SecretAccess>,
}

#[derive(Clone, Default)]
struct Played(Arc<Mutex<World>>);

#[async_trait]
impl Server for Played {
    async fn write(&mut self, name: &str, plan: &Plan) -> Result<(), Fail> {
        let mut world = self.0.lock().unwrap();
        world.writes += 1;
        match world.fails.clone() {
            Some(fail) => Err(fail),
            None => {
                world.roles.insert(name.to_owned(), plan.clone());
                Ok(())
            }
        }
    }

    async fn remove(&mut self, name: &str) -> Result<(), Fail> {
        let mut world = self.0.lock().unwrap();
        match world.fails.clone() {
            Some(fail) => Err(fail),
            None => {
                world.roles.remove(name);
                Ok(())
            }
        }
    }

    async fn names(&mut self) -> Result<Vec<String>, Fail> {
        let world = self.0.lock().unwrap();
        match world.fails.clone() {
            Some(fail) => Err(fail),
            None => Ok(world.roles.keys().cloned().chain(["root".to_owned(), "shop".to_owned()]).collect()),
        }
    }
}

#[async_trait]
impl Objects for Played {
    async fn set_finalizers(&self, _: &SecretAccess, finalizers: &[String]) -> Result<(), LookUpError> {
        self.0.lock().unwrap().access.as_mut().unwrap().metadata.finalizers = finalizers.to_vec();
        Ok(())
    }

    async fn set_status(&self, _: &SecretAccess, status: &Status) -> Result<(), LookUpError> {
        self.0.lock().unwrap().access.as_mut().unwrap().status = status.clone();
        Ok(())
    }
}

/// A desk with one declaration, which is granted as long as `granted`.
struct Scene {
    world: Played,
    desk: Desk,
    granted: bool,
}

impl Scene {
    fn new() -> Self {
        let world = Played::default();
        let access = serde_json::from_value(json!({
            "metadata": { "name": "app", "namespace": "shop", "uid": "1", "generation": 3 },
            "spec": { "serviceAccountNames": ["web"], "containers": ["app"], "paths": [{ "path": "secret/data/a" }] },
        }));
        world.0.lock().unwrap().access = Some(access.unwrap());
        let house = House::new("k8s.", "dewdrop").unwrap();
        let desk = Desk::new(house, Box::new(world.clone()), Box::new(world.clone()));
        Self { world, desk, granted: true }
    }

    async fn look(&mut self, second: u64) {
        let access = self.world.0.lock().unwrap().access.clone().unwrap();
        let grant = json!({ "spec": { "namespaces": ["shop"], "paths": [{ "path": "secret/data/a" }] } });
        let grants: Vec<Grant> = if self.granted { vec![serde_json::from_value(grant).unwrap()] } else { Vec::new() };
        self.desk.see_to(&access, &grants, Moment(second * 1000)).await;
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.0.lock().unwrap());
    }

    /// Roles, writes, whether it is held, and the condition.
    fn seen(&self) -> (usize, u32, bool, Condition) {
        let world = self.world.0.lock().unwrap();
        let access = world.access.as_ref().unwrap();
        let condition = access.status.conditions.first().cloned().unwrap_or_default();
        (world.roles.len(), world.writes, is_held(access), condition)
    }
}

#[tokio::test]
async fn it_is_written_once_and_once_more_after_a_while() {
    let mut scene = Scene::new();
    for second in 0..5 {
        scene.look(second).await;
    }
    let (roles, writes, held, condition) = scene.seen();
    assert_eq!((roles, writes, held), (1, 1, true));
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "Written"));
    assert_eq!((condition.observed_generation, &*condition.last_transition_time), (3, "1970-01-01T00:00:00.000Z"));
    scene.look(601).await;
    assert_eq!(scene.seen().1, 2);
    assert_eq!(scene.seen().3, condition);
}

#[tokio::test]
async fn a_grant_that_is_withdrawn_takes_the_role_with_it() {
    let mut scene = Scene::new();
    scene.look(0).await;
    scene.granted = false;
    scene.look(1).await;
    let (roles, _, _, condition) = scene.seen();
    assert_eq!((roles, condition.status.as_str(), condition.reason.as_str()), (0, "False", "PathNotGranted"));
    assert!(condition.message.contains("no SecretAccessGrant lets namespace shop read there"));
    scene.granted = true;
    scene.look(2).await;
    assert_eq!((scene.seen().0, scene.seen().3.status.as_str()), (1, "True"));
}

/// Who may change a declaration may take its finalizer out as well: that must not save the role.
#[tokio::test]
async fn a_grant_that_is_withdrawn_takes_the_role_of_one_that_is_not_held_any_more() {
    let mut scene = Scene::new();
    scene.look(0).await;
    scene.change(|world| world.access.as_mut().unwrap().metadata.finalizers.clear());
    scene.granted = false;
    scene.look(1).await;
    assert_eq!((scene.seen().0, scene.seen().3.reason.as_str()), (0, "PathNotGranted"));
}

#[tokio::test]
async fn a_deletion_that_another_finalizer_holds_up_takes_the_role_at_once() {
    let mut scene = Scene::new();
    scene.look(0).await;
    scene.change(|world| {
        let metadata = &mut world.access.as_mut().unwrap().metadata;
        metadata.finalizers = vec!["team/keep".into()];
        metadata.deletion_timestamp = Some("now".into());
    });
    scene.look(1).await;
    assert_eq!(scene.seen().0, 0);
    let access = scene.world.0.lock().unwrap().access.clone().unwrap();
    assert_eq!(access.metadata.finalizers, ["team/keep"], "another's finalizer is his");
}

#[tokio::test]
async fn what_was_never_granted_is_never_written() {
    let mut scene = Scene::new();
    scene.granted = false;
    scene.look(0).await;
    assert_eq!((scene.seen().0, scene.seen().1, scene.seen().2), (0, 0, false));
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_again_more_and_more_rarely() {
    let mut scene = Scene::new();
    scene.change(|world| world.fails = Some(Fail::Away("connection refused".into())));
    for second in 0..120 {
        scene.look(second).await;
    }
    let (_, writes, _, condition) = scene.seen();
    assert_eq!(writes, 7, "at 0, 1, 3, 7, 15, 31 and 63 s");
    assert_eq!((condition.reason.as_str(), condition.status.as_str()), ("ServerUnreachable", "False"));
    scene.change(|world| world.fails = None);
    scene.look(200).await;
    assert_eq!((scene.seen().0, scene.seen().3.status.as_str()), (1, "True"));
}

#[tokio::test]
async fn a_refusal_of_the_server_is_told() {
    let mut scene = Scene::new();
    scene.change(|world| {
        world.fails = Some(Fail::Refused("status 403 to PUT sys/policies/acl/x: permission denied".into()))
    });
    scene.look(0).await;
    let condition = scene.seen().3;
    assert_eq!(condition.reason, "ServerRefused");
    assert!(condition.message.contains("status 403") && condition.message.contains("operator's role"));
}

#[tokio::test]
async fn a_deletion_waits_for_the_server() {
    let mut scene = Scene::new();
    scene.look(0).await;
    scene.change(|world| {
        world.fails = Some(Fail::Away("sealed".into()));
        world.access.as_mut().unwrap().metadata.deletion_timestamp = Some("now".into());
    });
    scene.look(1).await;
    assert_eq!((scene.seen().0, scene.seen().2), (1, true));
    scene.change(|world| world.fails = None);
    scene.look(3).await;
    assert_eq!((scene.seen().0, scene.seen().2), (0, false));
}

#[tokio::test]
async fn a_role_whose_finalizer_was_taken_out_by_hand_is_removed_and_no_other() {
    let mut scene = Scene::new();
    scene.look(0).await;
    scene.change(|world| {
        let plan = world.roles["k8s.shop.app"].clone();
        for name in ["k8s.shop.gone", "shop", "k8s-b.shop.app"] {
            world.roles.insert(name.to_owned(), plan.clone());
        }
    });
    let access = scene.world.0.lock().unwrap().access.clone().unwrap();
    scene.change(|world| world.fails = Some(Fail::Away("sealed".into())));
    scene.desk.sweep(std::slice::from_ref(&access), Moment(0)).await;
    scene.change(|world| world.fails = None);
    scene.desk.sweep(&[access], Moment(4000)).await;
    let left: Vec<String> = scene.world.0.lock().unwrap().roles.keys().cloned().collect();
    assert_eq!(left, ["k8s-b.shop.app", "k8s.shop.app", "shop"]);
}
