//! A kubectl that speaks SPDY: the one of Debian 12 (1.20), as people have it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::life::wide;
use super::town::{Town, good};
use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::output_of;
use crate::say::{self, Stopwatch};
use crate::tools;

/// Bytes that go through a forwarded port, each way.
const LOAD: usize = 200_000;
/// Says back what it hears.
const ECHO: &str = "/bin/busybox nc -ll -p 8080 -e /bin/busybox cat";
const SOON: Duration = Duration::from_secs(3);

/// Every kind of command over SPDY, recorded; a forwarded port of both kubectls is counted; cut at the end of the grant.
pub fn speaks_spdy(stage: &mut Stage) -> Result<()> {
    let program = tools::unpacked("kubernetes-client", "/usr/bin/kubectl")?;
    let told = output_of(Command::new(&program).args(["version", "--client", "-o", "json"]))?;
    let told: Value = serde_json::from_str(&told)?;
    let minor = told["clientVersion"]["minor"].as_str().unwrap_or_default().trim_end_matches('+').parse::<u32>()?;
    ensure!(minor < 31, "{} is 1.{minor}, which speaks WebSocket", program.display());
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": wide() }))?;
    let id = town.only("shop", &["-ttl=10m"])?;
    let old = Old::new(&town, program)?;
    commands(&old)?;
    copies(&old)?;
    recordings(&town, &id)?;
    forwards(&town, &old, &id)?;
    lists(&town, &old)?;
    is_cut(&town, &old, &id)
}

/// The old kubectl as ann.
struct Old<'t, 's> {
    town: &'t Town<'s>,
    program: PathBuf,
    config: String,
}

impl<'t, 's> Old<'t, 's> {
    /// It knows an older version of the plug-ins' protocol, and its kubeconfig says so.
    fn new(town: &'t Town<'s>, program: PathBuf) -> Result<Self> {
        let args = ["kube", "config", "-cluster", "test", "-default-namespace", "shop", "-exec-api=v1beta1"];
        let config = town.says("ann", &args)?;
        ensure!(config.contains("client.authentication.k8s.io/v1beta1"), "the kubeconfig for an old kubectl: {config}");
        Ok(Self { town, program, config: town.stage.file("old-kubeconfig", &config)? })
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.town.kubectl_command("ann", args)?;
        let mut old = Command::new(&self.program);
        old.args(args).env_clear().env("KUBECONFIG", &self.config);
        for (name, value) in command.env("KUBECONFIG", &self.config).get_envs() {
            old.env(name, value.unwrap_or_default());
        }
        old.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(old)
    }

    fn says(&self, args: &[&str]) -> Result<String> {
        good(&format!("the old kubectl {}", args.join(" ")), &self.command(args)?.output()?)
    }
}

fn commands(old: &Old<'_, '_>) -> Result<()> {
    ensure!(old.says(&["get", "pods"])?.contains("web"), "get");
    ensure!(old.says(&["logs", "web", "--tail=1"])?.contains("tick"), "logs");
    let told = old.says(&["exec", "web", "--", "/bin/busybox", "echo", "from afar"])?;
    ensure!(told == "from afar\n", "exec: {told:?}");
    let mut exec = old.command(&["exec", "-i", "web", "--", "/bin/busybox", "cat"])?.stdin(Stdio::piped()).spawn()?;
    exec.stdin.take().context("no input")?.write_all(b"typed over SPDY\n")?;
    let told = good("exec -i", &exec.wait_with_output()?)?;
    ensure!(told == "typed over SPDY\n", "exec -i: {told:?}");
    let failed = old.command(&["exec", "web", "--", "/bin/busybox", "sh", "-c", "echo no >&2; exit 7"])?.output()?;
    ensure!(
        failed.status.code() == Some(7) && failed.stderr.starts_with(b"no\n"),
        "exit status and stderr: {failed:?}"
    );
    let manifest =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "old" }, "data": { "a": "b" } });
    let file = old.town.stage.file("old.json", &manifest.to_string())?;
    old.says(&["apply", "-f", &file])?;
    old.says(&["delete", "-f", &file])?;
    let elsewhere = old.command(&["exec", "-n", "bank", "web", "--", "/bin/busybox", "id"])?.output()?;
    let told = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    ensure!(!elsewhere.status.success() && told.contains("dewdrop:"), "another namespace: {told}");
    Ok(())
}

/// A file there and back.
fn copies(old: &Old<'_, '_>) -> Result<()> {
    old.says(&["exec", "web", "--", "/bin/busybox", "ln", "-sf", "/bin/busybox", "/bin/tar"])?;
    let text: String = (0..20_000).map(|n| format!("{n} ")).collect();
    let (from, back) = (old.town.stage.file("there.txt", &text)?, old.town.stage.file("back.txt", "")?);
    old.says(&["cp", &from, "web:/there.txt"])?;
    old.says(&["cp", "web:/there.txt", &back])?;
    ensure!(std::fs::read_to_string(&back)? == text, "a file that was copied there and back is another one");
    Ok(())
}

/// What was typed and shown over SPDY is on recordings.
fn recordings(town: &Town<'_>, id: &str) -> Result<()> {
    let names = || -> Result<Vec<String>> {
        let listed: Value = serde_json::from_str(&town.says("cleo", &["access", "recordings", "-format=json"])?)?;
        let info = listed["key_info"].as_object().context("no recordings")?;
        Ok(info.iter().filter(|(_, about)| about["grant"] == id).map(|(name, _)| name.clone()).collect())
    };
    for wanted in ["\"o\", \"from afar\\n\"", "\"i\", \"typed over SPDY\\n\"", "\"o\", \"no\\n\""] {
        town.stage.wait(&format!("a recording with {wanted}"), PATIENCE, || {
            let casts: Result<Vec<String>> =
                names()?.iter().map(|name| town.says("cleo", &["access", "replay", name, "-cast"])).collect();
            Ok(casts?.iter().any(|cast| cast.contains(wanted)))
        })?;
    }
    say::line(&format!("{} sessions over SPDY are recorded", names()?.len()));
    Ok(())
}

/// Bytes through a forwarded port are on the record, over SPDY and over WebSocket.
fn forwards(town: &Town<'_>, old: &Old<'_, '_>, id: &str) -> Result<()> {
    let mut echo = town.kubectl_command("ann", &["exec", "web", "--", "/bin/busybox", "sh", "-c", ECHO])?.spawn()?;
    let args = ["port-forward", "web", ":8080"];
    for (name, mut command) in [("old", old.command(&args)?), ("new", town.kubectl_command("ann", &args)?)] {
        let before = counted(town, id)?.len();
        let mut forward = command.spawn()?;
        let mut line = String::new();
        // Kept: kubectl ends when nobody reads what it says of each connection.
        let mut output = BufReader::new(forward.stdout.take().context("no output")?);
        output.read_line(&mut line)?;
        let port = line.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split(' ').next());
        let port: u16 = port.with_context(|| format!("port-forward says {line:?}"))?.parse()?;
        let mut last = String::new();
        let heard = town.stage.wait("an echo from the pod", SOON * 5, || match echoes(port) {
            Ok(is_same) => Ok(is_same),
            Err(error) => {
                last = format!("{error:#}");
                Ok(false)
            }
        });
        output_of(Command::new("kill").args(["-INT", &forward.id().to_string()]))?;
        let mut told = String::new();
        forward.stderr.take().context("no stderr")?.read_to_string(&mut told)?;
        forward.wait()?;
        heard.with_context(|| format!("the {name} kubectl's port-forward: {last}; it says {told}"))?;
        town.stage.wait("the count of the forwarded port", PATIENCE, || Ok(counted(town, id)?.len() > before))?;
        let (received, sent) = counted(town, id)?.last().copied().context("no count")?;
        let least = LOAD as u64;
        ensure!(received >= least && sent >= least, "{name}: counted {received} and {sent} of {least} bytes each way");
        say::line(&format!("port-forward, {name} kubectl: {received} bytes there, {sent} back, on the record"));
    }
    echo.kill()?;
    echo.wait()?;
    Ok(())
}

fn echoes(port: u16) -> Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut back = vec![0; LOAD];
    let mut writer = stream.try_clone()?;
    let writing = std::thread::spawn(move || writer.write_all(&vec![b'x'; LOAD]));
    stream.read_exact(&mut back)?;
    Ok(writing.join().is_ok() && back.iter().all(|byte| *byte == b'x'))
}

/// Bytes from and to the client, of each port-forward of a grant that has ended.
fn counted(town: &Town<'_>, id: &str) -> Result<Vec<(u64, u64)>> {
    let ended = |line: &Value| line["kind"] == "end" && line["target"] == "pods/portforward";
    let lines = town.lines(id)?;
    let bytes = |line: &Value| Some((line["received"].as_u64()?, line["bytes"].as_u64()?));
    Ok(lines.iter().filter(|line| ended(line)).filter_map(bytes).collect())
}

/// `auth can-i --list` shows what the grant has, and nothing where it has nothing.
fn lists(town: &Town<'_>, old: &Old<'_, '_>) -> Result<()> {
    let list = |namespace: &'static str| ["auth", "can-i", "--list", "-n", namespace, "--no-headers"];
    let has_all = |told: String| told.lines().any(|line| line.starts_with("*.*") && line.ends_with("[*]"));
    ensure!(has_all(town.kubectl_says("ann", &list("shop"))?) && has_all(old.says(&list("shop"))?), "can-i --list");
    ensure!(
        !has_all(town.kubectl_says("ann", &list("bank"))?) && !has_all(old.says(&list("bank"))?),
        "in another namespace"
    );
    Ok(())
}

fn is_cut(town: &Town<'_>, old: &Old<'_, '_>, id: &str) -> Result<()> {
    let script = "while :; do echo x; sleep 0.1; done";
    let mut exec = old.command(&["exec", "web", "--", "/bin/busybox", "sh", "-c", script])?.spawn()?;
    let mut lines = BufReader::new(exec.stdout.take().context("no output")?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    ensure!(line == "x\n", "exec says {line:?}");
    let reader = std::thread::spawn(move || lines.lines().map_while(Result::ok).count());
    town.says("ben", &["access", "revoke", id])?;
    let clock = Stopwatch::start();
    town.stage.wait("the old kubectl's exec to end", SOON, || Ok(exec.try_wait()?.is_some()))?;
    drop(reader.join());
    say::line(&format!("exec over SPDY ended {} after the revocation", say::time(clock.elapsed())));
    let told = old.command(&["get", "pods"])?.output()?;
    ensure!(!told.status.success(), "the old kubectl works after the revocation");
    Ok(())
}
