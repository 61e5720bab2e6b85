//! What the audit log is told of a walk.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::Caller;
use http::HeaderMap;

use super::{Walk, reply};
use crate::audit::{Act, End};
use crate::http::Response;

impl Walk {
    /// What the audit log is told of the request.
    pub(super) fn act<'a>(&'a self, caller: &'a Caller, headers: &'a HeaderMap) -> Act<'a> {
        Act {
            request_id: &self.asked.request_id,
            time: self.asked.now,
            namespace: &self.namespace,
            mount: self.mounted.as_ref().map(|mounted| &*mounted.mount),
            operation: self.asked.operation,
            path: &self.path,
            fields: &self.asked.fields,
            caller,
            wrap_ttl: self.asked.wrap_ttl,
            headers,
        }
    }

    /// A request that ends before any engine sees it is written down as well.
    pub(super) async fn refused(&self, caller: &Arc<Caller>, headers: &HeaderMap, fault: Fault) -> Response {
        let response = reply::refuse(&fault, &self.asked.request_id);
        let act = self.act(caller, headers);
        let end = End { time: self.asked.now, status: response.status.as_u16(), fault: Some(&fault), ..End::default() };
        let written = match self.vault.audit.asked(&act).await {
            Ok(open) => self.vault.audit.answered(open, &end).await,
            Err(fault) => Err(fault),
        };
        written.map_or_else(|fault| reply::refuse(&fault, &self.asked.request_id), |()| response)
    }
}
