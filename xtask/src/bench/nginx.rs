//! nginx, for what HTTP costs on this machine: one process with one worker.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::parts::{Process, TempDir, free_port, listens};
use crate::tools;

/// It runs until this is dropped.
pub struct Nginx {
    /// Where it listens.
    pub port: u16,
    process: Process,
    dir: TempDir,
}

// === impl Nginx ===

impl Nginx {
    /// Starts it with lines of its own for `http` and for the one `server`, which are given the port to listen on.
    pub fn start(purpose: &'static str, http: &str, server: impl FnOnce(u16) -> String) -> Result<Self> {
        tools::bring("nginx", "nginx-light", purpose)?;
        let dir = TempDir::new("bench-nginx")?;
        let port = free_port()?;
        let config = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{ worker_connections 8192; }}\n\
             http {{\n  {http}\n  server {{ {1} }}\n}}\n",
            dir.path().display(),
            server(port)
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).arg("-e").arg(dir.path().join("error.log")).arg("-c").arg(&file);
        let mut process = Process::start(command, &dir.path().join("nginx.log"))?;
        process.wait_until(Duration::from_secs(10), || listens(port))?;
        Ok(Self { port, process, dir })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A folder of its own.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
