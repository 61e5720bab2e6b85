//! The runtime's side, by hand: it shares the messages with ours, but neither frames nor their reading.

use std::collections::HashMap;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::nri::wire::{
    About, ConfigureRequest, Container, Mount, PLUGIN_SERVICE, PodSandbox, RegisterPluginRequest, Request, Response,
    Status,
};

const PLUGIN: u32 = 1;
const RUNTIME: u32 = 2;

pub struct Runtime {
    stream: UnixStream,
    last: u32,
    unread: HashMap<u32, Vec<u8>>,
}

impl Runtime {
    pub fn over(stream: UnixStream) -> Self {
        Self { stream, last: 0, unread: HashMap::new() }
    }

    /// Takes the registration and says yes.
    pub async fn registration(&mut self) -> RegisterPluginRequest {
        self.registration_with(Status::default()).await
    }

    pub async fn registration_with(&mut self, status: Status) -> RegisterPluginRequest {
        let (stream, kind, body) = self.message(RUNTIME).await;
        assert_eq!((stream, kind), (1, 1));
        let request = Request::decode(&*body).unwrap();
        assert_eq!((&*request.service, &*request.method), ("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin"));
        let response = Response { status: Some(status), payload: Vec::new() };
        self.write(&message(RUNTIME, 1, 2, 0, &response.encode_to_vec())).await;
        RegisterPluginRequest::decode(request.payload).unwrap()
    }

    /// Calls, and waits for the answer.
    pub async fn ask<R: Message + Default>(&mut self, method: &str, request: &impl Message) -> Result<R, Status> {
        let bytes = self.call(PLUGIN_SERVICE, method, 0, &request.encode_to_vec());
        self.write(&bytes).await;
        let (stream, answer) = self.answer().await;
        assert_eq!(stream, self.last, "the answer to another call");
        answer.map(|payload| R::decode(&*payload).unwrap())
    }

    /// A call whose answer has no content.
    pub async fn tell(&mut self, method: &str, request: &impl Message) -> Result<(), Status> {
        self.ask::<About>(method, request).await.map(|answer| assert_eq!(answer, About::default()))
    }

    /// The bytes of the next call.
    pub fn call(&mut self, service: &str, method: &str, flags: u8, payload: &[u8]) -> Vec<u8> {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        let payload = payload.to_vec().into();
        let request = Request { service: service.into(), method: method.into(), payload, timeout_nano: 2_000_000_000 };
        message(PLUGIN, self.last, 1, flags, &request.encode_to_vec())
    }

    pub async fn answer(&mut self) -> (u32, Result<Vec<u8>, Status>) {
        let (stream, kind, body) = self.message(PLUGIN).await;
        assert_eq!(kind, 2);
        let response = Response::decode(&*body).unwrap();
        let status = response.status.expect("old clients want one");
        (stream, if status.code == 0 { Ok(response.payload) } else { Err(status) })
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until the plug-in has closed the link.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // Bytes that it did not read make it a reset.
        let _ = self.stream.read_to_end(&mut rest).await;
    }

    async fn message(&mut self, lane: u32) -> (u32, u8, Vec<u8>) {
        loop {
            let unread = self.unread.entry(lane).or_default();
            if unread.len() >= 10 {
                let length = u32::from_be_bytes(unread[..4].try_into().unwrap()) as usize;
                if unread.len() >= 10 + length {
                    let rest = unread.split_off(10 + length);
                    let whole = std::mem::replace(unread, rest);
                    return (u32::from_be_bytes(whole[4..8].try_into().unwrap()), whole[8], whole[10..].to_vec());
                }
            }
            let (from, length) = (self.stream.read_u32().await.unwrap(), self.stream.read_u32().await.unwrap());
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            self.unread.entry(from).or_default().extend(payload);
        }
    }
}

/// A frame of any content.
pub fn frame(lane: u32, payload: &[u8]) -> Vec<u8> {
    [&lane.to_be_bytes()[..], &(payload.len() as u32).to_be_bytes(), payload].concat()
}

/// A message in one frame.
pub fn message(lane: u32, stream: u32, kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let header = [&(body.len() as u32).to_be_bytes()[..], &stream.to_be_bytes(), &[kind, flags]].concat();
    frame(lane, &[&header, body].concat())
}

pub fn configuration() -> ConfigureRequest {
    ConfigureRequest {
        runtime_name: "testrun".into(),
        runtime_version: "9.9".into(),
        registration_timeout: 5000,
        request_timeout: 2000,
        nri_version: "0.12.5".into(),
    }
}

/// A container that mounts a CSI volume.
pub fn guarded(name: &str) -> About {
    let source = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount".into();
    let mount = Mount { destination: "/v".into(), r#type: "bind".into(), source, options: vec![] };
    let mut about = plain(name);
    about.container.as_mut().unwrap().mounts.push(mount);
    about
}

pub fn plain(name: &str) -> About {
    let pod = PodSandbox { name: "shop".into(), namespace: "ns".into(), uid: "u1".into(), ..PodSandbox::default() };
    let container = Container { name: name.into(), id: format!("id-{name}"), pid: 42, ..Container::default() };
    About { pod: Some(pod), container: Some(container) }
}
