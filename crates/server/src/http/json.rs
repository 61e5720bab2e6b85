//! A look at a JSON body before it is parsed: a few bytes can stand for much memory.

use crate::config::JsonLimits;

/// How deep a body may nest; serde_json stops at 128 too.
const MAX_DEPTH: u32 = 100;
/// What a value takes at least when it is parsed, in bytes.
const VALUE_BYTES: u64 = 32;

/// Why a body is refused, in the words of OpenBao.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooComplex {
    /// Too many keys and strings.
    #[error("refused JSON input due to high complexity: exceeded maximum number of strings")]
    Strings,
    /// It would take too much memory.
    #[error("refused JSON input due to high complexity: exceeded maximum memory")]
    Memory,
    /// It nests too deep.
    #[error("failed to decode JSON input: exceeded max depth")]
    Depth,
}

/// Counts strings, values and depth in one pass. Whether the body is JSON at all is left to the parser.
///
/// # Errors
/// The first limit that is passed.
pub fn check(body: &[u8], limits: JsonLimits) -> Result<(), TooComplex> {
    let (mut strings, mut values, mut depth, mut deepest) = (0u64, 1u64, 0u32, 0u32);
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            b'"' => {
                strings += 1;
                at = end_of_string(body, at);
            }
            b'{' | b'[' => {
                values += 1;
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if deepest > MAX_DEPTH {
            return Err(TooComplex::Depth);
        }
        if limits.strings.is_some_and(|most| strings > most) {
            return Err(TooComplex::Strings);
        }
    }
    let memory = (body.len() as u64).saturating_add((values + strings).saturating_mul(VALUE_BYTES));
    if limits.memory.is_some_and(|most| memory > most) {
        return Err(TooComplex::Memory);
    }
    Ok(())
}

/// The place after the closing quote.
fn end_of_string(body: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => break,
            _ => {}
        }
    }
    at
}
