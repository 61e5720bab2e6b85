//! The files that the programs of a cluster are configured with.

use std::path::Path;

use serde_json::{Value, json};

use super::record::{Cluster, Node};
use super::{image, instance};

/// containerd: its CRI side and NRI. Everything below the node's folder, nothing below /run/containerd or /var.
pub fn containerd(cluster: &Cluster, node: &Node) -> String {
    let dir = node.dir().display();
    let (bin, socket, nri) = (cluster.bin.display(), node.containerd_sock.display(), node.nri_sock.display());
    let pause = image::PAUSE;
    format!(
        r#"version = 3
root = "{dir}/containerd"
state = "{dir}/run"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
  "io.containerd.internal.v1.opt"]

[grpc]
address = "{socket}"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{pause}"

[plugins.'io.containerd.cri.v1.runtime']
# Root without CAP_SYS_RESOURCE may not lower a score.
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{bin}"]
conf_dir = "{dir}/cni"
use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{bin}/runc"
Root = "{dir}/runc"
SystemdCgroup = false

[plugins.'io.containerd.shim.v1.manager']
socket_dir = "{dir}/s"

[plugins.'io.containerd.nri.v1.nri']
disable = false
socket_path = "{nri}"
plugin_path = "{dir}/nri/plugins"
plugin_config_path = "{dir}/nri/conf.d"
"#
    )
}

/// The network of a node's pods: a bridge that is their gateway. Nothing leaves the machine, so nothing is masqueraded.
pub fn cni(cluster: &Cluster, node: &Node) -> Value {
    // The first addresses are those of the nodes.
    let first = node.pods.replace(".0/24", ".16");
    json!({
        "cniVersion": "1.0.0",
        "name": network_name(cluster, node),
        "plugins": [{
            "type": "bridge",
            "bridge": instance::bridge(cluster.instance),
            "isGateway": true,
            // A pod may ask itself through its own Service.
            "hairpinMode": true,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": node.dir().join("leases"),
                "ranges": [[{ "subnet": node.pods, "rangeStart": first }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    })
}

/// Name of a node's network in CNI, which keeps a file for each pod under it, below /var.
pub fn network_name(cluster: &Cluster, node: &Node) -> String {
    let of = if cluster.instance == 0 { String::new() } else { format!("{}-", cluster.instance) };
    format!("dewdrop-{of}{}", node.name)
}

/// kubelet. JSON is YAML.
pub fn kubelet(cluster: &Cluster, node: &Node) -> Value {
    let pki = super::certs::folder(cluster);
    let dir = node.dir();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "port": cluster.ports.get(&format!("{}-kubelet", node.name)),
        "healthzPort": 0,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": cluster.ca },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki.join(format!("{}.pem", node.name)),
        "tlsPrivateKeyFile": pki.join(format!("{}-key.pem", node.name)),
        "containerRuntimeEndpoint": format!("unix://{}", node.containerd_sock.display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}/{}", cluster.cgroup, node.name),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "podLogsDir": dir.join("pod-logs"),
        "volumePluginDir": dir.join("volume-plugins"),
        "resolvConf": "/etc/resolv.conf",
        // A test machine's disk may be nearly full; the images came by hand and would be gone for good.
        "evictionHard": { "memory.available": "10Mi", "nodefs.available": "1Mi", "imagefs.available": "1Mi" },
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",
        "runtimeRequestTimeout": "30s",
        "serializeImagePulls": false,
        "registerNode": true,
    })
}

/// kube-proxy, by nftables: the addresses of Services work, as in any cluster.
pub fn proxy(cluster: &Cluster, node: &Node, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": format!("{}.0.0/16", instance::net(cluster.instance)),
        "healthzBindAddress": format!("{}:10256", node.address),
        "metricsBindAddress": format!("{}:10249", node.address),
        // Pods of one bridge would answer each other past the host, which alone can translate back.
        "nftables": { "masqueradeAll": true, "masqueradeBit": 14, "syncPeriod": "10s", "minSyncPeriod": "100ms" },
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
}

/// The way in for the holder of the certificate `who`.
pub fn kubeconfig(cluster: &Cluster, who: &str) -> Value {
    let pki = super::certs::folder(cluster);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dewdrop",
        "clusters": [{ "name": "dewdrop", "cluster": {
            "server": cluster.server,
            "certificate-authority": cluster.ca,
        }}],
        "users": [{ "name": who, "user": {
            "client-certificate": pki.join(format!("{who}.pem")),
            "client-key": pki.join(format!("{who}-key.pem")),
        }}],
        "contexts": [{ "name": "dewdrop", "context": { "cluster": "dewdrop", "user": who } }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Cluster {
        let mut cluster = Cluster::plan(0, Path::new("/run/x"), Path::new("/cache/bin"), 2).expect("plan");
        cluster.ports.insert("n1-kubelet".to_owned(), 10250);
        cluster
    }

    #[test]
    fn the_runtimes_paths_are_absolute_and_below_its_node() {
        let cluster = two();
        let node = cluster.node("n2").expect("node");
        let text = containerd(&cluster, node);
        let all = text.split('"').filter(|part| part.starts_with("/run/") || part.starts_with("/var/"));
        let mut seen = 0;
        for path in all {
            assert!(path.starts_with("/run/x/n2/"), "{path}");
            seen += 1;
        }
        assert!(seen >= 8, "{text}");
        assert!(text.contains("BinaryName = \"/cache/bin/runc\""));
    }

    #[test]
    fn pods_never_get_the_address_of_a_node() {
        let cluster = two();
        let conf = cni(&cluster, cluster.node("n1").expect("node"));
        assert_eq!(conf.pointer("/plugins/0/ipam/ranges/0/0/rangeStart"), Some(&json!("10.244.0.16")));
        assert_eq!(conf.pointer("/plugins/0/ipMasq"), Some(&json!(false)));
    }

    #[test]
    fn kubelets_have_their_own_groups_and_sockets() {
        let cluster = two();
        let [first, second] = [0, 1].map(|n| kubelet(&cluster, cluster.nodes.get(n).expect("node")));
        for field in ["cgroupRoot", "containerRuntimeEndpoint", "address", "podLogsDir", "tlsCertFile"] {
            assert!(first.get(field).is_some(), "{field}");
            assert_ne!(first.get(field), second.get(field), "{field}");
        }
        assert_eq!(first.get("port"), Some(&json!(10250)));
        assert_eq!(first.get("failCgroupV1"), Some(&json!(false)));
    }

    #[test]
    fn a_kubeconfig_names_files_and_holds_no_key() {
        let text = kubeconfig(&two(), "admin").to_string();
        assert!(text.contains("/run/x/pki/admin-key.pem"));
        assert!(!text.contains("PRIVATE"));
    }
}
