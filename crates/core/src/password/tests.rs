use proptest::prelude::*;

use super::*;

/// A small generator with a seed: tests must be repeatable.
fn dice(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |buffer| {
        for byte in buffer {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        }
    }
}

fn refused(text: &str) -> PolicyError {
    PasswordPolicy::parse(text).expect_err(text)
}

#[test]
fn the_default_has_one_of_each() {
    for seed in 0..500 {
        let password = PasswordPolicy::default().generate(&mut dice(seed));
        let password = password.expose();
        assert_eq!(password.len(), 20);
        for wanted in [char::is_lowercase, char::is_uppercase, char::is_numeric, |c| c == '-'] {
            assert!(password.contains(wanted), "{password}");
        }
    }
}

#[test]
fn one_line_rules_comments_and_json_are_read() {
    let hcl = "# about\nlength = 10 // ten\nrule \"charset\" { charset = \"ab\\\"\" min-chars = 2 }\n/* x */ foo = [1, \"2\"]\n";
    let json = r#"{"length": 10, "rule": [{"charset": {"charset": "ab\"", "min-chars": 2}}]}"#;
    assert_eq!(PasswordPolicy::parse(hcl), PasswordPolicy::parse(json));
    let one = r#"{"length": 10, "rule": {"charset": {"charset": "ab\"", "min-chars": 2}}}"#;
    assert_eq!(PasswordPolicy::parse(json), PasswordPolicy::parse(one));
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let rule = "rule \"charset\" { charset = \"abc\" }";
    assert_eq!(refused(&format!("length = 3\n{rule}")), PolicyError::LengthOutOfRange);
    assert_eq!(refused(&format!("length = 101\n{rule}")), PolicyError::LengthOutOfRange);
    assert_eq!(refused(&format!("length = 0\n{rule}")), PolicyError::NoLength);
    assert_eq!(refused(rule), PolicyError::NoLength);
    assert_eq!(refused("length = 10"), PolicyError::NoCharset);
    assert_eq!(refused("length = 10\nrule \"charset\" { charset = \"\" }"), PolicyError::NoCharset);
    assert_eq!(refused("length = 10\nrule \"charset\" { charset = \"a\\n\" }"), PolicyError::NotPrintable);
    assert_eq!(refused("length = 10\nrule \"other\" { }"), PolicyError::UnknownRule);
    assert_eq!(refused(&format!("length = \"10\"\n{rule}")), PolicyError::WrongType("length", "a number"));
    let both = "length = 10\nrule \"charset\" { charset = \"a\" min-chars = 6 }\nrule \"charset\" { charset = \"b\" min-chars = 6 }";
    assert_eq!(refused(both), PolicyError::TooLittleRoom { need: 12, length: 10 });
    assert!(matches!(refused("length = 10\n\ngarbage {{"), PolicyError::Syntax { line: 3, .. }));
    assert!(matches!(refused("length = 10\nrule \"charset { }"), PolicyError::Syntax { line: 2, .. }));
}

#[test]
fn rules_that_chance_hardly_meets_are_built() {
    let text = "length = 100\nrule \"charset\" { charset = \"abcdefghijklmnopqrstuvwxyz\" min-chars = 90 }\nrule \"charset\" { charset = \"0123456789\" min-chars = 10 }";
    let password = PasswordPolicy::parse(text).expect("possible").generate(&mut dice(7));
    assert_eq!(password.expose().chars().filter(char::is_ascii_digit).count(), 10);
    assert_ne!(password.expose().chars().take(90).filter(char::is_ascii_digit).count(), 0, "not shuffled");
}

#[test]
fn no_character_is_likelier_than_another() {
    let policy = PasswordPolicy::parse("length = 100\nrule \"charset\" { charset = \"abcdefg\" }").expect("possible");
    let mut counts = std::collections::BTreeMap::new();
    let mut dice = dice(1);
    for _ in 0..1000 {
        for c in policy.generate(&mut dice).expose().chars() {
            *counts.entry(c).or_insert(0u32) += 1;
        }
    }
    assert_eq!(counts.len(), 7);
    // 100,000 / 7 = 14,286 with a deviation of 111: six deviations.
    assert!(counts.values().all(|n| n.abs_diff(14_286) < 670), "{counts:?}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n\\\\\"{}=é]{0,80}") {
        let _ = PasswordPolicy::parse(&text);
        let _ = PasswordPolicy::parse(&format!("length = 8\nrule \"charset\" {{ {text} }}"));
    }

    #[test]
    fn every_password_keeps_its_policy(length in 4usize..=100, min in 0usize..=4, seed: u64) {
        let text = format!("length = {length}\nrule \"charset\" {{ charset = \"xyzé\" min-chars = {min} }}\nrule \"charset\" {{ charset = \"01\" }}");
        let password = PasswordPolicy::parse(&text).expect("possible").generate(&mut dice(seed));
        prop_assert_eq!(password.expose().chars().count(), length);
        prop_assert!(password.expose().chars().filter(|c| "xyzé".contains(*c)).count() >= min);
        prop_assert!(password.expose().chars().all(|c| "xyzé01".contains(c)));
    }
}
