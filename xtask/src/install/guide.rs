//! A guide as a script: its blocks of `sh` in their order, in one shell.

use anyhow::{Result, bail};

/// What cannot be the same on a cluster without DNS and without a registry.
type Instead = (&'static str, &'static str);
const ADDRESS: Instead = ("https://kubernetes.default.svc", "https://10.96.0.1");
const IMAGE: Instead = ("image: busybox:1.37", "image: dewdrop.test/busybox:1");

/// The script of "first secret".
pub fn first_secret() -> Result<String> {
    script(include_str!("../../../docs/guides/first-secret.md"), &[ADDRESS, IMAGE])
}

/// The script of "secret access", which goes on where the former ended.
pub fn secret_access() -> Result<String> {
    script(include_str!("../../../docs/guides/secret-access.md"), &[IMAGE])
}

/// The script of a guide. It says each command before it runs it, and ends at the first that fails.
fn script(text: &str, instead: &[Instead]) -> Result<String> {
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nset -v\n");
    let mut inside = false;
    for line in text.lines() {
        match (line.trim_end(), inside) {
            ("```sh", false) => inside = true,
            ("```", true) => inside = false,
            (line, true) => {
                script.push_str(line);
                script.push('\n');
            }
            (_, false) => {}
        }
    }
    if inside {
        bail!("a block of the guide has no end");
    }
    for (from, to) in instead {
        if !script.contains(from) {
            bail!("the guide does not say {from:?} any more");
        }
        script = script.replace(from, to);
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_sh_are_run_in_their_order() {
        let text =
            "a\n```sh\none https://kubernetes.default.svc\n```\n```yaml\nno\n```\n```sh\nimage: busybox:1.37\n```\n";
        let script = script(text, &[ADDRESS, IMAGE]).expect("script");
        assert!(script.ends_with("one https://10.96.0.1\nimage: dewdrop.test/busybox:1\n"), "{script}");
        assert!(!script.contains("no\n"));
    }

    #[test]
    fn a_guide_that_changed_too_much_is_not_half_run() {
        assert!(script("```sh\nls\n", &[]).is_err());
        assert!(script("```sh\nls\n```\n", &[IMAGE]).is_err());
    }
}
