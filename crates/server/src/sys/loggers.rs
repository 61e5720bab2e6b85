//! `sys/loggers`: how much the server's own log says, while it runs. There is one logger for the whole server.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Sys;
use crate::config::LogLevel;
use crate::telemetry::LogHandle;

const CORE: &str = "core";

#[derive(Deserialize, JsonSchema)]
struct LevelFields {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    #[serde(default)]
    level: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("loggers", "How much the server's log says.", |r| {
            r.read("Shows the levels", Sys::read_loggers)
                .write("Sets the level", Sys::write_logger)
                .delete("Sets the level of the configuration", Sys::reset_logger)
        })
        .at("loggers/{name}", "How much a logger says; there is one, core.", |r| {
            r.read("Shows its level", Sys::read_loggers)
                .write("Sets its level", Sys::write_logger)
                .delete("Sets the level of the configuration", Sys::reset_logger)
        })
}

impl Sys {
    async fn read_loggers(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let logs = self.logs()?;
        let mut data = Map::new();
        if ["", CORE].contains(&call.capture("name")) {
            data.insert(CORE.into(), Value::from(logs.level().word()));
        }
        Ok(Reply::data(data))
    }

    async fn write_logger(self: Arc<Self>, call: Call, fields: LevelFields) -> Result<Reply, Fault> {
        let logs = self.logs()?;
        if fields.level.0.is_empty() {
            return Err(Fault::bad_request("level is required"));
        }
        let level: LogLevel =
            fields.level.0.parse().map_err(|why| Fault::bad_request(format!("invalid level provided: {why}")))?;
        known(&call)?;
        logs.set_level(level);
        Ok(Reply::nothing())
    }

    async fn reset_logger(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let logs = self.logs()?;
        known(&call)?;
        logs.reset_level();
        Ok(Reply::nothing())
    }

    fn logs(&self) -> Result<LogHandle, Fault> {
        self.only_in_root()?;
        let logs = self.server()?.telemetry.logs.get().cloned();
        logs.ok_or_else(|| Fault::bad_request("this server runs inside of another program, which keeps the log"))
    }
}

fn known(call: &Call) -> Result<(), Fault> {
    match call.capture("name") {
        "" | CORE => Ok(()),
        name => Err(Fault::missing(format!("logger {name:?} not found: there is one, {CORE:?}"))),
    }
}
