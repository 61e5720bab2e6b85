//! What a runtime must not send: the link ends, it is said why, and there is another one.

use super::runtime::{configuration, frame, message};
use super::{Scene, patient};
use crate::nri::wire::{ConfigureResponse, PLUGIN_SERVICE};

async fn ends_with(bad: &[u8], expected: &str) {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.up().await;
    runtime.write(bad).await;
    runtime.closed().await;
    let lost = scene.notes.next().await;
    assert!(lost.contains(expected), "{lost}");
    scene.up().await;
}

#[tokio::test]
async fn frames_that_are_none() {
    ends_with(&frame(0, b"x"), "not NRI: a frame for connection 0").await;
    ends_with(&frame(3, b"x"), "a frame for connection 3, which there is not").await;
    ends_with(&frame(u32::MAX, b""), "a frame for connection 4294967295").await;
    ends_with(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], "a frame of 4294967295 bytes, more than the 4194314").await;
}

#[tokio::test]
async fn messages_that_are_none() {
    let header = |length: u32, stream: u32, kind| {
        let header = [&length.to_be_bytes()[..], &stream.to_be_bytes(), &[kind, 0]].concat();
        frame(1, &header)
    };
    ends_with(&header(5 << 20, 7, 1), "a message of 5242880 bytes, more than the 4194304").await;
    ends_with(&header(10, 7, 2), "a message of type 2 on the connection of the Plugin service").await;
    ends_with(&header(10, 7, 3), "a message of type 3").await;
    ends_with(&header(10, 8, 1), "the number 8, which is even").await;
    ends_with(&message(2, 3, 1, 0, b""), "a message of type 1 on the connection of the Runtime service").await;
    ends_with(&message(2, 3, 2, 0, b""), "answered a call that was not made").await;
    ends_with(&message(2, 1, 2, 0, b""), "answered a call that was not made").await;
}

#[tokio::test]
async fn contents_that_cannot_be_read() {
    ends_with(&message(1, 7, 1, 0, b"\xff\xff"), "sent a call that cannot be read").await;
    for method in ["Configure", "Synchronize", "CreateContainer", "StopContainer", "StateChange"] {
        let mut scene = Scene::start(patient());
        let mut runtime = scene.up().await;
        let call = runtime.call(PLUGIN_SERVICE, method, 0, b"\x0a\xff\xff\xff\xff\x0f");
        runtime.write(&call).await;
        runtime.closed().await;
        let lost = scene.notes.next().await;
        assert!(lost.contains(&format!("sent a {method} that cannot be read: ")), "{lost}");
    }
}

#[tokio::test]
async fn an_end_within_a_message() {
    for cut in [1, 8, 9, 20] {
        let mut scene = Scene::start(patient());
        let mut runtime = scene.up().await;
        runtime.write(&message(1, 7, 1, 0, &[0; 30])[..cut]).await;
        drop(runtime);
        let lost = scene.notes.next().await;
        assert_eq!(lost, "lost the runtime sent what is not NRI: the end within a message", "after {cut} bytes");
    }
}

#[tokio::test]
async fn calls_out_of_order() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.accept().await;
    runtime.registration().await;
    let early = runtime.tell("Synchronize", &ConfigureResponse::default()).await.unwrap_err();
    assert_eq!(early.message, "Synchronize before Configure");
    drop(runtime);
    assert_eq!(scene.notes.next().await, "lost the runtime closed the link");
    drop(scene.accept().await);
    let lost = scene.notes.next().await;
    assert!(lost.starts_with("lost the runtime closed the link before it answered the registration"), "{lost}");
}

#[tokio::test]
async fn a_list_without_end_is_not_kept() {
    let mut scene = Scene::start(patient());
    let mut runtime = scene.accept().await;
    runtime.registration().await;
    let _: ConfigureResponse = runtime.ask("Configure", &configuration()).await.unwrap();
    // `more`, and a field that nobody reads.
    let mut part = vec![0x18, 1, 0x7a, 0x80, 0x80, 0xc0, 1];
    part.resize(part.len() + (3 << 20), b'x');
    for _ in 0..21 {
        let call = runtime.call(PLUGIN_SERVICE, "Synchronize", 0, &part);
        runtime.write(&call).await;
        runtime.answer().await.1.unwrap();
    }
    let call = runtime.call(PLUGIN_SERVICE, "Synchronize", 0, &part);
    runtime.write(&call).await;
    runtime.closed().await;
    assert_eq!(scene.notes.next().await, "lost the runtime told of more containers than a node can have");
}
