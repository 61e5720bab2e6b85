use dewdrop_core::Moment;
use proptest::prelude::*;

use super::*;

fn made(template: &str) -> String {
    named(template, "token-my app", "reader")
}

fn named(template: &str, display_name: &str, role_name: &str) -> String {
    let mut next = 0u8;
    let mut random = |buffer: &mut [u8]| {
        for byte in buffer {
            next = next.wrapping_add(1);
            *byte = next;
        }
    };
    let inputs = Inputs { display_name, role_name, now: Moment(1_795_492_134_654), random: &mut random };
    Template::parse(template).expect(template).fill(inputs).expect(template)
}

fn refused(template: &str) -> String {
    Template::parse(template).expect_err(template).to_string()
}

#[test]
fn the_default_has_the_documented_shape() {
    assert_eq!(made(""), "v-token-my-reader-BCDEFGHIJKLMNOPQRSTU-1795492134");
    assert_eq!(named("", "a-very-long-display", "a-very-long-role").len(), 2 + 8 + 1 + 8 + 1 + 20 + 1 + 10);
}

/// What the oracle made of the same templates.
#[test]
fn functions_answer_as_the_oracle_does() {
    for (template, name) in [
        ("{{.RoleName | uppercase}}", "READER"),
        ("{{.RoleName | base64}}", "cmVhZGVy"),
        (r#"{{"abcdefghijklmnopqrstuvwxyz" | truncate_sha256 12}}"#, "abcdf254ee24"),
        (r#"{{replace "e" "u" .RoleName}}"#, "ruadur"),
        ("{{unix_time_millis}}", "1795492134654"),
        (r#"{{timestamp "2006-01-02T15:04:05Z07:00"}}"#, "2026-11-24T03:48:54Z"),
        (r#"{{timestamp "Jan _2 06 3:04PM Mon"}}"#, "Nov 24 26 3:48AM Tue"),
        (r#"{{printf "%q-%d-%5s|%-5s|%%" .RoleName 5 "a" "b"}}"#, r#""reader"-5-    a|b    |%"#),
        ("{{- .RoleName -}}  x", "readerx"),
        ("{{/* c */}}x", "x"),
        (r#"{{.RoleName | printf "%s-%s" "a"}}"#, "a-reader"),
        ("{{`raw`}}-{{print \"a\" \"b\" 1}}", "raw-ab1"),
        (r#"{{"\u00e9"}}"#, "é"),
        ("{{random 4}}", "BCDE"),
        ("{{(.RoleName | truncate 3) | uppercase}}", "REA"),
    ] {
        assert_eq!(made(template), name, "{template}");
    }
    assert_eq!(made("{{uuid}}").len(), 36);
    assert!(refused("{{.RoleName | truncate_sha256 8}}").contains("max length must be > 8"));
    assert!(refused("{{truncate 0 \"x\"}}").contains("max length must be > 0"));
}

#[test]
fn what_is_not_known_is_refused() {
    for (template, told) in [
        ("{{bad", "function not defined"),
        ("{{.Nope}}", "there is no such field"),
        ("{{if .RoleName}}x{{end}}", "function not defined"),
        ("{{$x := 1}}", "not understood"),
        ("{{random \"x\"}}", "wrong number or type"),
        ("{{random 0}}", "from 1 to 1000"),
        ("{{random 1001}}", "from 1 to 1000"),
        ("{{random 99999999999999999999}}", "a number must be whole"),
        ("{{printf \"%s\"}}", "fewer values"),
        ("{{printf \"a\" 1}}", "more values"),
        ("{{\"a\"", "expected }}"),
        ("{{}}", "a value is missing"),
        ("{{\"a}}", "not closed"),
        ("{{\"a\\nb\"}}", "control characters"),
        ("{{uppercase random 3}}", "needs parentheses"),
    ] {
        assert!(refused(template).contains(told), "{template}: {}", refused(template));
    }
    assert!(refused(&format!("{{{{{}1{}}}}}", "(".repeat(500), ")".repeat(500))).contains("nested"));
    assert!(refused(&"x".repeat(5000)).contains("longer"));
}

#[test]
fn foreign_text_loses_what_sql_could_read() {
    assert_eq!(named("{{.DisplayName}}", "a\"; DROP ROLE x; --'$$\\\0", "r"), "a__ DROP ROLE x_ --_____");
    assert_eq!(named("{{.DisplayName}}", "žluťoučký kůň@firma.cz", "r"), "žluťoučký kůň@firma.cz");
}

#[test]
fn names_are_cut_where_the_target_would() {
    let name = named("{{.DisplayName}}{{random 100}}", &"é".repeat(31), "r");
    assert_eq!(name.len(), 63);
    assert_eq!(named("{{.DisplayName}}", &"é".repeat(40), "r"), "é".repeat(31));
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(text in "[ -~\n{}é|()\"`]{0,60}") {
        let _ = Template::parse(&text);
        let _ = Template::parse(&format!("{{{{{text}}}}}"));
    }

    #[test]
    fn every_name_fits(display in ".{0,40}", role in ".{0,40}") {
        let name = named("{{.DisplayName}}-{{.RoleName}}-{{random 8}}", &display, &role);
        prop_assert!(name.len() <= LONGEST_NAME);
        prop_assert!(!name.contains(['"', '\'', '\\', '$', '\0', ';']));
    }
}
