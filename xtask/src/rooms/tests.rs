use super::map::{Package, check_map, check_tree};
use super::*;

fn source(name: &str, text: &str) -> Source {
    Source::new(name.to_owned(), text.to_owned())
}

fn sizes(name: &str, text: &str) -> Vec<String> {
    size::check(&source(name, text), &mut Exceptions::default())
        .into_iter()
        .map(|f| format!("{}: {}", f.place, f.what))
        .collect()
}

fn body(lines: usize) -> String {
    "    step();\n".repeat(lines)
}

#[test]
fn braces_in_strings_comments_and_characters_fool_nobody() {
    let text = r####"
fn a() { let s = "}{{"; let c = '{'; let q = '\''; let d = '"'; /* { /* } */ { */ }  // }
fn b<'a>(x: &'a str) -> [u8; 2] { let r = r#"{"{"#; let b = br"{{"; [0; 2] }
fn declared(x: [u8; 3]);
fn é() { let u = 'é'; let v = "\\"; }
"####;
    let source = source("x.rs", text);
    let names: Vec<(&str, usize, usize)> = source.blocks("fn").iter().map(|b| (b.name, b.line, b.lines)).collect();
    assert_eq!(names, [("a", 2, 1), ("b", 3, 1), ("é", 5, 1)]);
    assert!(!source.code.contains('"') || !source.code.contains("}{{"));
}

#[test]
fn long_functions_warn() {
    let text = format!("fn short() {{\n{}}}\n\nfn long() {{\n{}}}\n", body(58), body(59));
    assert_eq!(sizes("x.rs", &text), ["x.rs:62: function long has 61 lines: above 60 it is long"]);
}

#[test]
fn large_files_warn_and_larger_ones_stop() {
    let of = |lines: usize| size::check(&source("x.rs", &"\n".repeat(lines)), &mut Exceptions::default());
    assert_eq!(of(400), []);
    assert_eq!(of(401).iter().map(|f| f.stops).collect::<Vec<_>>(), [false]);
    assert_eq!(of(600).iter().map(|f| f.stops).collect::<Vec<_>>(), [false]);
    assert_eq!(of(601).iter().map(|f| f.stops).collect::<Vec<_>>(), [true]);
}

#[test]
fn public_traits_have_six_methods() {
    let method = "    /// Does: fn\n    fn m(&self) -> Result<(), E> { let f = || 1 < 2; f() }\n";
    let methods = |n: usize| method.repeat(n);
    assert_eq!(sizes("x.rs", &format!("pub trait T: Send {{\n{}}}", methods(6))), [""; 0]);
    assert_eq!(sizes("x.rs", &format!("trait T {{\n{}}}", methods(7))), [""; 0], "a private one may");
    assert_eq!(sizes("x.rs", &format!("pub(crate) trait T {{\n{}}}", methods(7))), [""; 0]);
    let found = sizes("x.rs", &format!("pub trait T {{\n{}}}", methods(7)));
    assert_eq!(found, ["x.rs:1: trait T has 7 methods: a joint has at most 6"]);
}

#[test]
fn structs_have_twelve_fields_unless_they_mirror_the_api() {
    let fields = |n: usize| {
        "    #[serde(default = \"a::b\")]\n    pub f: std::collections::BTreeMap<K, fn(A) -> B>,\n".repeat(n)
    };
    let text = |n| format!("struct Wide<T: Clone> where T: Send {{\n{}}}\nstruct Unit;\nstruct Pair(A, B);", fields(n));
    assert_eq!(sizes("x.rs", &text(12)), [""; 0]);
    assert_eq!(sizes("x.rs", &text(13)), ["x.rs:1: struct Wide has 13 fields: at most 12"]);
    for name in ["crates/api/src/x.rs", "crates/auth/src/approle/wire.rs", "crates/server/src/sys/mount_api.rs"] {
        assert_eq!(sizes(name, &text(13)), [""; 0], "{name}");
    }
    let request = format!("struct JsonSchema;\n#[derive(Debug, JsonSchema)]\npub {}", text(13));
    assert_eq!(sizes("x.rs", &request), [""; 0], "a route dictates it");
    let other = format!("#[derive(JsonSchema)]\nstruct Request {{}}\n{}", text(13));
    assert_eq!(sizes("x.rs", &other).len(), 1, "the derive of another struct says nothing");
}

#[test]
fn exceptions_have_a_reason_and_are_needed() {
    let mut exceptions = Exceptions::parse("# why\nlines x.rs  a flat table\nstruct Gone it was wide\n").unwrap();
    assert_eq!(size::check(&source("x.rs", &"\n".repeat(700)), &mut exceptions), []);
    let unused: Vec<String> = exceptions.unused().into_iter().map(|f| format!("{} {}", f.place, f.what)).collect();
    assert_eq!(unused, ["xtask/rooms.txt:3 nothing needs this exception: struct Gone"]);
    assert!(Exceptions::parse("lines x.rs").unwrap_err().to_string().contains("write RULE NAME REASON"));
    assert!(Exceptions::parse("size x.rs too large").unwrap_err().to_string().contains("no rule"));
}

fn coded(name: &str, text: &str) -> usize {
    words::check_code(&source(name, text), &mut Exceptions::default()).len()
}

#[test]
fn unsafe_has_one_room() {
    let text = "fn a() { unsafe { b() } }";
    assert_eq!(coded("crates/store/src/redb.rs", text), 1);
    assert_eq!(coded("crates/store/src/locked.rs", text), 0);
    assert_eq!(coded("crates/auth/src/lib.rs", "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";"), 0);
}

#[test]
fn core_knows_neither_socket_nor_clock() {
    assert_eq!(coded("crates/core/src/lease.rs", "use std::net::TcpStream; fn a() { Instant::now(); }"), 2);
    assert_eq!(coded("crates/core/src/lease.rs", "use std::net::IpAddr; use std::time::Instant;"), 0);
    assert_eq!(coded("crates/server/src/http.rs", "use std::net::TcpStream;"), 0);
    let mut exceptions = Exceptions::parse("word crates/core/src/clock.rs:Instant::now the one clock").unwrap();
    let clock = source("crates/core/src/clock.rs", "fn a() { Instant::now(); }");
    assert_eq!(words::check_code(&clock, &mut exceptions), []);
}

#[test]
fn registries_are_not_named() {
    let host = ["crates", "io"].join(".");
    let found = |name: &str, text: &str| words::check_text(name, text, &mut Exceptions::default()).len();
    assert_eq!(found("README.md", &format!("see https://{host}/x")), 1);
    assert_eq!(found("README.md", &format!("see https://{host}n/x and my{host}")), 0);
    assert_eq!(found("Cargo.lock", &format!("registry+https://{host}")), 0);
}

#[test]
fn the_map_is_kept() {
    let packages: Vec<Package> = serde_json::from_str(
        r#"[
        {"name":"dewdrop-auth","dependencies":[{"name":"dewdrop-core","kind":null},{"name":"dewdrop-store","kind":null},
            {"name":"dewdrop-testkit","kind":"dev"},{"name":"serde","kind":null}]},
        {"name":"dewdrop-store","dependencies":[{"name":"dewdrop-testkit","kind":null}]},
        {"name":"dewdrop-attic","dependencies":[]},
        {"name":"xtask","dependencies":[{"name":"dewdrop","kind":"dev"}]}]"#,
    )
    .unwrap();
    let found: Vec<String> = check_map(&packages).into_iter().map(|f| format!("{} {}", f.place, f.what)).collect();
    let expected = [
        "dewdrop-auth uses dewdrop-store, which it may not",
        "dewdrop-store uses dewdrop-testkit, which it may not but in tests",
        "dewdrop-attic is not on the map of crates",
        "xtask uses dewdrop, which it may not",
    ];
    assert_eq!(found, expected);
}

#[test]
fn ring_0_is_pure_all_the_way_down() {
    assert_eq!(check_tree("dewdrop-core", "dewdrop-core v0.1.0\nserde v1.0.0\ntokio-like v1\n"), []);
    let found = check_tree("dewdrop-core", "dewdrop-core v0.1.0\ntokio v1.54.1 (*)\n");
    assert!(found[0].stops && found[0].what.contains("tokio"));
}
