//! A proxy's word about the client's address (`X-Forwarded-For`).

use std::net::IpAddr;

use http::HeaderMap;

use crate::config::Forwarded;

/// The header.
const NAME: &str = "x-forwarded-for";

/// The client's address behind a connection from `remote`. `Err`: the sentence of a 400.
pub(super) fn client(rules: &Forwarded, remote: IpAddr, headers: &HeaderMap) -> Result<IpAddr, String> {
    let mut hops: Vec<&str> = Vec::new();
    for value in headers.get_all(NAME) {
        let text = value.to_str().map_err(|_| "malformed x-forwarded-for header".to_owned())?;
        hops.extend(text.split(',').map(str::trim).filter(|hop| !hop.is_empty()));
    }
    let remote = remote.to_canonical();
    let trusted = rules.trusted.iter().any(|net| net.contains(&remote));
    if hops.is_empty() {
        return match rules.reject_missing {
            true if trusted => Err("missing x-forwarded-for header and configured to reject when not present".into()),
            _ => Ok(remote),
        };
    }
    if !trusted {
        return match rules.reject_stranger {
            true => Err("client address not authorized for x-forwarded-for and configured to reject connection".into()),
            false => Ok(remote),
        };
    }
    let chain = hops.len();
    let hop = chain.checked_sub(rules.hop_skips + 1).and_then(|at| hops.get(at)).ok_or_else(|| {
        format!(
            "malformed x-forwarded-for configuration or request, hops to skip ({}) would skip before earliest chain link \
             (chain length {chain})",
            rules.hop_skips
        )
    })?;
    address(hop).ok_or_else(|| "malformed x-forwarded-for header: an address was expected".into())
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    address.map(|a: IpAddr| a.to_canonical())
}
