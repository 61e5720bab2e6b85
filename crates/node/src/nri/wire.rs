//! The messages of ttrpc and of NRI (package `nri.pkg.api.v1alpha1`), as far as we read or send them: fields that are not
//! here are skipped. None has a `Debug` that shows fields: a container's environment may hold a secret.

use std::collections::HashMap;
use std::fmt;

/// The service that we serve.
pub const PLUGIN_SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";
/// The service that we call.
pub const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, prost::Message)]
        #[prost(skip_debug)]
        pub struct $name { $($(#[$attr])* pub $field: $type,)* }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

messages! {
    /// A call.
    Request {
        #[prost(string, tag = "1")]
        service: String,
        #[prost(string, tag = "2")]
        method: String,
        #[prost(bytes = "bytes", tag = "3")]
        payload: bytes::Bytes,
        #[prost(int64, tag = "4")]
        timeout_nano: i64,
    }
    /// The end of a call.
    Response {
        #[prost(message, optional, tag = "1")]
        status: Option<Status>,
        #[prost(bytes = "vec", tag = "2")]
        payload: Vec<u8>,
    }
    /// Why a call failed; code 0 is no failure.
    Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
    }
    RegisterPluginRequest {
        #[prost(string, tag = "1")]
        plugin_name: String,
        #[prost(string, tag = "2")]
        plugin_idx: String,
    }
    ConfigureRequest {
        #[prost(string, tag = "2")]
        runtime_name: String,
        #[prost(string, tag = "3")]
        runtime_version: String,
        /// Milliseconds, as the next.
        #[prost(int64, tag = "4")]
        registration_timeout: i64,
        #[prost(int64, tag = "5")]
        request_timeout: i64,
        #[prost(string, tag = "6")]
        nri_version: String,
    }
    ConfigureResponse {
        /// Bit `n - 1` for [`Event`] `n`.
        #[prost(int32, tag = "2")]
        events: i32,
        #[prost(message, optional, tag = "3")]
        failure_policy: Option<FailurePolicy>,
    }
    /// What the runtime does with a request that we did not answer in time; since NRI 0.12.5.
    FailurePolicy {
        #[prost(bool, tag = "1")]
        fail_request: bool,
        #[prost(bool, tag = "2")]
        keep_connected: bool,
    }
    SynchronizeRequest {
        #[prost(message, repeated, tag = "1")]
        pods: Vec<PodSandbox>,
        #[prost(message, repeated, tag = "2")]
        containers: Vec<Container>,
        #[prost(bool, tag = "3")]
        more: bool,
    }
    SynchronizeResponse {
        #[prost(bool, tag = "2")]
        more: bool,
    }
    /// The request of every call about a pod or a container.
    About {
        #[prost(message, optional, tag = "1")]
        pod: Option<PodSandbox>,
        #[prost(message, optional, tag = "2")]
        container: Option<Container>,
    }
    StateChangeEvent {
        #[prost(int32, tag = "1")]
        event: i32,
        #[prost(message, optional, tag = "2")]
        pod: Option<PodSandbox>,
        #[prost(message, optional, tag = "3")]
        container: Option<Container>,
    }
    CreateContainerResponse {
        #[prost(message, optional, tag = "1")]
        adjust: Option<ContainerAdjustment>,
    }
    ContainerAdjustment {
        #[prost(map = "string, string", tag = "2")]
        annotations: HashMap<String, String>,
        #[prost(message, repeated, tag = "3")]
        mounts: Vec<Mount>,
        #[prost(message, repeated, tag = "4")]
        env: Vec<KeyValue>,
        #[prost(string, repeated, tag = "9")]
        args: Vec<String>,
    }
    KeyValue {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(string, tag = "2")]
        value: String,
    }
    Mount {
        #[prost(string, tag = "1")]
        destination: String,
        #[prost(string, tag = "2")]
        r#type: String,
        #[prost(string, tag = "3")]
        source: String,
        #[prost(string, repeated, tag = "4")]
        options: Vec<String>,
    }
    PodSandbox {
        #[prost(string, tag = "1")]
        id: String,
        #[prost(string, tag = "2")]
        name: String,
        #[prost(string, tag = "3")]
        uid: String,
        #[prost(string, tag = "4")]
        namespace: String,
        #[prost(map = "string, string", tag = "5")]
        labels: HashMap<String, String>,
        #[prost(map = "string, string", tag = "6")]
        annotations: HashMap<String, String>,
        #[prost(string, tag = "7")]
        runtime_handler: String,
        #[prost(message, optional, tag = "8")]
        linux: Option<LinuxPodSandbox>,
        #[prost(uint32, tag = "9")]
        pid: u32,
    }
    LinuxPodSandbox {
        #[prost(string, tag = "3")]
        cgroup_parent: String,
    }
    Container {
        #[prost(string, tag = "1")]
        id: String,
        #[prost(string, tag = "2")]
        pod_sandbox_id: String,
        #[prost(string, tag = "3")]
        name: String,
        #[prost(int32, tag = "4")]
        state: i32,
        #[prost(map = "string, string", tag = "5")]
        labels: HashMap<String, String>,
        #[prost(map = "string, string", tag = "6")]
        annotations: HashMap<String, String>,
        #[prost(string, repeated, tag = "7")]
        args: Vec<String>,
        #[prost(string, repeated, tag = "8")]
        env: Vec<String>,
        #[prost(message, repeated, tag = "9")]
        mounts: Vec<Mount>,
        #[prost(message, optional, tag = "11")]
        linux: Option<LinuxContainer>,
        #[prost(uint32, tag = "12")]
        pid: u32,
        /// Nanoseconds since 1970; 0 is not known.
        #[prost(int64, tag = "16")]
        finished_at: i64,
        #[prost(int32, tag = "17")]
        exit_code: i32,
    }
    LinuxContainer {
        #[prost(string, tag = "5")]
        cgroups_path: String,
    }
}

impl Status {
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a plug-in can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    StopPodSandbox = 2,
    RemovePodSandbox = 3,
    CreateContainer = 4,
    PostStartContainer = 7,
    StopContainer = 10,
    RemoveContainer = 11,
}

impl Event {
    /// Those that we ask for.
    pub const WANTED: [Self; 6] = [
        Self::StopPodSandbox,
        Self::RemovePodSandbox,
        Self::CreateContainer,
        Self::PostStartContainer,
        Self::StopContainer,
        Self::RemoveContainer,
    ];

    pub fn of(number: i32) -> Option<Self> {
        Self::WANTED.into_iter().find(|event| *event as i32 == number)
    }

    pub fn mask() -> i32 {
        Self::WANTED.into_iter().fold(0, |mask, event| mask | 1 << (event as i32 - 1))
    }
}
