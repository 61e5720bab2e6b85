//! Where notices may be sent: not to what clouds tell a machine about itself. A name is looked up once, and what was looked
//! at is what is connected to: a name that leads elsewhere a moment later leads nobody there.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where one cloud has it beyond the link (its instance metadata service over IPv6).
const BEYOND_THE_LINK: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Where clouds have what a machine may ask about itself.
pub fn is_off_limits(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || v6 == BEYOND_THE_LINK
        }
    }
}

/// The addresses of a name (or of a number) that may be asked; there is at least one.
///
/// # Errors
/// The name is not known, or leads to none.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((host, port)).await?;
    let fit: Vec<SocketAddr> = found.filter(|address| !is_off_limits(address.ip())).collect();
    if fit.is_empty() {
        return Err(io::Error::other("the name leads to no address that may be asked"));
    }
    Ok(fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_the_link_is_not_asked() {
        assert!(addresses("localhost", 25).await.is_ok_and(|found| found.iter().all(|one| one.port() == 25)));
        for host in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "fd00:ec2::254"] {
            let why = addresses(host, 25).await.unwrap_err().to_string();
            assert!(why.contains("no address that may be asked"), "{host}: {why}");
        }
        assert!(!is_off_limits("127.0.0.1".parse().unwrap()));
    }
}
