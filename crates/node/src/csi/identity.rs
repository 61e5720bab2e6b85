//! Who the driver is: for its users (csi.v1.Identity), and for kubelet, which looks for drivers (pluginregistration).

use std::path::PathBuf;
use std::sync::Arc;

use tonic::body::Body;
use tonic::codegen::http::Request;

use super::glue::{Answer, GrpcService, unary, unknown};
use super::wire::{BoolValue, Empty, GetPluginInfoResponse, PluginInfo, ProbeResponse, RegistrationStatus};
use super::{DRIVER, Publisher};

/// `csi.v1.Identity`.
pub struct Identity(pub Arc<dyn Publisher>);

impl GrpcService for Identity {
    const NAME: &'static str = "csi.v1.Identity";

    fn serve(self: Arc<Self>, method: &str, request: Request<Body>) -> Answer {
        match method {
            "GetPluginInfo" => unary(request, |_: Empty| async {
                let vendor_version = env!("CARGO_PKG_VERSION").to_owned();
                Ok(GetPluginInfoResponse { name: DRIVER.to_owned(), vendor_version })
            }),
            // No controller, no topology.
            "GetPluginCapabilities" => unary(request, |_: Empty| async { Ok(Empty {}) }),
            "Probe" => unary(request, move |_: Empty| async move {
                Ok(ProbeResponse { ready: Some(BoolValue { value: self.0.is_ready() }) })
            }),
            _ => unknown(),
        }
    }
}

/// `pluginregistration.Registration`, with the driver's socket.
pub struct Registration(pub PathBuf);

impl GrpcService for Registration {
    const NAME: &'static str = "pluginregistration.Registration";

    fn serve(self: Arc<Self>, method: &str, request: Request<Body>) -> Answer {
        match method {
            "GetInfo" => unary(request, move |_: Empty| async move {
                Ok(PluginInfo {
                    kind: "CSIPlugin".into(),
                    name: DRIVER.into(),
                    endpoint: self.0.display().to_string(),
                    supported_versions: vec!["1.0.0".into()],
                })
            }),
            "NotifyRegistrationStatus" => unary(request, |status: RegistrationStatus| async move {
                if status.plugin_registered {
                    tracing::info!("kubelet knows the driver");
                } else {
                    tracing::error!(why = %status.error, "kubelet refuses the driver");
                }
                Ok(Empty {})
            }),
            _ => unknown(),
        }
    }
}
