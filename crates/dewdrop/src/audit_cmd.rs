//! `dewdrop audit verify` and `dewdrop audit trace`: they work on files, without a server and without a key of it.

mod show;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dewdrop_server::audit::PublicKey;
use dewdrop_server::audit::trace::trace;
use dewdrop_server::audit::verify::{Ask, files, verify};

use crate::output::say;

/// Nothing is wrong; something was found.
const GOOD: u8 = 0;
/// The log does not hold; nothing was found.
const BAD: u8 = 2;

/// What the arguments say.
#[derive(Default)]
struct Asked {
    words: Vec<String>,
    public_key: Option<PathBuf>,
    expect: Option<String>,
    json: bool,
    help: bool,
}

/// Runs `verb` (`verify` or `trace`) over files, and returns the exit code: 0 good, 2 the log does not hold or nothing was
/// found. (1 is a mistake in the arguments, or a file that cannot be read.)
///
/// # Errors
/// Arguments that are not known; files that cannot be read.
pub fn run(verb: &str, args: &[String]) -> Result<u8> {
    let asked = parse(args)?;
    if asked.help {
        say(if verb == "trace" { TRACE_HELP } else { VERIFY_HELP });
        return Ok(GOOD);
    }
    if verb == "trace" { run_trace(&asked) } else { run_verify(&asked) }
}

fn run_verify(asked: &Asked) -> Result<u8> {
    let paths = paths(&asked.words)?;
    let ask = Ask {
        key: asked.public_key.as_deref().map(key).transpose()?,
        expect: asked.expect.as_deref().map(expectation).transpose()?,
    };
    let report = verify(&paths, &ask)?;
    if asked.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&report)?));
    } else {
        say(&show::report(&report));
    }
    Ok(if report.ok { GOOD } else { BAD })
}

fn run_trace(asked: &Asked) -> Result<u8> {
    let Some((needle, files)) = asked.words.split_first() else {
        bail!(
            "say what to trace: a lease, a user, an accessor, a grant, a recording, a person or a command\n\n{TRACE_HELP}"
        );
    };
    let paths = paths(files)?;
    let ask = Ask { key: asked.public_key.as_deref().map(key).transpose()?, expect: None };
    let report = verify(&paths, &ask)?;
    let found = trace(&paths, needle)?;
    if asked.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&serde_json::json!({ "trace": found, "log": report }))?));
    } else {
        say(&show::trace(&found, &report));
    }
    Ok(if found.is_empty() || !report.ok { BAD } else { GOOD })
}

fn paths(words: &[String]) -> Result<Vec<PathBuf>> {
    if words.is_empty() {
        bail!("say which log: its folder, or its files in order");
    }
    let lists = words.iter().map(|word| files(Path::new(word))).collect::<Result<Vec<_>, _>>()?;
    Ok(lists.concat())
}

fn key(path: &Path) -> Result<PublicKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    PublicKey::parse(&text)
        .with_context(|| format!("{} is no Ed25519 public key; give audit-signing.pub", path.display()))
}

/// `SEQ:HASH`, as `sys/audit-chain` tells both.
fn expectation(text: &str) -> Result<(u64, [u8; 32])> {
    let parse = || {
        let (seq, hash) = text.split_once(':')?;
        let hash: Vec<u8> = (0..hash.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(hash.get(at..at + 2)?, 16).ok())
            .collect::<Option<_>>()?;
        Some((seq.parse().ok()?, hash.try_into().ok()?))
    };
    parse().with_context(|| format!("{text:?} is not SEQ:HASH; read both from sys/audit-chain"))
}

fn parse(args: &[String]) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|name| !name.is_empty())
        else {
            asked.words.push(arg.clone());
            continue;
        };
        let (name, inline) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
        let mut value =
            || inline.clone().or_else(|| rest.next().cloned()).with_context(|| format!("-{name} needs a value"));
        match name {
            "h" | "help" => asked.help = true,
            "public-key" => asked.public_key = Some(value()?.into()),
            "expect" => asked.expect = Some(value()?),
            "format" => match value()?.as_str() {
                "json" => asked.json = true,
                "table" => asked.json = false,
                other => bail!("-format={other} is not known here; say json or table"),
            },
            other => bail!("-{other} is not known; `dewdrop audit verify -help` shows what is"),
        }
    }
    Ok(asked)
}

const VERIFY_HELP: &str = "Usage: dewdrop audit verify [options] FOLDER | FILE...

Proves that no line of an audit log was changed, dropped or moved, and names the first that was.

  -public-key FILE    The server's audit-signing.pub, kept elsewhere; without it, the key that the log names is believed
  -expect SEQ:HASH    A line and its value as sys/audit-chain told them: finds a log that was cut short
  -format json        For programs

Exit code: 0 the log holds, 2 it does not, 1 it could not be read.
";

const TRACE_HELP: &str = "Usage: dewdrop audit trace [options] WHAT FOLDER | FILE...

Walks from a lease, a user at a database or a token's accessor to the request that made it, to who asked, and to its end.

Walks from a request for access, a grant, a recording, a person or a kubectl command (a part of it, with a blank in it) to who
asked and why, who approved, each command by this grant, how it ended, and who read its recordings. Likewise from a certificate
or token of a cluster without the access proxy, by the API server's name for it (X509SHA256=..., JTI=...).

  -public-key FILE    The server's audit-signing.pub: the log is verified as well
  -format json        For programs

Exit code: 0 found in a log that holds, 2 not found or the log does not hold, 1 it could not be read.
";
