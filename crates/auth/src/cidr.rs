//! Blocks of addresses, in the two forms that the API takes: strict blocks (`10.0.0.0/8`) for secret ids, and blocks or
//! single addresses (`10.1.2.3`) for tokens, which are shown without `/32` and `/128`.

use std::net::IpAddr;

use dewdrop_core::Fault;
use ipnet::IpNet;

/// The most blocks that one list may have.
const MOST: usize = 1000;

/// Reads a list of strict blocks.
///
/// # Errors
/// 400 that names the place of the element, and not the element: it may be a secret in the wrong place.
pub fn parse_blocks(texts: &[String]) -> Result<Vec<IpNet>, Fault> {
    parse_all(texts, |text| text.parse().ok(), "failed to validate CIDR blocks: invalid CIDR address")
}

/// Reads a list of blocks or single addresses.
///
/// # Errors
/// 400 that names the place of the element, and not the element: it may be a secret in the wrong place.
pub fn parse_bounds(texts: &[String]) -> Result<Vec<IpNet>, Fault> {
    let read = |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    parse_all(texts, read, "error parsing address: Unable to convert it to an IPv4 or IPv6 address or block")
}

fn parse_all(texts: &[String], read: impl Fn(&str) -> Option<IpNet>, told: &str) -> Result<Vec<IpNet>, Fault> {
    if texts.len() > MOST {
        return Err(Fault::bad_request(format!("a list of {} CIDR blocks is too long: at most {MOST}", texts.len())));
    }
    let refuse = |at: usize| Fault::bad_request(format!("{told} (number {} of the list)", at + 1));
    texts.iter().enumerate().map(|(at, text)| read(text).ok_or_else(|| refuse(at))).collect()
}

/// Writes strict blocks.
pub fn show_blocks(nets: &[IpNet]) -> Vec<String> {
    nets.iter().map(ToString::to_string).collect()
}

/// Writes bounds: a block of one address as that address.
pub fn show_bounds(nets: &[IpNet]) -> Vec<String> {
    let show =
        |net: &IpNet| if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
    nets.iter().map(show).collect()
}

/// Whether an address lies in a list. The empty list bounds nothing; an unknown address passes only that one.
pub fn admits(nets: &[IpNet], address: Option<IpAddr>) -> bool {
    nets.is_empty() || address.is_some_and(|a| nets.iter().any(|net| net.contains(&a.to_canonical())))
}

/// Whether each block of `inner` lies within one of `outer`; an empty `outer` bounds nothing.
pub fn are_within(inner: &[IpNet], outer: &[IpNet]) -> bool {
    outer.is_empty() || inner.iter().all(|small| outer.iter().any(|big| big.contains(small)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|t| (*t).into()).collect()
    }

    #[test]
    fn bounds_read_their_own_writing() {
        let shown = texts(&["10.0.0.0/8", "127.0.0.1", "1.2.3.4/8", "::1", "fe80::/10"]);
        assert_eq!(show_bounds(&parse_bounds(&shown).unwrap()), shown);
        assert_eq!(show_bounds(&parse_bounds(&texts(&["1.2.3.4/32"])).unwrap()), ["1.2.3.4"]);
    }

    #[test]
    fn strict_blocks_need_a_length() {
        assert!(parse_blocks(&texts(&["127.0.0.5"])).is_err());
        assert!(parse_blocks(&texts(&["127.0.0.5/33"])).is_err());
        assert_eq!(show_blocks(&parse_blocks(&texts(&["127.0.0.5/32"])).unwrap()), ["127.0.0.5/32"]);
        assert!(parse_blocks(&vec!["10.0.0.0/8".to_owned(); 1001]).is_err());
    }

    #[test]
    fn mapped_addresses_are_seen_through() {
        let nets = parse_blocks(&texts(&["127.0.0.0/8"])).unwrap();
        assert!(admits(&nets, Some("::ffff:127.0.0.1".parse().unwrap())));
        assert!(!admits(&nets, Some("10.0.0.1".parse().unwrap())));
        assert!(!admits(&nets, None));
        assert!(admits(&[], None));
    }

    #[test]
    fn subsets() {
        let nets = |list: &[&str]| parse_blocks(&texts(list)).unwrap();
        assert!(are_within(&nets(&["127.0.0.0/24"]), &nets(&["10.0.0.0/8", "127.0.0.0/8"])));
        assert!(!are_within(&nets(&["127.0.0.0/7"]), &nets(&["127.0.0.0/8"])));
        assert!(!are_within(&nets(&["::/0"]), &nets(&["0.0.0.0/0"])));
        assert!(are_within(&nets(&["1.1.1.1/32"]), &[]));
    }
}
