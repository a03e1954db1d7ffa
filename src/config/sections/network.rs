//! Where we listen, whom we believe about addresses, and what belongs to the process: `listeners`,
//! `admin`, `trusted_proxies`, `access_log` and their neighbours.
//!
//! Owns the part of the configuration that needs a restart, and trusted proxies. Never binds.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::keys;
use crate::config::language::expand::Environment;
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{
    AccessLog, AccessLogTarget, Admin, ConnectionCaps, ListenAddress, Listener, Startup,
};
use crate::config::sections::{Reading, size};
use crate::decide::request::address::TrustedProxies;
use crate::decide::token_cache::SIZE_DEFAULT;

/// Each listener is a socket and a task or more.
const LISTENERS_MAX: usize = 64;

/// An idle client connection; a balancer in front usually keeps its side for 60 s.
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(75);

/// Walked for every request from a peer.
const PROXIES_MAX: usize = 1_000;

/// `sun_path` has 108 bytes, one of them for the end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where state is kept unless somebody says otherwise.
const STATE_DIR: &str = "gatepost-state";

/// The part that needs a restart.
pub fn startup(top: &Mapping<'_>, reading: &Reading<'_>, environment: Environment<'_>) -> Startup {
    let listeners = top.require("listeners");
    let listeners = listeners.as_ref().map(|value| listeners_of(value, reading));
    let listeners = listeners.unwrap_or_default();
    let admin = top.find("admin").and_then(|value| admin_of(&value, reading, &listeners));
    let metrics = top.find("metrics");
    let metrics = metrics.and_then(|value| metrics_of(&value, reading, &listeners, admin.as_ref()));
    let number = |name, accepted, default| {
        let read = top.find(name).and_then(|value| value.number(accepted));
        read.and_then(|number| usize::try_from(number).ok()).or(default)
    };
    let patience = |name, default_s| {
        let accepted = Duration::ZERO..=Duration::from_secs(3600);
        let read = top.find(name).and_then(|value| value.duration(accepted));
        read.unwrap_or(Duration::from_secs(default_s))
    };
    Startup {
        listeners,
        admin,
        metrics,
        threads: number("threads", 1..=1024, None),
        lame_duck: patience("lame_duck", 0),
        shutdown_timeout: patience("shutdown_timeout", 30),
        connections: connections(top.find("connections").as_ref()),
        access_log: top
            .find("access_log")
            .and_then(|value| access_log(&value, reading))
            .unwrap_or(AccessLog { target: AccessLogTarget::Stdout, json: None }),
        limit_entries: number("limit_entries", 1024..=100_000_000, None).unwrap_or(262_144),
        upstream_pool: number("upstream_pool", 1..=65_535, None).unwrap_or(128),
        token_cache: token_cache(top),
        state_dir: state_dir(top, reading, environment),
    }
}

fn token_cache(top: &Mapping<'_>) -> u64 {
    const ACCEPTED: RangeInclusive<u64> = 1 << 20..=64 << 30;
    let read = top.find("token_cache").and_then(|value| {
        value.parse(|text| match size(text)? {
            None => Ok(0),
            Some(bytes) if ACCEPTED.contains(&bytes) => Ok(bytes),
            Some(_) => Err(format!("{text:?} is not from 1MiB to 64GiB; off keeps no token")),
        })
    });
    read.unwrap_or(SIZE_DEFAULT)
}

/// As configured, else what a service manager made for us, else beside the configuration.
fn state_dir(top: &Mapping<'_>, reading: &Reading<'_>, environment: Environment<'_>) -> PathBuf {
    let configured = top.find("state_dir").and_then(|value| reading.file(&value));
    let provided = || {
        let folders = environment("STATE_DIRECTORY").filter(|folders| !folders.is_empty())?;
        folders.split(':').next().map(PathBuf::from)
    };
    configured
        .map(|folder| folder.path)
        .or_else(provided)
        .unwrap_or_else(|| reading.folder().join(STATE_DIR))
}

fn listeners_of(value: &Value<'_>, reading: &Reading<'_>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in value.items().unwrap_or_default() {
        let Some(section) = item.section(&keys::LISTENER) else { continue };
        let Some(place) = section.require("address") else { continue };
        let Some(address) = address(&place, reading) else { continue };
        if listeners.iter().any(|other| clash(&other.address, &address)) {
            place.mistake("two listeners have this address");
        }
        let keepalive = section.find("keepalive").and_then(|value| value.duration(KEEPALIVE));
        listeners.push(Listener { address, keepalive: keepalive.unwrap_or(KEEPALIVE_DEFAULT) });
    }
    let count = value.items().map_or(1, |items| items.len());
    let _ = value.check_count(count, &(1..=LISTENERS_MAX));
    listeners
}

/// Whether two sockets cannot be open together; any number of them may ask for a free port.
fn clash(a: &ListenAddress, b: &ListenAddress) -> bool {
    a == b && !matches!(a, ListenAddress::Tcp(address) if address.port() == 0)
}

fn admin_of(value: &Value<'_>, reading: &Reading<'_>, listeners: &[Listener]) -> Option<Admin> {
    let section = value.section(&keys::ADMIN)?;
    let token = section.find("token_file");
    let token_file = token.as_ref().and_then(|value| reading.file(value));
    let place = section.require("address")?;
    let address = address(&place, reading)?;
    if listeners.iter().any(|listener| clash(&listener.address, &address)) {
        place.mistake("a public listener has this address");
    }
    if let ListenAddress::Tcp(tcp) = &address
        && !tcp.ip().to_canonical().is_loopback()
        && token.is_none()
    {
        place.mistake(format!(
            "{tcp} is reachable by others: add token_file, or listen on 127.0.0.1 or a Unix socket"
        ));
    }
    Some(Admin { address, token_file })
}

/// Counts and probes tell nothing about callers: no token is needed wherever it listens.
fn metrics_of(
    value: &Value<'_>,
    reading: &Reading<'_>,
    listeners: &[Listener],
    admin: Option<&Admin>,
) -> Option<ListenAddress> {
    let section = value.section(&keys::METRICS)?;
    let place = section.require("address")?;
    let address = address(&place, reading)?;
    if listeners.iter().any(|listener| clash(&listener.address, &address)) {
        place.mistake("a public listener has this address");
    }
    if admin.is_some_and(|admin| clash(&admin.address, &address)) {
        place.mistake("the admin listener has this address, and serves the same pages");
    }
    Some(address)
}

/// `IP:PORT` or `unix:PATH`.
fn address(value: &Value<'_>, reading: &Reading<'_>) -> Option<ListenAddress> {
    value.parse(|text| match text.strip_prefix("unix:") {
        Some(path) => socket_path(path, reading).map(ListenAddress::Unix),
        None => text.parse::<SocketAddr>().map(ListenAddress::Tcp).map_err(|_| {
            format!(
                "{text:?} is not an address: write an IP address and a port, such as \
                 127.0.0.1:8080 or [::]:8080, or unix:/path"
            )
        }),
    })
}

/// The path of a Unix socket, relative to the file that names it.
///
/// # Errors
/// What is accepted.
pub fn socket_path(path: &str, reading: &Reading<'_>) -> Result<PathBuf, String> {
    if path.is_empty() || path.starts_with("//") || path.contains('\0') {
        return Err(format!("{path:?} is not the path of a socket: write unix:/path"));
    }
    let resolved = reading.folder().join(path);
    if resolved.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "the path of the socket is too long: at most {SOCKET_PATH_BYTES_MAX} bytes are accepted"
        ));
    }
    Ok(resolved)
}

fn connections(value: Option<&Value<'_>>) -> ConnectionCaps {
    let section = value.and_then(|value| value.section(&keys::CONNECTIONS));
    let number = |name| {
        let number = section.as_ref()?.find(name)?.number(1..=1_000_000)?;
        usize::try_from(number).ok()
    };
    ConnectionCaps {
        total: number("total").unwrap_or(10_000),
        per_address: number("per_address").unwrap_or(1_000),
    }
}

fn access_log(value: &Value<'_>, reading: &Reading<'_>) -> Option<AccessLog> {
    if !value.is_mapping() {
        let off = value.word(&[("off", true), ("stdout", false)])?;
        let target = if off { AccessLogTarget::Off } else { AccessLogTarget::Stdout };
        return Some(AccessLog { target, json: None });
    }
    let section = value.section(&keys::ACCESS_LOG)?;
    let file = section.find("file").map(|value| reading.file(&value));
    let json = section.find("format").map(|value| value.word(&[("text", false), ("json", true)]));
    let target = match file {
        Some(file) => AccessLogTarget::File(file?.path),
        None => AccessLogTarget::Stdout,
    };
    Some(AccessLog { target, json: json.flatten() })
}

/// `trusted_proxies`.
pub fn trusted_proxies(top: &Mapping<'_>) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    let Some(value) = top.find("trusted_proxies") else { return trusted };
    let items = value.items().unwrap_or_default();
    let _ = value.check_count(items.len(), &(0..=PROXIES_MAX));
    for item in items {
        if item.is_word("unix") {
            trusted.unix = true;
        } else if let Some(network) = item.parse(network) {
            trusted.networks.push(network);
        }
    }
    trusted
}

/// A network nobody would trust by mistake: no bits beyond its prefix, and not too wide. Half of
/// the Internet in here would let half of the Internet choose its address.
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
