//! The pool and what is done with each new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use dewdrop_core::Clock;
use tokio_postgres::SimpleQueryMessage;

use super::{Limits, Settings, conn_string, millis, tls};

/// A pool that connects when it is first asked, and the place for messages.
pub(super) fn pool(
    settings: &Settings<'_>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    offset: Arc<AtomicI64>,
) -> Result<(Pool, String), String> {
    let read = conn_string::read(settings)?;
    let connector = tls::connector(read.tls, settings)?;
    let mut config = read.config;
    config.connect_timeout(limits.connect);
    let place = conn_string::place(&config);
    let manager = Manager::from_config(config, connector, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    // The server gives up before we do, so that a slow batch is known to have failed.
    let patience = millis(limits.run).saturating_mul(2) / 3;
    let greeting = format!(
        "SET statement_timeout = {patience}; SET lock_timeout = 0; SET standard_conforming_strings = on; \
         SET client_min_messages = error; SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8"
    );
    let hook = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let (greeting, clock, offset) = (greeting.clone(), clock.clone(), offset.clone());
        Box::pin(async move {
            let messages = client.simple_query(&greeting).await.map_err(HookError::Backend)?;
            let there = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse::<i64>().ok()),
                _ => None,
            });
            if let Some(there) = there {
                offset.store(there - millis(clock.steady()), Ordering::Relaxed);
            }
            Ok(())
        })
    });
    let pool = Pool::builder(manager)
        .max_size(settings.max_open.max(1))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(limits.wait))
        .create_timeout(Some(limits.connect))
        .recycle_timeout(Some(limits.connect))
        .post_create(hook)
        .build()
        .map_err(|e| format!("make the pool: {e}"))?;
    Ok((pool, place))
}
