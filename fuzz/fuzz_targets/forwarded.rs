//! The client address is never taken from an untrusted peer. Input: a
//! line with the peer (an address, else a Unix socket), then `name: value` lines.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatepost::decide::request::address::{Peer, TrustedProxies, forwarded_values};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

/// The most entries that are looked at.
const HOPS_MAX: usize = 32;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let peer = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
    let peer = peer.map_or(Peer::Unix, Peer::Ip);
    let headers = fields(lines);
    for (networks, unix) in [
        (&["10.0.0.0/8", "fd00::/16"][..], false),
        (&["192.0.2.0/24", "::1/128", "2001:db8::/32"], true),
        (&["::ffff:0:0/96"], true),
        (&[], false),
    ] {
        let networks: Vec<IpNet> =
            networks.iter().map(|network| network.parse().expect("a network")).collect();
        let trusted = TrustedProxies { networks: networks.clone(), unix };
        let found = trusted.client_address(peer, &headers);
        assert_eq!(found, walk(&networks, unix, peer, &headers), "{networks:?}");
        if let Some(address) = found {
            assert!(is_canonical(address), "{address}");
        }
        only_the_chain_counts(&trusted, peer, &headers);
        rebuilt(&trusted, peer, &headers);
    }
});

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(48) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = halves.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = halves.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The contract's walk, written down once more and by other means.
fn walk(networks: &[IpNet], unix: bool, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
    let trusts = |address: IpAddr| networks.iter().any(|network| holds(network, address));
    let mut client = match peer {
        Peer::Unstated(address) => return address.map(canonical),
        Peer::Unix if !unix => return None,
        Peer::Unix => None,
        Peer::Ip(address) if !trusts(canonical(address)) => return Some(canonical(address)),
        Peer::Ip(address) => Some(canonical(address)),
    };
    let mut joined: Vec<u8> = Vec::new();
    for (at, value) in headers.get_all("x-forwarded-for").iter().enumerate() {
        if at > 0 {
            joined.push(b',');
        }
        joined.extend(value.as_bytes());
    }
    if !headers.contains_key("x-forwarded-for") {
        return client;
    }
    let entries: Vec<&[u8]> = joined.split(|byte| *byte == b',').collect();
    for entry in entries.into_iter().rev().take(HOPS_MAX) {
        let Some(address) = read(entry) else { return client };
        client = Some(address);
        if !trusts(address) {
            return client;
        }
    }
    client
}

/// Whether the first bits are the same, within one family.
fn holds(network: &IpNet, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits()) << 96),
        IpAddr::V6(v6) => (false, v6.to_bits()),
    };
    let ((family, own), (other_family, other)) = (bits(network.addr()), bits(address));
    let differing = own ^ other;
    family == other_family && differing.leading_zeros() >= u32::from(network.prefix_len())
}

fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0, 0, 0, 0, 0, 0xffff] => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

fn is_canonical(address: IpAddr) -> bool {
    canonical(address) == address
}

/// One entry: an address, or one with a port.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches(|c| c == ' ' || c == '\t');
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let host: Ipv6Addr = host.parse().ok()?;
            (IpAddr::V6(host), after)
        }
        None if text.matches(':').count() == 1 => {
            let (host, _) = text.split_once(':')?;
            (IpAddr::V4(host.parse().ok()?), &text[host.len()..])
        }
        None => (text.parse().ok()?, ""),
    };
    if !port.is_empty() {
        let digits = port.strip_prefix(':')?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || digits.parse::<u16>().is_err() {
            return None;
        }
    }
    Some(canonical(host))
}

/// No other field says anything about the address.
fn only_the_chain_counts(trusted: &TrustedProxies, peer: Peer, headers: &HeaderMap) {
    let mut chain = HeaderMap::new();
    for value in headers.get_all("x-forwarded-for") {
        chain.append("x-forwarded-for", value.clone());
    }
    for name in ["forwarded", "x-real-ip", "x_forwarded_for", "x-forwarded", "true-client-ip"] {
        chain.append(HeaderName::from_static(name), HeaderValue::from_static("for=198.51.100.66"));
    }
    assert_eq!(trusted.client_address(peer, &chain), trusted.client_address(peer, headers));
}

/// The forwarded fields: nothing that an untrusted peer wrote, and the peer at the end.
fn rebuilt(trusted: &TrustedProxies, peer: Peer, headers: &HeaderMap) {
    let believed = trusted.trusts(peer).then_some(headers);
    let host = HeaderValue::from_static("api.test");
    let told = forwarded_values(peer, believed, "https", Some(host));
    let own = match peer {
        Peer::Ip(address) | Peer::Unstated(Some(address)) => Some(canonical(address).to_string()),
        Peer::Unix | Peer::Unstated(None) => None,
    };
    let chain = told.forwarded_for.as_ref().map(HeaderValue::as_bytes);
    if believed.is_none() {
        assert_eq!(chain, own.as_deref().map(str::as_bytes));
        assert_eq!(told.proto, Some(HeaderValue::from_static("https")));
        assert_eq!(told.host, Some(HeaderValue::from_static("api.test")));
    }
    if let Some(own) = own {
        assert!(chain.is_some_and(|chain| chain.ends_with(own.as_bytes())));
    }
    // An upstream that continues from here finds the same client.
    if let (Some(address), Some(chain)) =
        (trusted.client_address(peer, headers), told.forwarded_for)
    {
        let mut next = HeaderMap::new();
        next.append("x-forwarded-for", chain);
        let behind = TrustedProxies { unix: true, ..trusted.clone() };
        let entries = headers.get_all("x-forwarded-for").iter();
        let hops: usize =
            entries.map(|value| value.as_bytes().split(|byte| *byte == b',').count()).sum();
        if hops < HOPS_MAX && !headers.get_all("x-forwarded-for").iter().any(is_blank) {
            assert_eq!(behind.client_address(Peer::Unix, &next), Some(address));
        }
    }
}

fn is_blank(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().is_empty()
}
