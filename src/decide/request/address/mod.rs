//! The client's address.
//!
//! Owns the trusted proxies, the walk through X-Forwarded-For, and the forwarding
//! fields the upstream gets instead of the client's. An attacker would send the address of another
//! client, or a new one with every request. Never resolves a name.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::base::field_name::fold;

/// The most hops that are walked. Longer chains are taken for forged.
const HOPS_MAX: usize = 32;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const X_FORWARDED_HOST: &str = "x-forwarded-host";

/// The connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Ip(IpAddr),
    /// A Unix socket: no address of its own.
    Unix,
    /// A trusted peer whose PROXY header states no client: the bytes behind it are those of its client
    /// or of itself, so that no field in them is believed.
    Unstated(Option<IpAddr>),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) | Self::Unstated(Some(address)) => address.to_canonical().fmt(f),
            Self::Unix | Self::Unstated(None) => f.write_str("unix"),
        }
    }
}

/// The peers whose forwarded fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Networks.
    pub networks: Vec<IpNet>,
    /// Peers on Unix sockets.
    pub unix: bool,
}

impl TrustedProxies {
    /// Returns whether no peer is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Returns whether the forwarded fields of `peer` are believed.
    #[must_use]
    pub fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.trusts_address(address),
            Peer::Unix => self.unix,
            Peer::Unstated(_) => false,
        }
    }

    /// The client's address: the peer's own, or, behind trusted proxies, the first untrusted
    /// address in the joined X-Forwarded-For fields from the right. IPv4-mapped IPv6 comes back
    /// as IPv4.
    ///
    /// If the walk cannot continue (a malformed entry, the end of the chain, more than 32 hops),
    /// the client is the last address that was walked over, at first the peer itself. So garbage in
    /// the chain only ever counts for the proxy that passed it on, and in a chain of trusted
    /// addresses the client is the first of them. `None` for a Unix peer without forwarded
    /// addresses.
    #[must_use]
    pub fn client_address(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let mut nearest = match peer {
            Peer::Ip(address) | Peer::Unstated(Some(address)) => Some(address.to_canonical()),
            Peer::Unix | Peer::Unstated(None) => None,
        };
        if !self.trusts(peer) {
            return nearest;
        }
        for hop in hops_from_the_right(headers).take(HOPS_MAX) {
            let Some(address) = hop.and_then(read_hop) else { break };
            nearest = Some(address);
            if !self.trusts_address(address) {
                break;
            }
        }
        nearest
    }

    /// The address that a peer's connections count for; `None` when they may be those of many
    /// callers: a trusted proxy, a Unix peer, or, while no peer is trusted, a near one.
    #[must_use]
    pub fn single_caller(&self, peer: Peer) -> Option<IpAddr> {
        match peer {
            Peer::Unix | Peer::Unstated(_) => None,
            Peer::Ip(address) => {
                let many = self.trusts(peer) || (self.is_empty() && is_near(address));
                (!many).then_some(address)
            }
        }
    }

    fn trusts_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        // Networks of one family never hold addresses of the other: `::/16` is not all of IPv4.
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Loopback, private and link-local addresses: a balancer or a neighbour, not the world.
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Returns whether a peer is a balancer or a neighbor rather than a client on the Internet: on a Unix socket
/// or at an address that [is near](is_near).
#[must_use]
pub(crate) fn is_near_peer(peer: Peer) -> bool {
    match peer {
        Peer::Unix | Peer::Unstated(None) => true,
        Peer::Ip(address) | Peer::Unstated(Some(address)) => is_near(address),
    }
}

/// The bytes that a limit by address counts: an IPv4 address, or the /64 of an IPv6 one.
#[must_use]
pub(crate) fn limit_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// Returns whether a field describes the path a request took; from an untrusted peer all of these
/// are dropped and rebuilt.
///
/// The contract's list in every folding, and the names by which CDNs and balancers pass on the
/// client's address, from which frameworks read it in the same way.
#[must_use]
pub(crate) fn is_forwarding_field(name: &HeaderName) -> bool {
    is_folded_forwarding_field(&fold(name.as_str()))
}

/// As [`is_forwarding_field`], for a name that was [folded](fold).
#[must_use]
pub(crate) fn is_folded_forwarding_field(folded: &str) -> bool {
    FORWARDING.contains(&folded)
        || FORWARDING_FAMILIES.iter().any(|start| folded.starts_with(start))
}

/// Returns whether a field is a forwarding field in disguise (`X_Forwarded_For`): no proxy writes
/// these, but a client can send them through one. They are dropped from every peer.
#[must_use]
pub fn is_disguised_forwarding_field(name: &HeaderName) -> bool {
    is_forwarding_field(name) && fold(name.as_str()) != name.as_str()
}

const FORWARDING: &[&str] = &[
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
];

const FORWARDING_FAMILIES: &[&str] = &["x-forwarded-", "x-original-"];

/// The forwarding fields for the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedValues {
    /// `X-Forwarded-For`: the believed chain and the peer; `None` when no address is known.
    pub forwarded_for: Option<HeaderValue>,
    /// `X-Forwarded-Proto`: `http` or `https`.
    pub proto: Option<HeaderValue>,
    /// `X-Forwarded-Host`: the host the client asked for.
    pub host: Option<HeaderValue>,
}

impl ForwardedValues {
    /// The fields to set, by name and as spelled. Absent ones must be removed.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
        [
            ("X-Forwarded-For", &self.forwarded_for),
            ("X-Forwarded-Proto", &self.proto),
            ("X-Forwarded-Host", &self.host),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

/// Rebuilds the forwarding fields. `believed` are the fields of a peer that is
/// [trusted](TrustedProxies::trusts), else `None`: then nothing the client wrote is in them.
///
/// A trusted peer's chain is kept as it came and the peer appended, as every hop does; its proto
/// and host are kept when each is one plain value. `scheme` and `host` are what this hop saw.
#[must_use]
pub fn forwarded_values(
    peer: Peer,
    believed: Option<&HeaderMap>,
    scheme: &'static str,
    host: Option<HeaderValue>,
) -> ForwardedValues {
    let kept = |name| believed.and_then(|headers| one_plain_value(headers, name));
    ForwardedValues {
        forwarded_for: chain(peer, believed),
        proto: kept(X_FORWARDED_PROTO).or_else(|| Some(HeaderValue::from_static(scheme))),
        host: kept(X_FORWARDED_HOST).or(host).filter(|host| !host.is_empty()),
    }
}

/// The joined chain with the peer at its end. A Unix peer has no address to append.
fn chain(peer: Peer, believed: Option<&HeaderMap>) -> Option<HeaderValue> {
    let mut joined = Vec::new();
    let given = believed.into_iter().flat_map(|headers| headers.get_all(X_FORWARDED_FOR));
    for value in given.map(|value| value.as_bytes().trim_ascii()).filter(|value| !value.is_empty())
    {
        separate(&mut joined);
        joined.extend_from_slice(value);
    }
    if let Peer::Ip(address) | Peer::Unstated(Some(address)) = peer {
        separate(&mut joined);
        push_address(&mut joined, address.to_canonical());
    }
    if joined.is_empty() { None } else { HeaderValue::try_from(joined).ok() }
}

fn separate(joined: &mut Vec<u8>) {
    if !joined.is_empty() {
        joined.extend_from_slice(b", ");
    }
}

/// The value of a field that occurs once, is not empty and has only characters of a scheme or a
/// host.
fn one_plain_value(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    let plain = !value.is_empty() && value.as_bytes().iter().all(is_plain);
    plain.then(|| value.clone())
}

/// The entries of all X-Forwarded-For fields, as one list, last one first; `None` for bytes that
/// are not text. A field without a value has one empty entry, which no address is.
fn hops_from_the_right(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    headers.get_all(X_FORWARDED_FOR).iter().rev().flat_map(|value| {
        let entries = value.as_bytes().rsplit(|byte| *byte == b',');
        entries.map(|entry| std::str::from_utf8(entry).ok())
    })
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`
/// or `[2001:db8::1]:80`. No zone, no name, no `unknown`.
fn read_hop(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    if entry.contains('%') {
        return None;
    }
    let bracketed =
        || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = entry.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

/// Appends an address in its usual form (RFC 5952 for IPv6). For IPv4 this is several times faster
/// than `fmt`.
pub(crate) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to a `Vec` cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests;
