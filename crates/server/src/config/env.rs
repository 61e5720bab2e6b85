//! Environment variables that overrule the files, as OpenBao has them, under three names each: `DEWDROP_*` before `BAO_*`
//! before `VAULT_*`.

use super::source::Problem;
use super::{Config, general, value};

/// Sets what the environment says.
pub(super) fn overlay(config: &mut Config, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) {
    let mut reader = Reader { env, problems };
    if let Some(api) = reader.read("API_ADDR", general::url) {
        config.addresses.api = Some(api);
    }
    if let Some(cluster) = reader.read("CLUSTER_ADDR", general::url) {
        config.addresses.cluster = Some(cluster);
    }
    if let Some(level) = reader.read("LOG_LEVEL", str::parse) {
        config.logging.level = level;
    }
    if let Some(format) = reader.read("LOG_FORMAT", str::parse) {
        config.logging.format = format;
    }
    if let Some(file) = reader.read("LOG_FILE", |text| Ok(text.into())) {
        config.logging.file = Some(file);
    }
    let flag = |text: &str| value::boolean(text).ok_or_else(|| "write true or false".to_owned());
    if let Some(ui) = reader.read("UI", flag) {
        config.switches.ui = ui;
    }
    if let Some(disable) = reader.read("DISABLE_MLOCK", flag) {
        config.switches.disable_mlock = disable;
    }
}

struct Reader<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (name, text) = ["DEWDROP_", "BAO_", "VAULT_"].iter().find_map(|prefix| {
            let name = format!("{prefix}{name}");
            (self.env)(&name).filter(|text| !text.is_empty()).map(|text| (name, text))
        })?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(help) => {
                self.problems.push(Problem::at_large(name, "this environment variable cannot be read", help));
                None
            }
        }
    }
}
