//! The client's side, and what the kernel says of the proxy's process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dewdrop_core::SystemClock;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const POD: &str = "/api/v1/namespaces/shop/pods/web";
const LIST: &str = "/api/v1/namespaces/bank/pods";
const WATCH: &str = "/api/v1/namespaces/shop/pods?watch=1";
/// Connections that ask for a pod at once.
const CLIENTS: usize = 4;
const WATCHES: usize = 1000;
const LISTS: usize = 10;
const REST: Duration = Duration::from_secs(1);

/// Asks one proxy.
pub struct Load {
    /// Where it listens.
    pub address: SocketAddr,
    /// By which certificate.
    pub tls: Arc<ClientConfig>,
    /// Its process.
    pub pid: u32,
}

/// A connection.
struct Line {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Load {
    /// Asks until the proxy answers as it should.
    pub async fn wait_until_ready(&self) -> Result<()> {
        for _ in 0..200 {
            if let Ok(mut line) = self.open().await
                && line.get(POD).await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the proxy does not come up")
    }

    /// `get pod`.
    pub async fn pods(&self, time: Duration) -> Result<()> {
        let clock = SystemClock::shared();
        let (start, cpu) = (clock.steady(), self.cpu()?);
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let (mut line, clock) = (self.open().await?, clock.clone());
            clients.spawn(async move {
                let mut count = 0;
                while clock.steady().saturating_sub(start) < time {
                    line.get(POD).await?;
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
        let mut requests = 0;
        while let Some(count) = clients.join_next().await {
            requests += count??;
        }
        let (took, cpu) = (clock.steady().saturating_sub(start), self.cpu()? - cpu);
        let rate = f64::from(requests) / took.as_secs_f64();
        println!("get pod: {:.1} us of {requests} requests, {rate:.0}/s", cpu * 1e6 / f64::from(requests));
        Ok(())
    }

    /// Watches that wait.
    pub async fn watches(&self) -> Result<()> {
        let (before, cpu) = (self.memory()?, self.cpu()?);
        let mut open = Vec::with_capacity(WATCHES);
        for _ in 0..WATCHES {
            let mut line = self.open().await?;
            line.ask(WATCH).await?;
            line.until(b"\r\n\r\n").await?;
            open.push(line);
        }
        let cpu = self.cpu()? - cpu;
        tokio::time::sleep(REST).await;
        let with = self.memory()?;
        drop(open);
        tokio::time::sleep(REST).await;
        let each = with.saturating_sub(before) as f64 / WATCHES as f64;
        println!("a watch: {each:.1} KB; {before}, {with}, {} KB", self.memory()?);
        println!("opening one: {:.0} us", cpu * 1e6 / WATCHES as f64);
        Ok(())
    }

    /// Long lists.
    pub async fn lists(&self) -> Result<()> {
        let clock = SystemClock::shared();
        let mut line = self.open().await?;
        line.get(LIST).await?;
        let (cpu, start, mut bytes) = (self.cpu()?, clock.steady(), 0);
        for _ in 0..LISTS {
            bytes += line.get(LIST).await?;
        }
        let (cpu, took) = (self.cpu()? - cpu, clock.steady().saturating_sub(start));
        let gigabytes = bytes as f64 / 1e9;
        println!("a list: {:.2} CPU s/GB, {:.0} MB/s", cpu / gigabytes, gigabytes * 1e3 / took.as_secs_f64());
        Ok(())
    }

    async fn open(&self) -> Result<Line> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = self.address.ip().into();
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        Ok(Line { stream, buffer: vec![0; 32 << 10] })
    }

    /// Processor time so far, in seconds.
    fn cpu(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, rest) = text.rsplit_once(") ").context("/proc/PID/stat has another form")?;
        let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<u32>);
        Ok(f64::from(ticks.sum::<Result<u32, _>>()?) / 100.0)
    }

    /// Memory in RAM, in KB.
    fn memory(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Line {
    async fn ask(&mut self, path: &str) -> Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: prod\r\nAccept: application/json\r\nUser-Agent: cost\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Asks and reads the answer; its length in bytes.
    async fn get(&mut self, path: &str) -> Result<usize> {
        self.ask(path).await?;
        self.until(if path == LIST { b"\r\n0\r\n\r\n" } else { b"\"}}" }).await
    }

    /// Reads until a piece ends so.
    async fn until(&mut self, end: &[u8]) -> Result<usize> {
        let (mut bytes, mut tail) = (0, Vec::new());
        loop {
            let read = self.stream.read(&mut self.buffer).await?;
            ensure!(read > 0, "the proxy closed the connection");
            let piece = &self.buffer[..read];
            ensure!(bytes > 0 || piece.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(piece));
            bytes += read;
            tail.extend_from_slice(&piece[read.saturating_sub(end.len())..]);
            tail.drain(..tail.len().saturating_sub(end.len()));
            if tail == end {
                return Ok(bytes);
            }
        }
    }
}
