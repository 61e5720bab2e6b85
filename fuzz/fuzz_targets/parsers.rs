//! One program for all parsers: `DEWDROP_FUZZ` names the one to search. Each is a function of the crate that has the parser;
//! the ordinary tests call the same ones (`dewdrop_testkit::fuzz`).
#![no_main]

use std::sync::LazyLock;

use dewdrop_core::fuzzing::Target;
use libfuzzer_sys::fuzz_target;

static CHOSEN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("DEWDROP_FUZZ").unwrap_or_default();
    let all = || {
        let crates: [&[Target]; 9] = [
            dewdrop_core::fuzzing::TARGETS,
            dewdrop_store::fuzzing::TARGETS,
            dewdrop_engines::fuzzing::TARGETS,
            dewdrop_server::fuzzing::TARGETS,
            dewdrop_auth::fuzzing::TARGETS,
            dewdrop_kube::fuzzing::TARGETS,
            dewdrop_node::fuzzing::TARGETS,
            dewdrop_access::fuzzing::TARGETS,
            dewdrop_exec::fuzzing::TARGETS,
        ];
        crates.concat()
    };
    let found = all().into_iter().find(|(target, _)| *target == name);
    found.map(|(_, run)| run).unwrap_or_else(|| {
        let names: Vec<&str> = all().iter().map(|(target, _)| *target).collect();
        eprintln!("DEWDROP_FUZZ must name one of: {}", names.join(" "));
        std::process::exit(2)
    })
});

fuzz_target!(|bytes: &[u8]| CHOSEN(bytes));
