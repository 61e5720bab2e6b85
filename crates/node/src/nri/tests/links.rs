//! Links that come and go.

use std::sync::Arc;
use std::time::Duration;

use super::runtime::plain;
use super::watcher::Recorder;
use super::{Scene, patient};
use crate::nri::run::{Limits, NriSettings, SettingsError};
use crate::nri::wire::Status;

#[tokio::test]
async fn a_lost_link_is_made_anew_with_all_that_runs() {
    let mut scene = Scene::start(patient());
    for _ in 0..3 {
        let mut runtime = scene.up().await;
        runtime.tell("PostStartContainer", &plain("app")).await.unwrap();
        assert_eq!(scene.notes.next().await, "started app 42");
        drop(runtime);
        assert_eq!(scene.notes.next().await, "lost the runtime closed the link");
    }
}

#[tokio::test]
async fn a_runtime_that_is_not_there_is_waited_for() {
    let mut scene = Scene::without_socket(patient());
    let lost = scene.notes.next().await;
    let expected = format!("lost connect to the runtime's NRI socket {}: No such file", scene.socket.display());
    assert!(lost.starts_with(&expected), "{lost}");
    scene.listen();
    drop(scene.up().await);
    // Another start of the runtime makes another socket in the same place.
    scene.listen();
    scene.up().await;
}

#[tokio::test]
async fn a_refusal_is_told_in_the_runtimes_words() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.accept().await;
    runtime.registration_with(Status::new(3, "there is a 10-dewdrop")).await;
    runtime.closed().await;
    let lost = scene.notes.next().await;
    assert_eq!(lost, "lost the runtime refused the plug-in 10-dewdrop: there is a 10-dewdrop");
    scene.up().await;
}

#[tokio::test]
async fn a_runtime_that_ends_says_so() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    runtime.tell("Shutdown", &Status::default()).await.unwrap();
    runtime.closed().await;
    assert_eq!(scene.notes.next().await, "lost the runtime shuts down");
    scene.up().await;
}

#[tokio::test]
async fn a_runtime_that_says_nothing_is_left() {
    let mut scene = Scene::start(Limits { silence: Duration::from_millis(5), ..patient() });
    let mut runtime = scene.accept().await;
    runtime.closed().await;
    assert_eq!(scene.notes.next().await, "lost the runtime was silent for 5ms");
}

#[tokio::test]
async fn names_that_no_runtime_takes_are_refused_at_once() {
    for (name, index) in
        [("", "10"), ("a b", "10"), ("a/b", "10"), ("dewdrop", "1"), ("dewdrop", "100"), ("dewdrop", "1a")]
    {
        let settings = NriSettings::new("/nowhere", name, index);
        let refused = crate::nri::run(settings, Arc::new(Recorder::new().0), std::future::pending()).await;
        assert!(matches!(refused, Err(SettingsError::Name(_) | SettingsError::Index(_))), "{name:?} {index:?}");
    }
}
