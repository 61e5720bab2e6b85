//! Certificates in files: of cert-manager, or a mounted Secret. They are read again when they change.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use dewdrop_core::Moment;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertError, Pair, Source};

/// Length and time of a file; a mounted Secret is swapped by a link, which changes them both.
type Stamp = Option<(SystemTime, u64)>;

/// Two files.
#[derive(Debug)]
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    seen: Option<[Stamp; 2]>,
}

impl Files {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key, seen: None }
    }
}

#[async_trait]
impl Source for Files {
    async fn renewed(&mut self, _now: Moment) -> Result<Option<Pair>, CertError> {
        let stamps = [stamp(&self.certificate), stamp(&self.key)];
        if self.seen == Some(stamps) {
            return Ok(None);
        }
        let file = |what, path: &Path, cause| CertError::File {
            what,
            path: path.display().to_string(),
            cause: Box::new(cause),
        };
        let read = |cause| file("read the certificate", &self.certificate, cause);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate).map_err(read)?.collect();
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|cause| file("read the key", &self.key, cause))?;
        let pair = Pair { chain: chain.map_err(read)?, key };
        // One of the two may be from before the change: then they do not fit, and the next look finds both.
        rustls::sign::CertifiedKey::from_der(
            pair.chain.clone(),
            pair.key.clone_key(),
            &rustls::crypto::aws_lc_rs::default_provider(),
        )?;
        self.seen = Some(stamps);
        Ok(Some(pair))
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
