//! Whose address a request comes from.
//!
//! Owns the trusted proxies and the walk through X-Forwarded-For. An attacker
//! would send the address of somebody else, or a new one with every request. Never resolves a
//! name.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Ip(IpAddr),
    /// A Unix socket: no address of its own.
    Unix,
}

/// Whose forwarded fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Networks.
    pub networks: Vec<IpNet>,
    /// Peers on Unix sockets.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether what `peer` says about others is believed.
    #[must_use]
    pub fn trusts(&self, peer: Peer) -> bool {
        let _ = peer;
        todo!("address helper")
    }

    /// The client's address: the peer's own, or, behind trusted proxies, the first untrusted
    /// address in the joined X-Forwarded-For fields from the right; a malformed one stops there.
    /// `None` for a Unix peer that names nobody. IPv4-mapped IPv6 comes back as IPv4.
    #[must_use]
    pub fn client_address(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let _ = (peer, headers);
        todo!("address helper")
    }
}

/// The bytes a limit by address counts for: an IPv4 address, or the /64 of an IPv6 one.
#[must_use]
pub fn limit_bytes(address: IpAddr) -> Vec<u8> {
    let _ = address;
    todo!("address helper")
}

/// Whether a field tells an upstream about the path a request took; from an untrusted peer all
/// of these are dropped and rebuilt.
#[must_use]
pub fn is_forwarding_field(name: &HeaderName) -> bool {
    let folded = crate::field_name::fold(name.as_str());
    folded.starts_with("x-forwarded")
        || folded.starts_with("x-original-")
        || FORWARDING.contains(&folded.as_ref())
}

const FORWARDING: &[&str] =
    &["forwarded", "x-real-ip", "x-rewrite-url", "true-client-ip", "x-client-ip"];
