//! `dewdrop-exec`. All of it is in the library, where the fuzzer finds what it reads, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    dewdrop_exec::main()
}
