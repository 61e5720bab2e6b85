//! A certificate for `-dev-tls`: made anew at each start, with an authority of its own that clients are told to trust.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Makes authority, certificate and key in a folder (a new one below the temporary folder when none is named) and answers
/// certificate and key. The authority is `dewdrop-ca.pem` beside them.
///
/// # Errors
/// The files cannot be written.
pub fn dev_certificate(folder: Option<&Path>, address: SocketAddr) -> Result<(PathBuf, PathBuf)> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir()
            .join(format!("dewdrop-tls-{}", crate::ids::uuid().map_err(|e| anyhow::anyhow!("{e}"))?)),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), address.ip().to_string()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    write(&folder.join("dewdrop-ca.pem"), &authority.pem())?;
    let (certificate_file, key_file) = (folder.join("dewdrop-cert.pem"), folder.join("dewdrop-key.pem"));
    write(&certificate_file, &certificate.pem())?;
    write(&key_file, &key.serialize_pem())?;
    Ok((certificate_file, key_file))
}

fn write(file: &Path, text: &str) -> Result<()> {
    let mut open = OpenOptions::new();
    let opened = open.write(true).create(true).truncate(true).mode(0o600).open(file);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("write {}", file.display()))
}
