//! A watcher that does not answer, or not in time.

use std::sync::Arc;
use std::time::Duration;

use super::runtime::{guarded, plain};
use super::watcher::Recorder;
use super::{Scene, patient};
use crate::nri::model::{Container, Pod};
use crate::nri::run::Limits;
use crate::nri::worker::{Job, Stuck, Worker};

#[tokio::test]
async fn a_panic_refuses_what_is_guarded_and_nothing_else() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    let refused = runtime.tell("CreateContainer", &guarded("panics")).await.unwrap_err();
    assert_eq!(refused.message, "dewdrop: the node agent failed; see its log");
    runtime.tell("CreateContainer", &plain("panics")).await.unwrap();
    runtime.tell("PostStartContainer", &plain("panics")).await.unwrap();
    for noted in ["creating", "creating", "started"] {
        assert!(scene.notes.next().await.starts_with(noted));
    }
    runtime.tell("PostStartContainer", &plain("app")).await.unwrap();
    assert_eq!(scene.notes.next().await, "started app 42", "it goes on");
}

#[tokio::test]
async fn the_runtime_does_not_wait_for_a_watcher_that_is_stuck() {
    let mut scene = Scene::start(Limits { patience: Duration::from_millis(20), ..patient() });
    let mut runtime = scene.up().await;
    runtime.tell("PostStartContainer", &plain("blocks")).await.unwrap();
    assert_eq!(scene.notes.next().await, "started blocks 42");
    let refused = runtime.tell("CreateContainer", &guarded("app")).await.unwrap_err();
    assert_eq!(refused.message, "dewdrop: the node agent did not answer in time");
    runtime.tell("CreateContainer", &plain("app")).await.unwrap();
    runtime.tell("StopContainer", &plain("blocks")).await.unwrap();
    scene.gate.open();
    assert_eq!(scene.notes.next().await, "stopped blocks None", "decided on without it, so not asked about any more");
}

#[tokio::test]
async fn a_watcher_too_far_behind_ends_the_link() {
    let mut scene = Scene::start(Limits { patience: Duration::from_millis(1), ..patient() });
    let mut runtime = scene.up().await;
    runtime.tell("PostStartContainer", &plain("blocks")).await.unwrap();
    assert_eq!(scene.notes.next().await, "started blocks 42");
    for _ in 0..256 {
        runtime.tell("StopContainer", &plain("app")).await.unwrap();
    }
    let refused = runtime.tell("CreateContainer", &guarded("app")).await.unwrap_err();
    assert_eq!(refused.message, "dewdrop: the node agent is too far behind");
    let lost = runtime.call(
        crate::nri::wire::PLUGIN_SERVICE,
        "StopContainer",
        0,
        &prost::Message::encode_to_vec(&plain("app")),
    );
    runtime.write(&lost).await;
    runtime.closed().await;
    scene.gate.open();
    for _ in 0..256 {
        assert_eq!(scene.notes.next().await, "stopped app None");
    }
    scene.up().await;
}

#[tokio::test]
async fn nobody_is_told_twice_or_out_of_order() {
    let (recorder, mut notes, gate) = Recorder::new();
    let worker = Worker::start(Arc::new(recorder)).unwrap();
    let container = |name: &str| Container { name: name.into(), ..Container::default() };
    worker.leave(Job::Started(Pod::default(), container("blocks"))).unwrap();
    assert_eq!(notes.next().await, "started blocks 0");
    for n in 0..256 {
        worker.leave(Job::Started(Pod::default(), container(&n.to_string()))).unwrap();
    }
    assert_eq!(worker.leave(Job::PodGone(Pod::default())), Err(Stuck));
    gate.open();
    for n in 0..256 {
        assert_eq!(notes.next().await, format!("started {n} 0"));
    }
}
