//! A lock by an etcd lease. etcd frees it when the lease runs out; the holder must know earlier than that. So the time
//! is counted from *before* each renewal was sent, on the local steady clock, and a tenth is kept back for
//! clocks that run apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dewdrop_core::Clock;
use dewdrop_core::store::{Hold, StoreError};
use etcd_client::{Compare, CompareOp, LeaseClient, PutOptions, Txn, TxnOp};
use tokio::task::JoinHandle;

use super::{Etcd, unsigned, within};

struct EtcdHold {
    lease: i64,
    client: LeaseClient,
    timeout: Duration,
    until: Arc<Until>,
    renewing: JoinHandle<()>,
}

/// The moment (of the steady clock, in milliseconds) until which the lock is surely ours.
struct Until {
    clock: Arc<dyn Clock>,
    millis: AtomicU64,
}

/// Takes the lock, or says that another has it.
pub(super) async fn take(etcd: &Etcd, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
    let mut leases = etcd.client.lease_client();
    let until = Arc::new(Until { clock: etcd.clock.clone(), millis: AtomicU64::new(0) });
    let asked = etcd.clock.steady();
    // etcd counts in seconds, and may grant more than was asked.
    let seconds = super::signed(ttl.as_secs().max(1));
    let granted = etcd.within(leases.grant(seconds, None)).await?;
    let ttl = Duration::from_secs(unsigned(granted.ttl()).max(1));
    let lease = granted.id();
    let key = [&etcd.place.holds, name.as_bytes()].concat();
    let transaction = Txn::new()
        .when(vec![Compare::create_revision(key.clone(), CompareOp::Equal, 0)])
        .and_then(vec![TxnOp::put(key, "", Some(PutOptions::new().with_lease(lease)))]);
    let mut kv = etcd.kv();
    let taken = etcd.within(kv.txn(transaction)).await.map(|response| response.succeeded());
    if !matches!(taken, Ok(true)) {
        // Also when the answer was lost: the lock may be ours, and nobody would know.
        give_back(leases, etcd.timeout, lease);
        return taken.map(|_| None);
    }
    until.extend(asked, ttl);
    let renewing = tokio::spawn(renew(leases.clone(), lease, ttl, etcd.timeout, until.clone()));
    Ok(Some(Box::new(EtcdHold { lease, client: leases, timeout: etcd.timeout, until, renewing })))
}

/// Renews until the lease is lost. A server that is away is asked again and again: it may be back in time.
async fn renew(mut leases: LeaseClient, lease: i64, ttl: Duration, timeout: Duration, until: Arc<Until>) {
    let mut pause = ttl / 3;
    loop {
        tokio::time::sleep(pause).await;
        if !until.is_ahead() {
            return;
        }
        let asked = until.clock.steady();
        match tokio::time::timeout(timeout.min(ttl / 3), leases.keep_alive(lease)).await {
            Ok(Ok(_)) => {
                until.extend(asked, ttl);
                pause = ttl / 3;
            }
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(_))) => {
                until.end();
                return;
            }
            _ => pause = (ttl / 20).max(Duration::from_millis(50)),
        }
    }
}

/// Ends a lease, and with it the lock, in the background.
fn give_back(mut leases: LeaseClient, timeout: Duration, lease: i64) {
    // Outside of a runtime (at the end of the process) the lease runs out by itself.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            if let Err(error) = within(timeout, leases.revoke(lease)).await {
                tracing::debug!(%error, "a lock was not given back; it runs out by itself");
            }
        });
    }
}

// === impl Until ===

impl Until {
    fn extend(&self, from: Duration, ttl: Duration) {
        let end = from + ttl - ttl / 10;
        self.millis.store(u64::try_from(end.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.millis.store(0, Ordering::Release);
    }

    fn is_ahead(&self) -> bool {
        self.clock.steady() < Duration::from_millis(self.millis.load(Ordering::Acquire))
    }
}

// === impl EtcdHold ===

impl Hold for EtcdHold {
    fn is_held(&self) -> bool {
        self.until.is_ahead()
    }
}

impl Drop for EtcdHold {
    fn drop(&mut self) {
        self.renewing.abort();
        give_back(self.client.clone(), self.timeout, self.lease);
    }
}
