//! `golden.tsv` holds what `sys/capabilities` of `bao` 2.7.2 answered: rules (`path=capability+capability`), path, answer.

use super::{NOW, set};

#[test]
fn capabilities_are_those_of_the_oracle() {
    let mut cases = 0;
    for line in include_str!("golden.tsv").lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap();
        let (rules, path, expected) = (column(), column(), column());
        let stanza = |rule: &str| {
            let (path, capabilities) = rule.rsplit_once('=').unwrap();
            let split = if rule.ends_with('=') { None } else { Some(capabilities.split('+')) };
            let names: Vec<String> = split.into_iter().flatten().map(|name| format!("{name:?}")).collect();
            format!("path {path:?} {{ capabilities = [{}] }}\n", names.join(","))
        };
        let text: String = rules.split(' ').map(stanza).collect();
        assert_eq!(set(&[&text]).capabilities(path, NOW).join(","), expected, "{rules} on {path}");
        cases += 1;
    }
    assert!(cases > 400, "the table was read");
}
