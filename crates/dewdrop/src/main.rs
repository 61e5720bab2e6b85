//! `dewdrop`: the server and everything its users say to it. This file is the table of contents.

mod args;
mod audit_cmd;
mod cli;
mod cmd;
mod ctx;
mod duration;
mod failure;
mod help;
mod input;
mod output;
mod progress;
mod prompt;
mod server_cmd;
mod settings;
mod terminal;
mod token_file;

use std::process::ExitCode;

use cmd::kube::plugin::Called;
use failure::{Failure, Result};

/// Less CPU per request than the allocator of glibc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let given: std::result::Result<Vec<String>, _> = std::env::args_os().map(std::ffi::OsString::into_string).collect();
    let mut arguments = match given {
        Ok(arguments) => arguments,
        Err(_) => return ExitCode::from(Failure::usage("the arguments are not UTF-8 text").report()),
    };
    install_crypto();
    let called = cmd::kube::plugin::called(arguments.first().map_or("", String::as_str));
    arguments.drain(..1.min(arguments.len()));
    match called {
        Called::Dewdrop => {}
        Called::Plugin => return ExitCode::from(plugin(arguments).unwrap_or_else(|failure| failure.report())),
        Called::Complete => {
            output::say(&cmd::kube::plugin::completions(&arguments));
            return ExitCode::SUCCESS;
        }
    }
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["-h" | "-help" | "--help" | "help"] => first_page(),
        ["-v" | "-version" | "--version", ..] => version(),
        ["server", ..] => serve(&arguments[1..]),
        ["audit", verb @ ("verify" | "trace"), ..] => offline_audit(verb, &arguments[2..]),
        [cmd::run::SHIM, ..] => cmd::run::shim(&arguments[1..]),
        _ => user_command(arguments),
    };
    ExitCode::from(done.unwrap_or_else(|failure| failure.report()))
}

/// One TLS stack, one crypto library, for all of the process.
fn install_crypto() {
    // An error says that a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn first_page() -> Result<u8> {
    output::say(&help::first_page());
    Ok(0)
}

fn version() -> Result<u8> {
    output::say(&format!("{}\n", cmd::misc::version()));
    Ok(0)
}

/// `kubectl dewdrop ...`
fn plugin(arguments: Vec<String>) -> Result<u8> {
    match arguments.first().map(String::as_str) {
        None | Some("-h" | "-help" | "--help" | "help") => output::say(&cmd::kube::plugin::page()),
        Some("-v" | "-version" | "--version" | "version") => return version(),
        Some(first) if cmd::kube::plugin::knows(first) => return user_command(cmd::kube::plugin::arguments(arguments)),
        Some(first) => {
            return Err(Failure::usage(format!("kubectl dewdrop has no command {first:?}"))
                .hint("`kubectl dewdrop -help` shows those there are; `dewdrop` has more"));
        }
    }
    Ok(0)
}

/// `dewdrop server ...`
fn serve(arguments: &[String]) -> Result<u8> {
    server_cmd::run(arguments).map(|()| 0).map_err(|e| Failure::usage(format!("{e:#}")))
}

/// `dewdrop audit verify ...` and `dewdrop audit trace ...`
fn offline_audit(verb: &str, arguments: &[String]) -> Result<u8> {
    audit_cmd::run(verb, arguments).map_err(|e| Failure::usage(format!("{e:#}")))
}

/// Everything that talks to a server.
fn user_command(arguments: Vec<String>) -> Result<u8> {
    // What we hold must not land in a core dump. Where the kernel refuses, we go on without it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let cli = match cli::Cli::read(arguments) {
        Ok(cli) => cli,
        Err(e) => return told_by_clap(&e),
    };
    let ctx = ctx::Ctx::new(settings::Settings::resolve(&cli.global)?);
    let runtime = cli.command.runtime();
    let runtime = runtime.map_err(|e| Failure::usage(format!("the runtime cannot be started: {e}")))?;
    runtime.block_on(cli.command.run(&ctx))
}

/// Help goes to stdout and succeeds; mistakes go to stderr with exit code 1.
fn told_by_clap(error: &clap::Error) -> Result<u8> {
    if error.print().is_err() || error.use_stderr() {
        return Ok(1);
    }
    Ok(0)
}
