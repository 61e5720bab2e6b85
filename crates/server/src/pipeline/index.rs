//! `X-Vault-Index`: a write answers how far the store had come, and whoever sends that with a later request, to whatever
//! server of a cluster, is not answered from an older state. To clients the text is opaque: JSON in base64.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dewdrop_core::store::Revision;
use dewdrop_core::{Fault, Kind};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::http::Response;
use crate::vault::Vault;

const HEADER: &str = "x-vault-index";
/// How long a request waits for its state.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Index {
    revision: Revision,
}

/// Waits until the store has come as far as the request demands; most demand nothing.
///
/// # Errors
/// 400: the header cannot be read; 412: the state does not come; the store's.
pub async fn await_state(vault: &Vault, headers: &HeaderMap) -> Result<(), Fault> {
    let Some(value) = headers.get(HEADER) else { return Ok(()) };
    let wanted = read(value)?.revision;
    let start = vault.clock.steady();
    while vault.store.revision().await? < wanted {
        if vault.clock.steady().saturating_sub(start) >= PATIENCE {
            return Err(Fault::new(
                Kind::Precondition,
                "required index state not present: try again, or another server",
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Says how far the store has come by now, after a write.
pub async fn tell(vault: &Vault, response: &mut Response) {
    // The write is done; without the header the client only loses the promise.
    let Ok(revision) = vault.store.revision().await else { return };
    let Ok(json) = serde_json::to_vec(&Index { revision }) else { return };
    if let Ok(value) = HeaderValue::from_str(&BASE64_STANDARD.encode(json)) {
        response.headers.insert(HEADER, value);
    }
}

fn read(value: &HeaderValue) -> Result<Index, Fault> {
    let json = BASE64_STANDARD.decode(value.as_bytes()).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| Fault::bad_request("failed to decode \"X-Vault-Index\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_could_have_said_is_read() {
        assert_eq!(read(&HeaderValue::from_static("e30=")), Ok(Index::default()));
        let told = BASE64_STANDARD.encode(br#"{"revision":7}"#);
        assert_eq!(read(&HeaderValue::from_str(&told).unwrap()), Ok(Index { revision: 7 }));
        for bad in ["zork", "aGVsbG8=", "", "eyJyZXZpc2lvbiI6LTF9"] {
            assert_eq!(read(&HeaderValue::from_str(bad).unwrap()).unwrap_err().kind, Kind::BadRequest, "{bad}");
        }
    }
}
