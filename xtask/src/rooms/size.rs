//! How large things may grow.

use super::Finding;
use super::exceptions::Exceptions;
use super::scan::{Source, top_level, words};

const FILE_WARNS: usize = 400;
const FILE_STOPS: usize = 600;
const FUNCTION_WARNS: usize = 60;
const TRAIT_METHODS: usize = 6;
const STRUCT_FIELDS: usize = 12;

/// Checks one file.
pub fn check(source: &Source, exceptions: &mut Exceptions) -> Vec<Finding> {
    let mut findings: Vec<Finding> = file(source, exceptions).into_iter().collect();
    findings.extend(functions(source, exceptions));
    findings.extend(traits(source, exceptions));
    if !mirrors_the_api(&source.name) {
        findings.extend(structs(source, exceptions));
    }
    findings
}

/// Derives of structs whose fields are dictated from outside: requests of a route, flags of a command.
const DICTATED: &[&str] = &["JsonSchema", "Args", "Parser"];

/// Requests and replies have as many fields as the API gives them. They live in files that say so, or in the crate of
/// shapes; requests of routes are known by their derive, too.
fn mirrors_the_api(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    name.starts_with("crates/api/") || file.contains("wire") || file.contains("api")
}

fn file(source: &Source, exceptions: &mut Exceptions) -> Option<Finding> {
    let lines = source.lines;
    if lines <= FILE_WARNS || exceptions.allow("lines", &source.name) {
        return None;
    }
    let todo = "split it by idea; tests over 100 lines go to a file of their own";
    let what = format!("{lines} lines");
    if lines > FILE_STOPS {
        return Some(Finding::stop(&source.name, format!("{what}: {FILE_STOPS} are the stop"), todo));
    }
    Some(Finding::warn(&source.name, format!("{what}: above {FILE_WARNS} it is large"), todo))
}

fn functions(source: &Source, exceptions: &mut Exceptions) -> Vec<Finding> {
    let long = source.blocks("fn").into_iter().filter(|block| block.lines > FUNCTION_WARNS);
    let long = long.filter(|block| !exceptions.allow("function", &format!("{}::{}", source.name, block.name)));
    long.map(|block| {
        let what = format!("function {} has {} lines: above {FUNCTION_WARNS} it is long", block.name, block.lines);
        Finding::warn(format!("{}:{}", source.name, block.line), what, "give its parts names of their own")
    })
    .collect()
}

fn traits(source: &Source, exceptions: &mut Exceptions) -> Vec<Finding> {
    let methods = |body: &str| words(&top_level(body)).filter(|(_, word)| *word == "fn").count();
    let wide = source.blocks("trait").into_iter().map(|block| (methods(block.body), block));
    let wide = wide.filter(|(count, block)| {
        *count > TRAIT_METHODS && is_public(source, block.line) && !exceptions.allow("trait", block.name)
    });
    wide.map(|(count, block)| {
        let what = format!("trait {} has {count} methods: a joint has at most {TRAIT_METHODS}", block.name);
        Finding::stop(
            format!("{}:{}", source.name, block.line),
            what,
            "split it, or let free functions do what it need not",
        )
    })
    .collect()
}

fn is_public(source: &Source, line: usize) -> bool {
    let line = source.code.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    words(line).next().is_some_and(|(_, word)| word == "pub") && !line.trim_start().starts_with("pub(")
}

fn structs(source: &Source, exceptions: &mut Exceptions) -> Vec<Finding> {
    // At the top level of a struct a colon stands once in every field; paths have theirs in pairs.
    let fields = |body: &str| top_level(body).replace("::", "").matches(':').count();
    let wide = source.blocks("struct").into_iter().map(|block| (fields(block.body), block));
    let is_dictated = |before: &str| words(before).any(|(_, word)| DICTATED.contains(&word));
    let wide = wide.filter(|(count, block)| *count > STRUCT_FIELDS && !is_dictated(block.before));
    let wide = wide.filter(|(_, block)| !exceptions.allow("struct", block.name));
    wide.map(|(count, block)| {
        let what = format!("struct {} has {count} fields: at most {STRUCT_FIELDS}", block.name);
        let todo =
            "group the fields that belong together; a mirror of the API belongs in a file named after `wire` or `api`";
        Finding::stop(format!("{}:{}", source.name, block.line), what, todo)
    })
    .collect()
}
