//! The conversation files (`tests/compat/*.convo`): what they may say, and how they are read.
//!
//! One line is one step. `tests/compat/README.md` is the guide for those who write them; in short:
//!
//! ```text
//! == name : kv2 approle            a conversation, on fresh mounts of these kinds ($KV2, $APPROLE)
//! @server bare                     on a server of its own (default: the shared dev server)
//! each TTL: "1h" :: 3600           one conversation per value
//! with | as $T | ns team/          options for all steps that follow
//! policy T path "a/*" { ... }      a policy and an ordinary token with it, as $T
//! POST $KV2/data/a {"data":{}} | > V = data.version | cas-like options
//! SQL select 1                     asks the side's own PostgreSQL
//! WAIT 1.2                         seconds; only where nothing can be polled
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

/// A named list of steps, played in order against each server.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// File stem, e.g. `kv2`.
    pub area: String,
    /// Unique within the area.
    pub name: String,
    /// Which server it is played on.
    pub server: ServerKind,
    /// Fixture steps, then its own.
    pub steps: Vec<Step>,
    /// Played at the end and not compared: they give the next conversation a clean server.
    pub after: Vec<Step>,
}

impl Conversation {
    /// `area/name`: what `--only` and `docs/compat.md` go by.
    pub fn id(&self) -> String {
        format!("{}/{}", self.area, self.name)
    }
}

/// Which server a conversation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// The dev server that all conversations without `@server` share.
    Dev,
    /// One of its own: in-memory storage, not initialised.
    Bare,
    /// One of its own: in-memory storage, initialised with one share, unsealed; its root token is the default.
    Ready,
    /// One of its own on disk (OpenBao: raft, Dewdrop: redb), initialised and unsealed as above.
    Disk,
}

/// One line of a conversation.
#[derive(Debug, Clone)]
pub struct Step {
    /// `3`, or `kv2.1` for the first step of a fixture.
    pub id: String,
    /// What to do.
    pub act: Act,
    /// How to ask and what to look at.
    pub options: Options,
    /// Values to take out of the answer: name and where to find it.
    pub captures: Vec<Capture>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// An HTTP request; path and body still have their `$NAMES`.
    Http {
        /// The verb, as it goes on the wire.
        method: String,
        /// With a leading `/`: the target as it is; else below `/v1/`.
        path: String,
        /// `None`: no body and no length.
        body: Option<String>,
    },
    /// A statement for the side's PostgreSQL; its rows are compared.
    Sql(String),
    /// A run of the real `bao` command line against the server; exit code and output are compared.
    Cli(String),
    /// Pause, in seconds.
    Wait(f64),
}

/// Take a value out of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The name it gets.
    pub name: String,
    /// A path such as `auth.client_token`, `keys.0`; or `xor encoded_token $OTP` for generate-root.
    pub from: String,
}

/// Everything after the first ` | ` of a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// `as $T`: the token; `as none`: none. Default: the server's root token.
    pub token: Option<String>,
    /// `ns team/`: the namespace header.
    pub namespace: Option<String>,
    /// `h Name: value`: more headers. `wrap 60s` is `h X-Vault-Wrap-TTL: 60s`.
    pub headers: Vec<(String, String)>,
    /// `until 200` or `until data.state=done`: ask again (up to five seconds) until that is so.
    pub until: Option<Until>,
    /// What is compared.
    pub compare: Compare,
    /// `loose data.a,data.b`: only the types of these are compared.
    pub loose: Vec<String>,
    /// `exact errors`: the wording counts, too.
    pub exact_errors: bool,
    /// `unordered`: lists of strings are compared as sets.
    pub unordered: bool,
    /// `stdin text` of a `BAO` step.
    pub stdin: Option<String>,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// This status.
    Status(u16),
    /// This value at this path of the body.
    Value(String, String),
}

/// How closely answers are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compare {
    /// Status, headers, keys, types, and values after normalising.
    #[default]
    Values,
    /// No values; arrays by the shape of their elements, whatever their length.
    Shape,
    /// Only the keys and types of the first level.
    Top,
    /// Only status and headers.
    Status,
    /// Nothing: a step that only prepares.
    Nothing,
}

/// Named sets of steps that conversations start with, from `fixtures.convo`.
pub type Fixtures = BTreeMap<String, Fixture>;

/// What a fixture does before and after.
#[derive(Debug, Clone, Default)]
pub struct Fixture {
    /// Played first, and compared.
    pub before: Vec<Step>,
    /// Played last, not compared.
    pub after: Vec<Step>,
}

/// Reads `fixtures.convo` and all other `*.convo` files of a folder, areas in alphabetical order.
pub fn load(dir: &Path) -> Result<Vec<Conversation>> {
    let read = |file: &Path| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let fixtures_file = dir.join("fixtures.convo");
    let fixtures = parse_fixtures(&read(&fixtures_file)?).context("in fixtures.convo")?;
    let mut files: Vec<_> = std::fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "convo") && *path != fixtures_file)
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let area = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(parse_area(&area, &read(&file)?, &fixtures).with_context(|| format!("in {}", file.display()))?);
    }
    Ok(all)
}

/// Reads the text of `fixtures.convo`: `fixture NAME`, steps, `after`, steps.
pub fn parse_fixtures(text: &str) -> Result<Fixtures> {
    let mut fixtures = Fixtures::new();
    let mut current: Option<(String, bool)> = None;
    for (number, line) in lines(text) {
        let place = || format!("line {number}: {line}");
        if let Some(name) = line.strip_prefix("fixture ") {
            current = Some((name.trim().to_owned(), false));
            fixtures.insert(name.trim().to_owned(), Fixture::default());
            continue;
        }
        let (name, after) =
            current.as_mut().ok_or_else(|| anyhow!("{}: a step before the first `fixture`", place()))?;
        if line == "after" {
            *after = true;
            continue;
        }
        let fixture = fixtures.entry(name.clone()).or_default();
        let list = if *after { &mut fixture.after } else { &mut fixture.before };
        let id = format!("{name}.{}", list.len() + 1);
        list.push(parse_step(&line, id, &Options::default()).with_context(place)?);
    }
    Ok(fixtures)
}

/// Reads one area: conversations in the order of the file, `each` already multiplied out.
pub fn parse_area(area: &str, text: &str, fixtures: &Fixtures) -> Result<Vec<Conversation>> {
    let mut all: Vec<Conversation> = Vec::new();
    let mut block: Vec<(usize, String)> = Vec::new();
    for (number, line) in lines(text) {
        if line.starts_with("== ") && !block.is_empty() {
            all.extend(parse_block(area, &std::mem::take(&mut block), fixtures)?);
        }
        if block.is_empty() && !line.starts_with("== ") {
            bail!("line {number}: `{line}` stands before the first `== name`");
        }
        block.push((number, line));
    }
    all.extend(parse_block(area, &block, fixtures)?);
    let mut names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two conversations are called `{}`", twice[0]);
    }
    Ok(all)
}

/// Lines with their numbers, without comments and empty ones; a line that starts with two blanks continues the one before.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        match out.last_mut() {
            Some((_, before)) if line.starts_with("  ") => {
                before.push(' ');
                before.push_str(line.trim());
            }
            _ => out.push((index + 1, line.trim_end().to_owned())),
        }
    }
    out
}

/// One `== name` and what follows it; several conversations when it has an `each`.
fn parse_block(area: &str, block: &[(usize, String)], fixtures: &Fixtures) -> Result<Vec<Conversation>> {
    let Some(((number, head), body)) = block.split_first() else { return Ok(Vec::new()) };
    let head = head.trim_start_matches("== ");
    let (name, kinds) = head.split_once(" : ").unwrap_or((head, ""));
    let kinds: Vec<String> = kinds.split_whitespace().map(str::to_owned).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !fixtures.contains_key(*kind)) {
        bail!("line {number}: there is no fixture `{unknown}`");
    }
    let each = body.iter().find_map(|(_, line)| line.strip_prefix("each "));
    let Some(each) = each else {
        return Ok(vec![parse_one(area, name.trim(), &kinds, body, fixtures, None)?]);
    };
    let (variable, values) =
        each.split_once(':').ok_or_else(|| anyhow!("line {number}: `each NAME: value :: value`"))?;
    let numbered = values.split(" :: ").enumerate();
    numbered
        .map(|(index, value)| {
            let name = format!("{}.{}", name.trim(), index + 1);
            parse_one(area, &name, &kinds, body, fixtures, Some((variable.trim(), value.trim())))
        })
        .collect()
}

fn parse_one(
    area: &str,
    name: &str,
    kinds: &[String],
    body: &[(usize, String)],
    fixtures: &Fixtures,
    each: Option<(&str, &str)>,
) -> Result<Conversation> {
    let mut conversation = Conversation {
        area: area.to_owned(),
        name: name.to_owned(),
        server: ServerKind::Dev,
        steps: Vec::new(),
        after: Vec::new(),
    };
    for fixture in kinds.iter().filter_map(|kind| fixtures.get(kind)) {
        conversation.steps.extend(fixture.before.iter().cloned());
        conversation.after.extend(fixture.after.iter().cloned());
    }
    let mut defaults = Options::default();
    let mut count = 0;
    for (number, line) in body {
        let line = match each {
            Some((variable, value)) => replace_name(line, variable, value),
            None => line.clone(),
        };
        let place = || format!("line {number}: {line}");
        if line.starts_with("each ") {
        } else if let Some(kind) = line.strip_prefix("@server ") {
            conversation.server = parse_server(kind.trim()).with_context(place)?;
        } else if let Some(options) = line.strip_prefix("with") {
            defaults = parse_options(options, &Options::default()).with_context(place)?.0;
        } else if let Some(rest) = line.strip_prefix("policy ") {
            let (steps, cleaning) = ordinary_token(rest, &mut count).with_context(place)?;
            conversation.steps.extend(steps);
            conversation.after.push(cleaning);
        } else if let Some(rest) = line.strip_prefix("after ") {
            let id = format!("after.{}", conversation.after.len() + 1);
            conversation.after.push(parse_step(rest, id, &Options::default()).with_context(place)?);
        } else {
            count += 1;
            conversation.steps.push(parse_step(&line, count.to_string(), &defaults).with_context(place)?);
        }
    }
    Ok(conversation)
}

fn parse_server(kind: &str) -> Result<ServerKind> {
    Ok(match kind {
        "dev" => ServerKind::Dev,
        "bare" => ServerKind::Bare,
        "ready" => ServerKind::Ready,
        "disk" => ServerKind::Disk,
        _ => bail!("there is no server `{kind}`: dev, bare, ready or disk"),
    })
}

/// `policy T path ...`: writes the policy `$ME-t` and makes the token `$T` that has it; the policy goes at the end.
fn ordinary_token(rest: &str, count: &mut usize) -> Result<(Vec<Step>, Step)> {
    let (name, policy) = rest.split_once(' ').ok_or_else(|| anyhow!("`policy NAME path ...`"))?;
    let policy_name = format!("$ME-{}", name.to_lowercase());
    let body = serde_json::json!({ "policy": policy }).to_string();
    let token = serde_json::json!({ "policies": [policy_name], "ttl": "1h" }).to_string();
    let mut step = |line: String| {
        *count += 1;
        parse_step(&line, count.to_string(), &Options::default())
    };
    let steps = vec![
        step(format!("POST sys/policies/acl/{policy_name} {body}"))?,
        step(format!(
            "POST auth/token/create {token} | > {name} = auth.client_token | > {name}_ACCESSOR = auth.accessor"
        ))?,
    ];
    let cleaning =
        parse_step(&format!("DELETE sys/policies/acl/{policy_name}"), format!("after.{name}"), &Options::default())?;
    Ok((steps, cleaning))
}

/// Reads one step line.
fn parse_step(line: &str, id: String, defaults: &Options) -> Result<Step> {
    let (verb, rest) = line.split_once(' ').ok_or_else(|| anyhow!("a step is `VERB path`"))?;
    let (act, tail) = match verb {
        "WAIT" => (Act::Wait(rest.trim().parse().context("`WAIT seconds`")?), ""),
        "SQL" => {
            let (sql, tail) = split_at_options(rest);
            (Act::Sql(sql.to_owned()), tail)
        }
        "BAO" => {
            let (command, tail) = split_at_options(rest);
            (Act::Cli(command.to_owned()), tail)
        }
        _ if verb.chars().all(|c| c.is_ascii_uppercase()) => parse_request(verb, rest)?,
        _ => bail!("`{verb}` is no verb"),
    };
    let (options, captures) = parse_options(tail, defaults)?;
    Ok(Step { id, act, options, captures })
}

/// `path [json | raw text] [| options]`.
fn parse_request<'a>(verb: &str, rest: &'a str) -> Result<(Act, &'a str)> {
    let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (body, tail) = if rest == "raw" || rest.starts_with("raw ") {
        let (raw, tail) = split_at_options(&rest["raw".len()..]);
        (Some(raw.trim_start().to_owned()), tail)
    } else if rest.is_empty() || rest.starts_with("| ") {
        (None, rest)
    } else {
        let end = json_end(rest)
            .with_context(|| format!("the body of {verb} {path} is not JSON (say `raw` if that is meant)"))?;
        (Some(rest[..end].trim_end().to_owned()), rest[end..].trim_start())
    };
    Ok((Act::Http { method: verb.to_owned(), path: path.to_owned(), body }, tail))
}

/// Where the JSON value at the start of `text` ends. Bare `$NAME`s count as values.
fn json_end(text: &str) -> Result<usize> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth = depth.checked_sub(1).ok_or_else(|| anyhow!("a closing bracket too many"))?;
                if depth == 0 {
                    return Ok(at + c.len_utf8());
                }
            }
            _ => {}
        }
    }
    bail!("a bracket or a quotation mark is not closed")
}

/// Splits before the first ` | `.
fn split_at_options(text: &str) -> (&str, &str) {
    match text.find(" | ") {
        Some(at) => (text[..at].trim_end(), &text[at + 1..]),
        None => (text.trim_end(), ""),
    }
}

/// `| as $T | ns x/ | > NAME = path`, on top of the defaults.
fn parse_options(text: &str, defaults: &Options) -> Result<(Options, Vec<Capture>)> {
    let mut options = defaults.clone();
    let mut captures = Vec::new();
    let text = text.trim();
    if text.is_empty() {
        return Ok((options, captures));
    }
    let text = text.strip_prefix('|').ok_or_else(|| anyhow!("`{text}` is no option: options start with ` | `"))?;
    for option in text.split(" | ") {
        let (word, rest) = option.trim().split_once(' ').unwrap_or((option.trim(), ""));
        let rest = rest.trim();
        match word {
            ">" => captures.push(parse_capture(rest)?),
            "as" => options.token = Some(rest.to_owned()),
            "ns" => options.namespace = Some(rest.to_owned()),
            "wrap" => options.headers.push(("X-Vault-Wrap-TTL".into(), rest.to_owned())),
            "h" => {
                let (name, value) = rest.split_once(':').ok_or_else(|| anyhow!("`h Name: value`"))?;
                options.headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            "until" => {
                options.until = Some(match rest.split_once('=') {
                    Some((path, value)) => Until::Value(path.to_owned(), value.to_owned()),
                    None => Until::Status(rest.parse().context("`until STATUS` or `until path=value`")?),
                });
            }
            "shape" => options.compare = Compare::Shape,
            "top" => options.compare = Compare::Top,
            "status" => options.compare = Compare::Status,
            "nothing" => options.compare = Compare::Nothing,
            "loose" => options.loose.extend(rest.split(',').map(|path| path.trim().to_owned())),
            "exact" if rest == "errors" => options.exact_errors = true,
            "unordered" => options.unordered = true,
            "stdin" => options.stdin = Some(rest.to_owned()),
            _ => bail!("there is no option `{}`", option.trim()),
        }
    }
    Ok((options, captures))
}

fn parse_capture(text: &str) -> Result<Capture> {
    let (name, from) = text.split_once('=').ok_or_else(|| anyhow!("`> NAME = path`"))?;
    let name = name.trim().to_owned();
    if name.is_empty() || !name.chars().all(is_name_char) {
        bail!("`{name}` is no name for a value: capital letters, digits, `_`");
    }
    Ok(Capture { name, from: from.trim().to_owned() })
}

/// May stand in a `$NAME`.
pub fn is_name_char(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// Replaces `$NAME` (and not `$NAME2`) by a value.
fn replace_name(text: &str, name: &str, value: &str) -> String {
    substitute(text, |found| (found == name).then(|| value.to_owned()))
}

/// Replaces each `$NAME` that `known` knows; leaves the others as they are.
pub fn substitute(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let length = after.find(|c| !is_name_char(c)).unwrap_or(after.len());
        match known(&after[..length]) {
            Some(value) if length > 0 => out.push_str(&value),
            _ => out.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
