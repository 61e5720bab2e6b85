//! The threat model names the test that shows each claim. Whoever renames or removes one hears of it here.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;

/// The page that names them.
const PAGE: &str = "docs/threat-model.md";
/// Where the scenes are.
const SCENES: &str = "xtask/src/e2e";
/// A page that names fewer has lost its marks.
const FEWEST: usize = 20;

/// Looks whether all that the page names is there.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let page = std::fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let scenes = scenes(&root.join(SCENES))?;
    let source = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_default();
    Ok(check_page(&page, &scenes, source))
}

fn check_page(page: &str, scenes: &BTreeSet<String>, source: impl Fn(&str) -> String) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = 0;
    for (number, line) in page.lines().enumerate() {
        let place = || format!("{PAGE}:{}", number + 1);
        for mark in line.split('`').skip(1).step_by(2) {
            let there = if let Some(name) = mark.strip_prefix("scene: ") {
                name == "name" || scenes.contains(name)
            } else if let Some((file, function)) = mark.split_once(".rs#") {
                is_test(&source(&format!("{file}.rs")), function)
            } else {
                continue;
            };
            named += 1;
            if !there {
                let what = format!("there is no `{mark}`");
                findings.push(Finding::stop(
                    place(),
                    what,
                    "name the test that shows the claim now, or change the claim",
                ));
            }
        }
    }
    if named < FEWEST {
        let what = format!("only {named} tests and scenes are named");
        findings.push(Finding::stop(
            PAGE,
            what,
            "name them as `file.rs#function` and `scene: name`, each within one line",
        ));
    }
    findings
}

/// Whether the function is there, with a mark of a test above it.
fn is_test(source: &str, function: &str) -> bool {
    let head = format!("fn {function}(");
    let lines: Vec<&str> = source.lines().collect();
    lines.iter().enumerate().filter(|(_, line)| line.contains(&head)).any(|(at, _)| {
        let above = lines.iter().take(at).rev().map(|line| line.trim());
        above
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

/// The names of all scenes: rows `("name", function),` of the lists.
fn scenes(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path)?;
            todo.extend(entries.flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path)?;
            names.extend(rows(&text));
        }
    }
    Ok(names)
}

/// A row may be broken into lines.
fn rows(text: &str) -> Vec<String> {
    let lists = text.split("&[Scene] =").skip(1).map(|rest| rest.split("];").next().unwrap_or_default());
    let names = lists.flat_map(|list| {
        list.split('(').skip(1).filter_map(|row| row.trim_start().strip_prefix('"')?.split('"').next())
    });
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        let scenes = BTreeSet::from(["a pod ends".to_owned()]);
        let source = |file: &str| {
            match file {
            "a/t.rs" => "#[test]\nfn it_holds() {}\n\n#[tokio::test(start_paused = true)]\n#[cfg(unix)]\nasync fn it_waits() {}\n\nfn helper() {}\n".to_owned(),
            _ => String::new(),
        }
        };
        let filled = format!("{page}\n{}", "`a/t.rs#it_holds`\n".repeat(FEWEST));
        check_page(&filled, &scenes, source).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_is_there_may_be_named() {
        assert!(found("| x | `scene: a pod ends`, `a/t.rs#it_waits` | `--flag` |").is_empty());
    }

    #[test]
    fn what_is_not_there_stops() {
        for gone in ["scene: a pod begins", "a/t.rs#it_held", "b/t.rs#it_holds", "a/t.rs#helper", "a/t.rs#it"] {
            assert_eq!(found(&format!("see `{gone}`")), [format!("there is no `{gone}`")]);
        }
    }

    #[test]
    fn a_page_without_marks_stops() {
        assert_eq!(check_page("all is well", &BTreeSet::new(), |_| String::new()).len(), 1);
    }

    #[test]
    fn rows_of_scenes_are_read() {
        let text =
            "pub const ALL: &[Scene] = &[(\"one: two, three\", one), (\n \"four\",\n four,\n)];\nf((\"no\", x));";
        assert_eq!(rows(text), ["one: two, three", "four"]);
    }

    #[test]
    fn the_page_names_only_what_is_there() {
        let findings = check(&crate::parts::repo_root()).expect("check");
        assert!(findings.is_empty(), "{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}
