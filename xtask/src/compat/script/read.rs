//! Reads the text of conversation files. Every mistake is an error with its line: a step that is silently not played
//! would look like a step that is equal.

use anyhow::{Context, Result, anyhow, bail};

use super::{
    Act, Capture, Compare, Conversation, Fixture, Fixtures, Options, ServerKind, Step, Until, is_name_char,
    replace_name,
};

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
        "tls" => ServerKind::Tls,
        _ => bail!("there is no server `{kind}`: dev, bare, ready, disk or tls"),
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
