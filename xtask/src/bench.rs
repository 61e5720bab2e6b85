//! `cargo xtask bench`: OpenBao and Dewdrop side by side, in one run and by turns, and `docs/performance.md` from it.
//!
//! The steady figure is the server's processor time per request: other people's work on the machine changes throughput
//! and latency, but hardly that. `--leases N` asks another question: what N live leases cost. `--profile ROW` says where
//! the time of a row goes.

mod access;
mod database;
mod fleet;
mod host;
mod kubernetes;
mod leases;
mod nginx;
mod report;
mod rows;
mod side;
mod wrk;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::parts::vault::{Kind, Vault};
use crate::parts::{Process, build, openbao, output_of, repo_root};
use crate::{say, tools};
use nginx::Nginx;
use report::{Report, Shape};
use rows::ROWS;
use side::Side;
use wrk::{Load, Measured, Until};

const USAGE: &str = "\
cargo xtask bench [options]
  --seconds N        seconds of load for each row and side (default 8)
  --turns N          in so many turns (default 2)
  --only TEXT        rows whose name contains TEXT (kv-read, kv-write-16, kv-write-64, approle-login, token-create,
                     lookup-self, database); nothing is written
  --profile ROW      where the time of a row goes in Dewdrop, by perf
  --kubernetes       what containers' secrets cost on a real cluster (root; see `cargo xtask cluster`)
  --access           what the access proxy costs, against the API server itself (root)
  --kills N          containers that are killed one by one (default 50)
  --pods N           pods that are started one by one, with us and without (default 30)
  --crowds N[,N...]  pods that are started at once (default 1,10,50,110,200)
  --fleet NODES      agents of so many nodes (30 containers each) against one server, without a cluster
  --leases [N]       what N live leases cost (default 1000000)
  --dewdrop PROGRAM  an optimised binary that is there (default: cargo build --release -p dewdrop)
  --keep             leaves docs/performance.md as it is";

/// Leases of the large test.
const LEASES: u64 = 1_000_000;

/// What is measured on a real cluster.
#[derive(Debug, Clone, Copy)]
enum OnCluster {
    Kubernetes,
    Access,
}

/// What the command line asks for.
#[derive(Debug)]
pub struct Wish {
    seconds: u64,
    /// Turns of each row.
    pub turns: u64,
    only: Option<String>,
    profile: Option<String>,
    leases: Option<u64>,
    dewdrop: Option<PathBuf>,
    keep: bool,
    on_cluster: Option<OnCluster>,
    /// Simulated nodes; none without `--fleet`.
    pub nodes: u64,
    /// Containers that are killed.
    pub kills: usize,
    /// Pods that are started one by one.
    pub pods: usize,
    /// How many pods are started at once, by turns.
    pub crowds: Vec<usize>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            seconds: 8,
            turns: 2,
            only: None,
            profile: None,
            leases: None,
            dewdrop: None,
            keep: false,
            on_cluster: None,
            nodes: 0,
            kills: 50,
            pods: 30,
            crowds: vec![1, 10, 50, 110, 200],
        }
    }
}

impl Wish {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wish = Self::default();
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            if arg == "--leases" {
                let number = args.next_if(|next| next.parse::<u64>().is_ok());
                wish.leases = Some(number.map_or(Ok(LEASES), |n| n.parse())?);
                continue;
            }
            let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--seconds" => wish.seconds = value()?.parse().context("--seconds takes a number")?,
                "--turns" => wish.turns = value()?.parse().context("--turns takes a number")?,
                "--only" => wish.only = Some(value()?.clone()),
                "--profile" => wish.profile = Some(value()?.clone()),
                "--dewdrop" => wish.dewdrop = Some(value()?.into()),
                "--keep" => wish.keep = true,
                "--kubernetes" => wish.on_cluster = Some(OnCluster::Kubernetes),
                "--access" => wish.on_cluster = Some(OnCluster::Access),
                "--fleet" => wish.nodes = value()?.parse().context("--fleet takes a number of nodes")?,
                "--kills" => wish.kills = value()?.parse().context("--kills takes a number")?,
                "--pods" => wish.pods = value()?.parse().context("--pods takes a number")?,
                "--crowds" => wish.crowds = numbers(value()?).context("--crowds takes numbers, as 1,10")?,
                _ => bail!("bench does not know `{arg}`\n{USAGE}"),
            }
        }
        if wish.turns == 0 || wish.seconds < wish.turns {
            bail!("each turn takes at least a second");
        }
        if wish.kills == 0 || wish.pods == 0 || wish.crowds.contains(&0) {
            bail!("--kills, --pods and --crowds take at least 1");
        }
        Ok(wish)
    }

    /// Seconds of load in one turn.
    pub fn seconds_a_turn(&self) -> u64 {
        self.seconds / self.turns
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|text| name.contains(text))
    }
}

fn numbers(text: &str) -> Result<Vec<usize>> {
    text.split(',').map(|part| Ok(part.trim().parse()?)).collect()
}

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let wish = Wish::parse(args)?;
    if wish.on_cluster.is_none() && wish.nodes == 0 {
        tools::bring("wrk", "wrk", "making the load")?;
    }
    let dewdrop = match &wish.dewdrop {
        Some(program) => program.canonicalize().with_context(|| format!("no program {}", program.display()))?,
        None => {
            tools::ensure()?;
            build(&["--release"])?
        }
    };
    if let Some(name) = &wish.profile {
        return profile(name, &dewdrop, &wish);
    }
    if wish.nodes > 0 {
        let section = fleet::measure(&dewdrop, &wish)?;
        println!("{section}");
        return if wish.keep { Ok(()) } else { report::write("fleet", &section) };
    }
    if let Some(what) = wish.on_cluster {
        let (name, section) = match what {
            OnCluster::Kubernetes => ("kubernetes", kubernetes::measure(&dewdrop, &wish)?),
            OnCluster::Access => ("access", access::measure(&dewdrop, &wish)?),
        };
        return if wish.keep { Ok(()) } else { report::write(name, &section) };
    }
    if let Some(count) = wish.leases {
        let section = leases::measure(count, &dewdrop)?;
        return if wish.keep { Ok(()) } else { report::write("leases", &section) };
    }
    let report = race(&dewdrop, &wish)?;
    let text = report.markdown()?;
    println!("\n{text}");
    if !wish.keep && wish.only.is_none() {
        report::write("rows", &text)?;
    }
    Ok(())
}

/// Everything but the leases.
fn race(dewdrop: &std::path::Path, wish: &Wish) -> Result<Report> {
    let load_before = host::load()?;
    say::heading("start both, and fill them");
    let (theirs, openbao) = prepare(Kind::OpenBao, &openbao::ensure()?)?;
    let (ours, dewdrop_side) = prepare(Kind::Dewdrop, dewdrop)?;
    let (mut openbao, mut dewdrop_side) = (openbao, dewdrop_side);
    say::heading("load, by turns");
    let floor = match floor(wish) {
        Ok(measured) => Some(measured),
        Err(error) => {
            say::warning(&format!("nginx, the floor: {error:#}"));
            None
        }
    };
    let rows = ROWS.iter().filter(|row| wish.wants(row.name));
    let rows = rows.map(|row| rows::compare(row, &openbao, &dewdrop_side, wish)).collect();
    let mut credentials = Vec::new();
    if wish.wants("database") {
        match database::measure(&openbao, &dewdrop_side, wish) {
            Ok(measured) => credentials = measured,
            Err(error) => say::failed(&format!("database credentials: {error:#}")),
        }
    }
    say::heading("start again");
    let shapes = [finish(theirs, &mut openbao)?, finish(ours, &mut dewdrop_side)?];
    Ok(Report {
        floor,
        rows,
        credentials,
        shapes,
        seconds: wish.seconds,
        load: load_before,
        program: version(dewdrop)?,
    })
}

/// Starts and fills one side; its memory before and after.
fn prepare(kind: Kind, program: &std::path::Path) -> Result<(Shape, Side)> {
    let clock = say::Stopwatch::start();
    let vault = Vault::open(kind, program)?;
    let first = clock.elapsed();
    // Start-up work is over and its memory given back.
    std::thread::sleep(Duration::from_secs(2));
    let idle = host::resident(vault.pid()?)?;
    let side = Side::prepare(vault)?;
    side.fill().with_context(|| format!("write {} keys to {}", side::KEYS, kind.name()))?;
    say::good(&format!("{}: ready after {}, {} MB idle", kind.name(), say::time(first), idle >> 20));
    Ok((Shape { idle, loaded: 0, first, again: Duration::ZERO, audit: false }, side))
}

/// Memory after the load; start to first answer: the middle one of three.
fn finish(mut shape: Shape, side: &mut Side) -> Result<Shape> {
    shape.loaded = host::resident(side.vault.pid()?)?;
    shape.audit = side.audits();
    let mut times = Vec::new();
    for _ in 0..3 {
        side.vault.stop();
        times.push(side.vault.start()?);
    }
    times.sort();
    shape.again = times.get(1).copied().unwrap_or_default();
    say::line(&format!("{:<8} serves after {} ms", side.kind().name(), shape.again.as_millis()));
    Ok(shape)
}

/// nginx that answers a constant: what HTTP alone costs here.
fn floor(wish: &Wish) -> Result<Measured> {
    let nginx = Nginx::start("the floor of HTTP", "access_log off; keepalive_requests 1000000000;", |port| {
        format!("listen 127.0.0.1:{port}; location / {{ return 200 \"constant\"; }}")
    })?;
    let load = Load {
        address: &format!("http://127.0.0.1:{}", nginx.port),
        token: "",
        request: "function request() return wrk.format('GET', '/') end\n",
        clients: 16,
        until: Until::Seconds(wish.seconds_a_turn()),
    };
    let measured = wrk::run(&load, nginx.pid(), nginx.dir())?;
    say::line(&format!("{:<34} {:<8} {}", "the floor: nginx, a constant", "", rows::one_line(&measured)));
    Ok(measured)
}

/// Where the time of a row goes.
fn profile(name: &str, dewdrop: &std::path::Path, wish: &Wish) -> Result<()> {
    tools::bring("perf", "linux-perf", "the profile")?;
    let row = ROWS.iter().find(|row| row.name == name).with_context(|| {
        format!("no row {name:?}; there are {}", ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "))
    })?;
    let (_, side) = prepare(Kind::Dewdrop, dewdrop)?;
    let data = side.vault.dir().join("perf.data");
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-F", "997", "-g", "-p", &side.vault.pid()?.to_string(), "-o"]).arg(&data);
    let mut perf = Process::start(record, &side.vault.dir().join("perf.log"))?;
    let measured = rows::run(row, &side, wish.seconds)?;
    perf.stop("-INT", Duration::from_secs(60));
    say::good(&format!("{}: {}", row.title, rows::one_line(&measured)));
    for (title, options) in [
        ("by program part", ["--sort", "dso", "--percent-limit", "1"]),
        ("by function", ["--sort", "symbol", "--percent-limit", "0.6"]),
    ] {
        say::heading(title);
        let mut report = Command::new("perf");
        report.args(["report", "--stdio", "--no-children", "-g", "none", "-q"]).args(options).arg("-i").arg(&data);
        output_of(&mut report)?.lines().filter(|line| !line.trim().is_empty()).for_each(say::line);
    }
    Ok(())
}

/// The commit that was measured, and whether the tree had changes.
fn version(program: &std::path::Path) -> Result<String> {
    let told = output_of(Command::new(program).arg("version")).unwrap_or_default();
    let mut git = Command::new("git");
    let commit = output_of(git.args(["describe", "--always", "--dirty"]).current_dir(repo_root()))?;
    Ok(format!("{} ({})", told.lines().next().unwrap_or("dewdrop").trim(), commit.trim()))
}
