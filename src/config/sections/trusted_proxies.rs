//! `trusted_proxies`.
//!
//! Owns which networks may be trusted. Never looks at a peer.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::Key;
use crate::config::language::walk::types::{List, Parsed};
use crate::decide::request::address::TrustedProxies;

/// `trusted_proxies`, searched for every request from a peer.
pub(super) static TRUSTED_PROXIES: Key<List<Parsed<Trusted>>> = Key::new(
    "trusted_proxies",
    List(Parsed(trusted), 0, 1_000),
    "networks in CIDR form, or `unix`, whose X-Forwarded-For is trusted",
)
.or("[]");

/// `trusted_proxies`.
pub(in crate::config) fn trusted_proxies(top: &Mapping<'_>) -> TrustedProxies {
    let mut proxies = TrustedProxies::default();
    for trusted in top.read(&TRUSTED_PROXIES).unwrap_or_default() {
        match trusted {
            Trusted::UnixPeers => proxies.unix = true,
            Trusted::Network(network) => proxies.networks.push(network),
        }
    }
    proxies
}

/// One item of the list.
#[derive(Debug)]
pub(super) enum Trusted {
    UnixPeers,
    Network(IpNet),
}

fn trusted(text: &str) -> Result<Trusted, String> {
    if text == "unix" { Ok(Trusted::UnixPeers) } else { network(text).map(Trusted::Network) }
}

/// A network without bits beyond its prefix that is not too wide: the peers in it choose the address
/// of the client.
fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            format!("{text:?} is not a network: write 10.0.0.0/8, 2001:db8::/32 or unix")
        })?,
    };
    if network.trunc() != network {
        return Err(format!("{text:?} has bits after its prefix; it may mean {}", network.trunc()));
    }
    let network = unmapped(network);
    let (narrow_enough, widest) = match network {
        IpNet::V4(v4) => (v4.prefix_len() >= 8, "/8"),
        // A peer with a mapped address counts as IPv4, so what holds all of them is too wide.
        IpNet::V6(v6) => (v6.prefix_len() >= 16 && !v6.contains(&MAPPED), "/16"),
    };
    if narrow_enough {
        return Ok(network);
    }
    Err(format!("{text:?} is too wide: at most {widest} may be trusted"))
}

/// The first of the IPv4-mapped addresses, `::ffff:0:0`.
const MAPPED: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);

/// A network of IPv4-mapped addresses as the IPv4 network it is.
fn unmapped(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Ok(mapped) = ipnet::Ipv4Net::new(v4, prefix)
    {
        return IpNet::V4(mapped);
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let message = network(text).expect_err(text);
        assert!(message.contains(why), "{text}: {message}");
    }

    #[test]
    fn r202_trusted_networks_are_exact_and_not_too_wide() {
        let good = [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2000::/16", "2000::/16"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ];
        for (text, expected) in good {
            assert_eq!(network(text).map(|n| n.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for wide in ["0.0.0.0/0", "0.0.0.0/7", "10.0.0.0/7", "::ffff:0.0.0.0/96", "::ffff:0:0/103"]
        {
            refused(wide, "is too wide");
        }
        for wide in ["::/0", "::/1", "2000::/15", "2000::/3", "::/16", "::/80"] {
            refused(wide, "is too wide");
        }
        refused("10.1.0.0/8", "bits after its prefix; it may mean 10.0.0.0/8");
        for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "Unix", "10.0.0.0/", "*"] {
            refused(text, "is not a network");
        }
    }
}
