//! From nodes to a name.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Command, Function, Inputs, Node, Operand, TemplateError, harmless, layout};

/// No name, and no part of one on the way, is longer.
const LONGEST: usize = 10_000;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

pub(super) fn template(nodes: &[Node], mut inputs: Inputs<'_>) -> Result<String, TemplateError> {
    let mut name = String::new();
    for node in nodes {
        match node {
            Node::Text(text) => name.push_str(text),
            Node::Action(pipeline) => name.push_str(&run(pipeline, &mut inputs)?.text()),
        }
        if name.len() > LONGEST {
            return Err(TemplateError("it makes a name of more than 10,000 bytes".into()));
        }
    }
    Ok(name)
}

#[derive(Clone)]
enum Value {
    Text(String),
    Number(i64),
}

impl Value {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

fn run(pipeline: &[Command], inputs: &mut Inputs<'_>) -> Result<Value, TemplateError> {
    let mut before: Option<Value> = None;
    for command in pipeline {
        let [first, rest @ ..] = command.as_slice() else { continue };
        before = Some(if let Operand::Function(function) = first {
            let mut arguments = rest.iter().map(|operand| value(operand, inputs)).collect::<Result<Vec<_>, _>>()?;
            arguments.extend(before);
            call(*function, &arguments, inputs)?
        } else if before.is_some() {
            return Err(TemplateError("only a function can stand behind |".into()));
        } else {
            value(first, inputs)?
        });
    }
    before.ok_or_else(|| TemplateError("a value is missing".into()))
}

fn value(operand: &Operand, inputs: &mut Inputs<'_>) -> Result<Value, TemplateError> {
    Ok(match operand {
        Operand::Text(text) => Value::Text(text.clone()),
        Operand::Number(number) => Value::Number(*number),
        Operand::DisplayName => Value::Text(harmless(inputs.display_name)),
        Operand::RoleName => Value::Text(harmless(inputs.role_name)),
        Operand::Function(function) => call(*function, &[], inputs)?,
        Operand::Group(pipeline) => run(pipeline, inputs)?,
    })
}

fn call(function: Function, arguments: &[Value], inputs: &mut Inputs<'_>) -> Result<Value, TemplateError> {
    use Function as F;
    let wrong = || TemplateError(format!("{function:?} has arguments of the wrong number or type").to_lowercase());
    let text = match (function, arguments) {
        (F::Random, [Value::Number(length)]) => random(*length, inputs)?,
        (F::Truncate, [Value::Number(length), Value::Text(text)]) => cut(text, at_least(*length, 1, "truncate")?),
        (F::TruncateSha256, [Value::Number(length), Value::Text(text)]) => {
            let length = at_least(*length, 9, "truncate_sha256")?;
            if text.chars().count() <= length {
                text.clone()
            } else {
                // The hash is of what is cut off.
                let kept = cut(text, length - 8);
                let hash: String = sha256(text.get(kept.len()..).unwrap_or_default()).chars().take(8).collect();
                kept + &hash
            }
        }
        (F::Uppercase, [Value::Text(text)]) => text.to_uppercase(),
        (F::Lowercase, [Value::Text(text)]) => text.to_lowercase(),
        (F::Replace, [Value::Text(from), Value::Text(to), Value::Text(text)]) => text.replace(from.as_str(), to),
        (F::Sha256, [Value::Text(text)]) => sha256(text),
        (F::Base64, [Value::Text(text)]) => STANDARD.encode(text),
        (F::UnixTime, []) => inputs.now.seconds().to_string(),
        (F::UnixTimeMillis, []) => inputs.now.0.to_string(),
        (F::Timestamp, [Value::Text(form)]) => layout::format(form, inputs.now),
        (F::Uuid, []) => uuid(inputs),
        (F::Print, values) => values.iter().cloned().map(Value::text).collect(),
        (F::Printf, [Value::Text(form), values @ ..]) => printf(form, values)?,
        _ => return Err(wrong()),
    };
    if text.len() > LONGEST {
        return Err(TemplateError("it makes a text of more than 10,000 bytes".into()));
    }
    Ok(Value::Text(text))
}

fn at_least(number: i64, least: usize, function: &str) -> Result<usize, TemplateError> {
    let number = usize::try_from(number).unwrap_or(0);
    if number < least {
        return Err(TemplateError(format!("{function}: max length must be > {} but was {number}", least - 1)));
    }
    Ok(number)
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

fn sha256(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()))
}

fn random(length: i64, inputs: &mut Inputs<'_>) -> Result<String, TemplateError> {
    let length = usize::try_from(length).ok().filter(|length| (1..=1000).contains(length));
    let length = length.ok_or_else(|| TemplateError("random: the length must be from 1 to 1000".into()))?;
    let mut text = String::with_capacity(length);
    let mut buffer = [0u8; 64];
    while text.len() < length {
        (inputs.random)(&mut buffer);
        // 248 = 4 x 62: what lies beyond is thrown away, so that each character is equally likely.
        let fair = buffer.iter().filter(|byte| **byte < 248).filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        text.extend(fair.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

fn uuid(inputs: &mut Inputs<'_>) -> String {
    let mut bytes = [0u8; 16];
    (inputs.random)(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Go's `printf` with `%s`, `%v`, `%d`, `%q`, `%%`, a width and the flag `-`.
fn printf(form: &str, values: &[Value]) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = form.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let left = chars.next_if_eq(&'-').is_some();
        let mut width = 0usize;
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            width = (width * 10 + digit as usize).min(LONGEST);
            chars.next();
        }
        let verb = chars.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| TemplateError("printf: there are fewer values than verbs".into()))?;
        let shown = match (verb, value) {
            (Some('s'), Value::Text(text)) => text.clone(),
            (Some('d'), Value::Number(number)) => number.to_string(),
            (Some('v'), value) => value.clone().text(),
            (Some('q'), Value::Text(text)) => format!("{text:?}"),
            _ => {
                return Err(TemplateError(
                    "printf: use %s, %v and %q for texts, %d and %v for numbers, %% for %".into(),
                ));
            }
        };
        out.push_str(&if left { format!("{shown:<width$}") } else { format!("{shown:>width$}") });
    }
    match values.next() {
        Some(_) => Err(TemplateError("printf: there are more values than verbs".into())),
        None => Ok(out),
    }
}
