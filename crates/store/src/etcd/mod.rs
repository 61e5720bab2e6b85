//! A store in an etcd cluster (3.4 or later), shared by many servers.
//!
//! All keys lie below a prefix: `d/` the rows, `h/` the holds, `restoring` a mark that stands while a snapshot is restored.
//! Revisions are etcd's own: they count the commits of the whole cluster. Every call ends within the configured time;
//! one that ran out of it may still have been carried out, as with any lost answer. Compaction is the cluster's
//! affair (`--auto-compaction-retention`).

mod hold;
mod plan;
mod snapshot;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Batch, Entry, Hold, Revision, Row, Store, StoreError, Watch};
use dewdrop_core::{Clock, Secret};
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, GetResponse, Identity, KeyValue, KvClient,
    TlsOptions, Txn, TxnOp,
};

use crate::{check, range};

/// Rows asked for at a time, so that no reply grows without bound.
const PAGE: usize = 256;
/// gRPC's default of 4 MB is less than a page of large values.
const REPLY_BYTES: usize = 1 << 30;

/// Where the cluster is and how to speak to it.
#[derive(Debug)]
pub struct EtcdConfig {
    /// `http://host:port` or `https://host:port`, each member that may be asked.
    pub endpoints: Vec<String>,
    /// Everything of ours lies below this; end it with `/`.
    pub prefix: String,
    /// Name and password.
    pub user: Option<(String, Secret<String>)>,
    /// For `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// The longest that a call may take.
    pub timeout: Duration,
}

/// Certificates, in PEM.
#[derive(Debug, Default)]
pub struct EtcdTls {
    /// Who signs the servers' certificates.
    pub ca_pem: Vec<u8>,
    /// Our own certificate and its key, where the cluster asks for one.
    pub identity_pem: Option<(Vec<u8>, Secret<Vec<u8>>)>,
    /// The name in the servers' certificates, if it is not the host of the endpoint.
    pub server_name: Option<String>,
}

/// A store in etcd. Clones share their connections.
#[derive(Clone)]
pub struct Etcd {
    client: Client,
    place: Arc<Place>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

/// Where our keys lie.
struct Place {
    rows: Vec<u8>,
    holds: Vec<u8>,
    restoring: Vec<u8>,
}

// === impl Etcd ===

impl Etcd {
    /// Connects, and checks that the cluster answers and is not in the middle of a restore.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the configuration cannot be, [`StoreError::Unavailable`] when nobody answers.
    pub async fn connect(config: EtcdConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let etcd = Self::connect_unchecked(config, clock).await?;
        if etcd.is_restoring().await? {
            return Err(half_restored());
        }
        Ok(etcd)
    }

    /// As [`Etcd::connect`], also where a restore was interrupted: for the tool that restores again.
    ///
    /// # Errors
    /// As [`Etcd::connect`].
    pub async fn connect_unchecked(config: EtcdConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let timeout = config.timeout;
        let place = |part: &str| [config.prefix.as_bytes(), part.as_bytes()].concat();
        let place = Arc::new(Place { rows: place("d/"), holds: place("h/"), restoring: place("restoring") });
        let connect = Client::connect(&config.endpoints, Some(options(&config)?));
        let client = tokio::time::timeout(timeout, connect).await.map_err(|_| slow(timeout))?.map_err(|e| told(&e))?;
        let etcd = Self { client, place, clock, timeout };
        etcd.revision().await?;
        Ok(etcd)
    }

    fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(REPLY_BYTES)
    }

    /// A call that ends in time.
    async fn within<T>(&self, call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, StoreError> {
        within(self.timeout, call).await
    }

    async fn range(&self, from: Vec<u8>, options: GetOptions) -> Result<(GetResponse, Revision), StoreError> {
        let mut kv = self.kv();
        let response = self.within(kv.get(from, Some(options))).await?;
        let revision = revision_of(response.header())?;
        Ok((response, revision))
    }

    /// Rows as in [`Store::scan`], as of one revision (zero: now). Gives that revision.
    async fn rows_at(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        mut at: Revision,
    ) -> Result<(Vec<Row>, Revision), StoreError> {
        let full_prefix = [&self.place.rows, prefix].concat();
        // Never without an end: the prefix of all rows ends with a slash.
        let end = range::end(&full_prefix).unwrap_or_default();
        let mut from = match after {
            Some(after) if after >= prefix => next_key([&self.place.rows, after].concat()),
            _ => full_prefix,
        };
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit && from < end {
            let page = PAGE.min(limit - rows.len());
            let options =
                GetOptions::new().with_range(end.clone()).with_limit(signed(page as u64)).with_revision(signed(at));
            let (mut response, revision) = self.range(from, options).await?;
            at = if at == 0 { revision } else { at };
            let more = response.more();
            let kvs = response.take_kvs();
            from = kvs.last().map(|kv| next_key(kv.key().to_vec())).unwrap_or_default();
            rows.extend(kvs.into_iter().map(|kv| self.row(kv)));
            if !more {
                break;
            }
        }
        Ok((rows, at))
    }

    fn row(&self, kv: KeyValue) -> Row {
        let revision = unsigned(kv.mod_revision());
        let (mut key, value) = kv.into_key_value();
        key.drain(..self.place.rows.len());
        Row { key, entry: Entry { value: value.into(), revision } }
    }

    async fn is_restoring(&self) -> Result<bool, StoreError> {
        let (response, _) = self.range(self.place.restoring.clone(), GetOptions::new().with_keys_only()).await?;
        Ok(!response.kvs().is_empty())
    }
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let (mut response, _) = self.range([&self.place.rows, key].concat(), GetOptions::new()).await?;
        Ok(response.take_kvs().into_iter().next().map(|kv| self.row(kv).entry))
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(self.rows_at(prefix, after, limit, 0).await?.0)
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        check::batch(&batch)?;
        let plan::Plan { mut compares, operations } = plan::plan(batch, &self.place.rows)?;
        // Nobody writes into a restore.
        compares.push(Compare::create_revision(self.place.restoring.clone(), CompareOp::Equal, 0));
        let restoring = TxnOp::get(self.place.restoring.clone(), Some(GetOptions::new().with_keys_only()));
        let transaction = Txn::new().when(compares).and_then(operations).or_else(vec![restoring]);
        let mut kv = self.kv();
        let response = self.within(kv.txn(transaction)).await?;
        if response.succeeded() {
            return revision_of(response.header());
        }
        match response.op_responses().into_iter().next() {
            Some(etcd_client::TxnOpResponse::Get(found)) if !found.kvs().is_empty() => Err(half_restored()),
            _ => Err(StoreError::Conflict),
        }
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        let from = self.revision().await? + 1;
        Ok(watch::start(self, prefix, from))
    }

    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        hold::take(self, name, ttl).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.range(self.place.restoring.clone(), GetOptions::new().with_count_only()).await?.1)
    }
}

fn options(config: &EtcdConfig) -> Result<ConnectOptions, StoreError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(config.timeout)
        // Not more often than every 5 s, or etcd ends the connection. Finds peers that vanished without a word.
        .with_keep_alive(Duration::from_secs(10), Duration::from_secs(5))
        .with_keep_alive_while_idle(true)
        .with_require_leader(true);
    if let Some((name, password)) = &config.user {
        options = options.with_user(name, password.expose()).with_auto_token_refresh(true);
    }
    if let Some(tls) = &config.tls {
        if let Some(plain) = config.endpoints.iter().find(|endpoint| !endpoint.starts_with("https://")) {
            return Err(StoreError::Refused(format!("endpoint {plain} is not https, but certificates are given")));
        }
        let mut setting = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca_pem));
        if let Some((certificate, key)) = &tls.identity_pem {
            setting = setting.identity(Identity::from_pem(certificate, key.expose()));
        }
        if let Some(name) = &tls.server_name {
            setting = setting.domain_name(name);
        }
        options = options.with_tls(setting);
    }
    Ok(options)
}

/// A call that ends in time.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| told(&error)),
        Err(_) => Err(slow(limit)),
    }
}

fn slow(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("etcd did not answer within {limit:?}"))
}

fn half_restored() -> StoreError {
    StoreError::Unavailable(
        "a snapshot is being restored into etcd, or that was interrupted; if nobody is at it, restore again".into(),
    )
}

/// What etcd's errors mean to a caller.
fn told(error: &etcd_client::Error) -> StoreError {
    use etcd_client::Error as E;
    match error {
        // 3: InvalidArgument. Too many operations, a request that is too large, …
        E::GRpcStatus(status) if status.code() as i32 == 3 && !status.message().contains("auth") => {
            StoreError::Refused(format!("etcd: {}", status.message()))
        }
        E::GRpcStatus(status) => StoreError::Unavailable(format!("etcd: {}", status.message())),
        E::InvalidArgs(why) => StoreError::Refused(format!("etcd: {why}")),
        E::InvalidUri(why) => StoreError::Refused(format!("an etcd endpoint is not a URL: {why}")),
        other => StoreError::Unavailable(format!("etcd: {other}")),
    }
}

fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> Result<Revision, StoreError> {
    header
        .map(|header| unsigned(header.revision()))
        .ok_or_else(|| StoreError::Unavailable("etcd answered without a revision".into()))
}

/// The key right after this one.
fn next_key(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
