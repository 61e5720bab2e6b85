use super::{Item, MAX_DEPTH, MAX_TEXT, Node, Value, parse};

fn keys(text: &str) -> Vec<(Vec<String>, u32)> {
    parse(text).unwrap().0.into_iter().map(|item| (item.keys, item.line)).collect()
}

fn only(text: &str) -> Value {
    let (mut items, _) = parse(text).unwrap();
    assert_eq!(items.len(), 1);
    items.pop().unwrap().value.value
}

#[test]
fn several_items_on_a_line_comments_and_commas() {
    let text = "a = 1 b = \"x\", c \"l\" { } // end\n# more\n/* and\nmore */ \"d\" \"l\" { x = [1, true, \"s\",] }\n";
    let expected = [(vec!["a"], 1), (vec!["b"], 1), (vec!["c", "l"], 1), (vec!["d", "l"], 4)];
    let expected: Vec<(Vec<String>, u32)> =
        expected.into_iter().map(|(keys, line)| (keys.into_iter().map(String::from).collect(), line)).collect();
    assert_eq!(keys(text), expected);
}

#[test]
fn strings_know_the_escapes() {
    assert_eq!(
        only(r#"a = "q\"\\\n\t\u00e9\U0001F600\x41\101${b}{{c}}é""#),
        Value::Text("q\"\\\n\té😀AA${b}{{c}}é".into())
    );
    assert_eq!(only(r#"{"a": "\/\ud83d\ude00\u00e9"}"#), Value::Text("/😀é".into()));
    for bad in
        [r#"a = "\q""#, r#"a = "\u12""#, r#"a = "\xff""#, r#"a = "\ud800""#, "a = \"x\ny\"", "a = \"x", r#"a = "\"#]
    {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn heredocs() {
    assert_eq!(only("a = <<EOT\n x\ny\nEOT\n"), Value::Text(" x\ny\n".into()));
    assert_eq!(only("a = <<-EOT\n  x\n    y\n\n  EOT\n"), Value::Text("x\n  y\n\n".into()));
    assert_eq!(keys("a = <<E\nx\nE\nb = 1")[1].1, 4);
    assert_eq!(parse("a = <<EOT\nx\n").unwrap_err().line, 1);
    assert!(parse("a = <<").is_err());
}

#[test]
fn numbers() {
    for good in ["1", "-1", "1.5", "0x1F", "1e5", "1e+5", "-0"] {
        assert_eq!(only(&format!("a = {good}")), Value::Number(good.into()), "{good}");
    }
    for bad in ["1x", "-", "0x", "1.2.3", "1e", "--1"] {
        assert!(parse(&format!("a = {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn json_keeps_duplicates_and_lines() {
    let (items, json) = parse("{\n\"p\": {\"a\": 1,\n \"a\": null}}").unwrap();
    assert!(json);
    let Value::Object(inner) = &items[0].value.value else { panic!("an object") };
    let expected = [
        Item { keys: vec!["a".into()], value: Node { line: 2, value: Value::Number("1".into()) }, line: 2 },
        Item { keys: vec!["a".into()], value: Node { line: 3, value: Value::Null }, line: 3 },
    ];
    assert_eq!(inner[..], expected);
    assert_eq!(parse("{\n\"a\": }").unwrap_err().line, 2);
    assert!(parse("{} x").is_err());
}

#[test]
fn errors_name_the_line() {
    for (text, line, part) in [
        ("a = 1\nb", 2, "found the end of the text"),
        ("a {\n\n", 3, "brace of line 1 is not closed"),
        ("a = [1 2]", 1, "expected `,` or `]`"),
        ("a = [1,\n", 2, "the list of line 1 is not closed"),
        ("a : 1", 1, "unexpected character ':'"),
        ("a \"b\" = {}", 1, "no `=`"),
        ("a = b", 1, "double quotes"),
        ("\n/* x", 2, "comment is not closed"),
        ("}", 1, "expected a key"),
        ("a = 'x'", 1, "unexpected character '\\''"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.message.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn limits() {
    let deep = |n: usize| format!("a = {}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&deep(MAX_DEPTH)).is_ok());
    assert!(parse(&deep(MAX_DEPTH + 1)).unwrap_err().message.contains("nest"));
    assert!(parse(&"{\"a\":".repeat(100_000)).is_err());
    assert!(parse(&"a{".repeat(100_000)).is_err());
    assert!(parse(&" ".repeat(MAX_TEXT)).is_ok());
    assert!(parse(&" ".repeat(MAX_TEXT + 1)).is_err());
}
