//! What the runtime calls, and what it is answered.

use super::runtime::{configuration, guarded, plain};
use super::{Scene, patient};
use crate::nri::ttrpc::code;
use crate::nri::wire::{
    About, ConfigureResponse, Container, CreateContainerResponse, PLUGIN_SERVICE, PodSandbox, StateChangeEvent,
    SynchronizeRequest, SynchronizeResponse,
};

#[tokio::test]
async fn registers_and_asks_for_its_events() {
    let scene = Scene::start(patient());
    let mut runtime = scene.accept().await;
    let registration = runtime.registration().await;
    assert_eq!((&*registration.plugin_name, &*registration.plugin_idx), ("dewdrop", "10"));
    let answer: ConfigureResponse = runtime.ask("Configure", &configuration()).await.unwrap();
    // Of the pod: stop 2, remove 3. Of the container: create 4, started 7, stop 10, remove 11. Bit n - 1 each.
    assert_eq!(answer.events, 2 + 4 + 8 + 64 + 512 + 1024);
    let policy = answer.failure_policy.unwrap();
    assert!(policy.fail_request && !policy.keep_connected);
}

#[tokio::test]
async fn a_list_in_parts_is_one_list() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.accept().await;
    runtime.registration().await;
    let _: ConfigureResponse = runtime.ask("Configure", &configuration()).await.unwrap();
    for (name, more) in [("a", true), ("b", true), ("c", false)] {
        let pods = vec![PodSandbox { name: format!("pod-{name}"), ..PodSandbox::default() }];
        let containers = vec![Container { name: name.into(), ..Container::default() }];
        let part = SynchronizeRequest { pods, containers, more };
        let answer: SynchronizeResponse = runtime.ask("Synchronize", &part).await.unwrap();
        assert_eq!(answer.more, more);
    }
    assert_eq!(scene.notes.next().await, r#"synchronize ["pod-a", "pod-b", "pod-c"] ["a", "b", "c"]"#);
    assert_eq!(scene.notes.next().await, "connected testrun 9.9 nri 0.12.5 2s");
}

#[tokio::test]
async fn a_container_is_let_be_adjusted_or_refused() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    let answer: CreateContainerResponse = runtime.ask("CreateContainer", &plain("app")).await.unwrap();
    assert_eq!(answer.adjust, None);
    assert_eq!(scene.notes.next().await, "creating Pod(ns/shop u1) Container(app id-app)");
    let answer: CreateContainerResponse = runtime.ask("CreateContainer", &plain("adjusted")).await.unwrap();
    let adjust = answer.adjust.unwrap();
    assert_eq!(adjust.args, ["", "/wrap"], "the empty one says that they are replaced");
    assert_eq!((&*adjust.mounts[0].destination, &*adjust.mounts[0].r#type), ("/d", "tmpfs"));
    assert_eq!((&*adjust.env[0].key, &*adjust.env[0].value), ("A", "1"));
    assert_eq!(adjust.annotations["k"], "v");
    let refused = runtime.tell("CreateContainer", &plain("refused")).await.unwrap_err();
    assert_eq!((refused.code, &*refused.message), (code::FAILED_PRECONDITION, "not yet"));
}

/// Each event, as runtimes tell it from 0.12 and before.
#[tokio::test]
async fn events_come_as_calls_and_as_state_changes() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    let ended = "stopped app Some(Ended { exit_code: 137, finished_at: 7 })";
    let events = [
        ("PostStartContainer", 7, "started app 42"),
        ("StopContainer", 10, ended),
        ("RemoveContainer", 11, ended),
        ("StopPodSandbox", 2, "gone shop"),
        ("RemovePodSandbox", 3, "gone shop"),
    ];
    for (method, event, noted) in events {
        let mut about = plain("app");
        let container = about.container.as_mut().unwrap();
        (container.exit_code, container.finished_at) = (137, 7);
        runtime.tell(method, &about).await.unwrap();
        assert_eq!(scene.notes.next().await, noted, "{method}");
        let change = StateChangeEvent { event, pod: about.pod, container: about.container };
        runtime.tell("StateChange", &change).await.unwrap();
        assert_eq!(scene.notes.next().await, noted, "state change {event}");
    }
}

#[tokio::test]
async fn what_is_not_for_us_is_answered_and_not_told() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    let About { pod, container } = plain("app");
    // Pods that begin, a refusal that could not be heard, and what comes in years.
    for event in [1, 4, 99, -1] {
        let change = StateChangeEvent { event, pod: pod.clone(), container: container.clone() };
        runtime.tell("StateChange", &change).await.unwrap();
    }
    for method in ["RunPodSandbox", "StartContainer", "UpdateContainer"] {
        runtime.tell(method, &plain("app")).await.unwrap();
    }
    let unknown = runtime.tell("Checkpoint", &plain("app")).await.unwrap_err();
    assert_eq!((unknown.code, &*unknown.message), (code::UNIMPLEMENTED, "method Checkpoint"));
    for (service, flags, expected) in
        [("other.Service", 0, code::UNIMPLEMENTED), (PLUGIN_SERVICE, 2, code::INVALID_ARGUMENT)]
    {
        let call = runtime.call(service, "StopContainer", flags, &[]);
        runtime.write(&call).await;
        assert_eq!(runtime.answer().await.1.unwrap_err().code, expected);
    }
    for lacking in [About::default(), About { pod, container: None }] {
        assert_eq!(runtime.tell("StopContainer", &lacking).await.unwrap_err().code, code::INVALID_ARGUMENT);
    }
    runtime.tell("PostStartContainer", &plain("last")).await.unwrap();
    assert_eq!(scene.notes.next().await, "started last 42", "the first that is told");
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_calls() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    let mut together = Vec::new();
    for name in ["blocks", "refused", "app"] {
        together.extend(runtime.call(
            PLUGIN_SERVICE,
            "CreateContainer",
            0,
            &prost::Message::encode_to_vec(&guarded(name)),
        ));
    }
    runtime.write(&together).await;
    assert_eq!(scene.notes.next().await, "creating Pod(ns/shop u1) Container(blocks id-blocks)");
    scene.gate.open();
    let streams = [runtime.answer().await, runtime.answer().await, runtime.answer().await];
    let streams = streams.map(|(stream, answer)| (stream, answer.is_ok()));
    assert_eq!(streams, [(5, true), (7, false), (9, true)]);
}
