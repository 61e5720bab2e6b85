//! What stands between a client and the API server: our proxy, or nginx in its place, as a measure of what two connections with
//! TLS cost on this machine. nginx knows no grants and judges nothing: whoever has a certificate is the cluster's administrator.

use std::path::Path;

use anyhow::{Context, Result};

use super::http2;
use crate::bench::nginx::Nginx;
use crate::cluster;
use crate::e2e::Town;
use crate::parts::client::Way;

/// One of them.
pub struct Passage {
    /// As it is called in a table.
    pub name: &'static str,
    /// Through it over HTTP/1.1.
    pub way: Way,
    /// The same as kubectl speaks.
    pub http2: http2::Client,
    /// Its process.
    pub pid: u32,
    /// What it is, where that is not the town's.
    nginx: Option<Nginx>,
}

// === impl Passage ===

impl Passage {
    /// Our proxy, by a grant.
    pub fn ours(town: &Town<'_>) -> Result<Self> {
        let pid = town.proxy_pid().context("the proxy does not run")?;
        Self::through("through the proxy", town.address(), &town.credential("ann")?, pid, None)
    }

    /// nginx: a certificate is asked for, each request has its line in a log, bodies are not held.
    pub fn nginx(town: &Town<'_>) -> Result<Self> {
        let at = town.stage.cluster()?;
        let pki = cluster::pki(at);
        let host = at.server.trim_start_matches("https://");
        let nginx = Nginx::start(
            "what a plain proxy costs in the place of ours",
            &format!(
                "access_log access.log combined; keepalive_requests 1000000000; upstream api {{ server {host}; keepalive 64; }}"
            ),
            |port| {
                format!(
                    "listen 127.0.0.1:{port} ssl http2; http2_max_concurrent_streams 1000; ssl_protocols TLSv1.3;\n\
                     ssl_certificate {pki}/apiserver.pem; ssl_certificate_key {pki}/apiserver-key.pem;\n\
                     ssl_client_certificate {pki}/ca.pem; ssl_verify_client on;\n\
                     location / {{ proxy_pass https://api; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
                     proxy_buffering off; proxy_read_timeout 1h; proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on;\n\
                     proxy_ssl_name kubernetes; proxy_ssl_trusted_certificate {pki}/ca.pem;\n\
                     proxy_ssl_certificate {pki}/admin.pem; proxy_ssl_certificate_key {pki}/admin-key.pem; }}",
                    pki = pki.display()
                )
            },
        )?;
        let home = nginx.dir().join("client");
        std::fs::create_dir(&home)?;
        for (from, to) in [("ca.pem", "ca.pem"), ("admin.pem", "cert.pem"), ("admin-key.pem", "key.pem")] {
            std::fs::copy(pki.join(from), home.join(to))?;
        }
        Self::through("through nginx", format!("https://127.0.0.1:{}", nginx.port), &home, nginx.pid(), Some(nginx))
    }

    fn through(name: &'static str, server: String, home: &Path, pid: u32, nginx: Option<Nginx>) -> Result<Self> {
        let file = |name: &str| home.join(name);
        let way = Way::new(&server, &file("ca.pem"), &file("cert.pem"), &file("key.pem"))?;
        let http2 = http2::Client::new(server, home.to_owned())?;
        Ok(Self { name, way, http2, pid, nginx })
    }

    /// What is said of a budget: they are those of our proxy alone.
    pub fn judged(&self, verdict: String) -> String {
        if self.nginx.is_none() { verdict } else { String::new() }
    }
}
