//! Container images by hand: no registry, no builder. An OCI archive of one layer, which `ctr images import` takes.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::tar::{Kind, Tar};

/// The image that holds each pod's namespaces.
pub const PAUSE: &str = "dewdrop.test/pause:1";
/// A shell and the usual small programs, from Debian's static busybox.
pub const BUSYBOX: &str = "dewdrop.test/busybox:1";

/// A file of an image; its folders are made as needed.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where, without the leading slash.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// What.
    pub what: What,
}

/// What an entry of an image is.
#[derive(Debug, Clone)]
pub enum What {
    /// A file with its content.
    File(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// An empty folder.
    Folder,
}

impl Entry {
    /// A program.
    pub fn program(path: &str, content: Vec<u8>) -> Self {
        Self { path: path.to_owned(), mode: 0o755, what: What::File(content) }
    }

    /// A file that all may read.
    pub fn file(path: &str, content: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o644, what: What::File(content.as_bytes().to_vec()) }
    }

    /// A folder.
    pub fn folder(path: &str, mode: u32) -> Self {
        Self { path: path.to_owned(), mode, what: What::Folder }
    }

    /// A symbolic link.
    pub fn link(path: &str, leads: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o777, what: What::Link(leads.to_owned()) }
    }
}

/// An image: its files, and what runs in it.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Name with tag. Not `latest`, or kubelet would want to pull it.
    pub name: String,
    /// In the order of the layer.
    pub entries: Vec<Entry>,
    /// ENTRYPOINT; may be empty.
    pub entrypoint: Vec<String>,
    /// CMD; may be empty.
    pub cmd: Vec<String>,
    /// `uid`, `uid:gid` or a name; empty for root.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
}

impl Image {
    /// The OCI archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let config = serde_json::to_vec(&self.config(&digest(&layer)))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
        }))?;
        let mut of_manifest = describe(MANIFEST, &manifest);
        let named = of_manifest.as_object_mut().context("a description is an object")?;
        named.insert("annotations".to_owned(), json!({ "io.containerd.image.name": self.name }));
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [of_manifest] });
        let mut tar = Tar::default();
        tar.add("oci-layout", 0o644, Kind::File(br#"{"imageLayoutVersion":"1.0.0"}"#))?;
        tar.add("index.json", 0o644, Kind::File(&serde_json::to_vec(&index)?))?;
        for blob in [&layer, &config, &manifest] {
            tar.add(&format!("blobs/sha256/{}", hash(blob)), 0o644, Kind::File(blob))?;
        }
        Ok(tar.finish())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Tar::default();
        let mut made = BTreeSet::new();
        for entry in &self.entries {
            for (at, _) in entry.path.match_indices('/') {
                let folder = entry.path.get(..at).unwrap_or_default();
                if made.insert(folder.to_owned()) {
                    tar.add(folder, 0o755, Kind::Folder)?;
                }
            }
            if matches!(entry.what, What::Folder) {
                made.insert(entry.path.clone());
            }
            tar.add(&entry.path, entry.mode, entry.what.kind())?;
        }
        Ok(tar.finish())
    }

    fn config(&self, layer: &str) -> Value {
        // As Go names processors.
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "Cmd": self.cmd, "User": self.user, "Env": self.env },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        })
    }
}

impl What {
    fn kind(&self) -> Kind<'_> {
        match self {
            Self::File(content) => Kind::File(content),
            Self::Link(leads) => Kind::Link(leads),
            Self::Folder => Kind::Folder,
        }
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn describe(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", hash(blob))
}

/// SHA-256, in hex.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::parts::{TempDir, output_of};

    fn unpacked(image: &Image) -> TempDir {
        let dir = TempDir::new("oci").expect("folder");
        std::fs::write(dir.path().join("x.tar"), image.archive().expect("archive")).expect("write");
        output_of(Command::new("tar").args(["xf", "x.tar"]).current_dir(dir.path())).expect("tar");
        dir
    }

    fn json_of(path: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("file")).expect("json")
    }

    fn sample() -> Image {
        Image {
            name: "dewdrop.test/app:1".to_owned(),
            entries: vec![
                Entry::folder("tmp", 0o1777),
                Entry::program("usr/bin/app", b"ELF".to_vec()),
                Entry::link("usr/bin/x", "app"),
            ],
            entrypoint: vec!["/usr/bin/app".to_owned()],
            user: "1000:1000".to_owned(),
            env: vec!["A=b".to_owned()],
            ..Image::default()
        }
    }

    /// Follows the digests from the index down to the layer, and checks each.
    #[test]
    fn every_digest_and_size_holds() {
        let dir = unpacked(&sample());
        let blob = |of: &Value| {
            let digest = of.pointer("/digest").and_then(Value::as_str).expect("digest");
            let hex = digest.strip_prefix("sha256:").expect("sha256");
            let bytes = std::fs::read(dir.path().join("blobs/sha256").join(hex)).expect("blob");
            assert_eq!(hash(&bytes), hex);
            assert_eq!(of.pointer("/size"), Some(&json!(bytes.len())));
            bytes
        };
        let index = json_of(&dir.path().join("index.json"));
        let of_manifest = index.pointer("/manifests/0").expect("manifest");
        assert_eq!(of_manifest.pointer("/annotations/io.containerd.image.name"), Some(&json!("dewdrop.test/app:1")));
        let manifest: Value = serde_json::from_slice(&blob(of_manifest)).expect("json");
        let config: Value = serde_json::from_slice(&blob(manifest.pointer("/config").expect("config"))).expect("json");
        let layer = blob(manifest.pointer("/layers/0").expect("layer"));
        assert_eq!(config.pointer("/rootfs/diff_ids/0"), Some(&json!(digest(&layer))));
        assert_eq!(config.pointer("/config/User"), Some(&json!("1000:1000")));
        assert_eq!(config.pointer("/config/Entrypoint/0"), Some(&json!("/usr/bin/app")));
        assert_eq!(config.pointer("/config/Env/0"), Some(&json!("A=b")));
    }

    #[test]
    fn folders_above_a_file_come_once_and_before_it() {
        let dir = TempDir::new("oci").expect("folder");
        std::fs::write(dir.path().join("l.tar"), sample().layer().expect("layer")).expect("write");
        let list = output_of(Command::new("tar").args(["tf", "l.tar"]).current_dir(dir.path())).expect("tar");
        assert_eq!(list.lines().collect::<Vec<_>>(), ["tmp/", "usr/", "usr/bin/", "usr/bin/app", "usr/bin/x"]);
    }

    #[test]
    fn the_same_image_has_the_same_bytes() {
        assert_eq!(sample().archive().expect("one"), sample().archive().expect("two"));
    }
}
