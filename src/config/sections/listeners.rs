//! `listeners`, `admin` and `metrics`.
//!
//! Owns the addresses of sockets. Never binds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::language::walk::key::{Absent, Key, Section};
use crate::config::language::walk::types::{Custom, Lasting, List, Nested, Text, Words};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{Admin, ListenAddress, Listener};
use crate::config::sections::file::{FILE, FileName};
use crate::config::sections::listener_tls::TLS;
use crate::decide::request::address::TrustedProxies;
use crate::decide::request::proxy_protocol::ProxyProtocol;

/// `sun_path` has 108 bytes, one of them for the end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// `listeners`. Each is a socket and a task or more.
pub(super) static LISTENERS: Key<List<Nested>> = Key::required(
    "listeners",
    List(Nested(&LISTENER), 1, 64),
    "public listeners; a change needs a restart",
);

static LISTENER: Section =
    Section::new("a listener", &[&ADDRESS, &KEEPALIVE, &TLS, &PROXY_PROTOCOL, &PROTOCOLS]);

static PROTOCOLS: Key<Absent> = Key::unavailable("protocols", "HTTP/2");

static ADDRESS: Key<Custom<Text, ListenAddress>> =
    Key::required("address", Custom(Text, address), "an IP address and port, or unix:PATH");

// A balancer in front usually keeps its side for 60 s.
static KEEPALIVE: Key<Lasting> = Key::new(
    "keepalive",
    Lasting(Duration::from_secs(1), Duration::from_secs(3_600)),
    "the maximum idle time of a client connection; longer than that of the balancer in front",
)
.or("75s");

static PROXY_PROTOCOL: Key<Words<Option<ProxyProtocol>>> = Key::new(
    "proxy_protocol",
    Words(&[
        ("off", None),
        ("required", Some(ProxyProtocol::Any)),
        ("any", Some(ProxyProtocol::Any)),
        ("v1", Some(ProxyProtocol::V1)),
        ("v2", Some(ProxyProtocol::V2)),
    ]),
    "each connection begins with a PROXY header, of a peer in trusted_proxies; `required` and `any` take both versions",
)
.or("off");

/// `admin`.
pub(super) static ADMIN: Key<Nested> = Key::new(
    "admin",
    Nested(&ADMIN_LISTENER),
    "the admin listener with metrics, probes, status and reload; absent means off; a change needs a restart",
);

static ADMIN_LISTENER: Section = Section::new("admin", &[&ADDRESS, &TOKEN_FILE]);

static TOKEN_FILE: Key<FileName> = Key::new(
    "token_file",
    FILE,
    "a file with the required bearer token; needed beyond loopback and Unix sockets",
);

/// `metrics`.
pub(super) static METRICS: Key<Nested> = Key::new(
    "metrics",
    Nested(&METRICS_LISTENER),
    "a second listener with /metrics, /livez and /readyz only, without authentication; a change needs a restart",
);

static METRICS_LISTENER: Section = Section::new("metrics", &[&ADDRESS]);

/// Every listener of the process.
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listener>,
    pub(super) admin: Option<Admin>,
    pub(super) metrics: Option<ListenAddress>,
}

/// `listeners`, `admin` and `metrics`, which must differ.
pub(super) fn sockets(top: &Mapping<'_>) -> Sockets {
    let listeners = top.require(&LISTENERS);
    let listeners = listeners.map(|value| listeners_of(&value)).unwrap_or_default();
    let admin = top.find(&ADMIN).and_then(|value| admin_of(&value, &listeners));
    let metrics = top.find(&METRICS);
    let metrics = metrics.and_then(|value| metrics_of(&value, &listeners, admin.as_ref()));
    Sockets { listeners, admin, metrics }
}

fn listeners_of(value: &Value<'_>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in LISTENERS.items(value) {
        let Some(section) = item.section(&LISTENER) else { continue };
        let (address, keepalive) = (section.read(&ADDRESS), section.read(&KEEPALIVE));
        let (tls, proxy_protocol) = (section.read(&TLS), section.read(&PROXY_PROTOCOL));
        let (Some(address), Some(keepalive)) = (address, keepalive) else { continue };
        if listeners.iter().any(|other| clash(&other.address, &address)) {
            mistake(&section, "two listeners have this address");
        }
        let proxy_protocol = proxy_protocol.flatten();
        listeners.push(Listener { address, keepalive, tls, proxy_protocol });
    }
    listeners
}

/// Refuses a listener that would close every connection.
pub(in crate::config) fn check_proxy_protocol(top: &Mapping<'_>, trusted: &TrustedProxies) {
    let Some(value) = top.find(&LISTENERS).filter(|_| trusted.is_empty()) else { return };
    for item in LISTENERS.items(&value) {
        let Some(section) = item.section(&LISTENER) else { continue };
        let asks = section.read(&PROXY_PROTOCOL).flatten().is_some();
        if let Some(value) = section.find(&PROXY_PROTOCOL).filter(|_| asks) {
            value.mistake(
                "PROXY headers are taken from peers in trusted_proxies alone, and none are listed \
                 there: list the addresses of the balancer, or unix for a Unix socket",
            );
        }
    }
}

/// Records a mistake about the address of a listener.
fn mistake(section: &Mapping<'_>, message: impl Into<String>) {
    if let Some(address) = section.find(&ADDRESS) {
        address.mistake(message);
    }
}

/// True if two sockets cannot be open together; any number of them may ask for a free port.
fn clash(a: &ListenAddress, b: &ListenAddress) -> bool {
    a == b && !matches!(a, ListenAddress::Tcp(address) if address.port() == 0)
}

fn admin_of(value: &Value<'_>, listeners: &[Listener]) -> Option<Admin> {
    let section = value.section(&ADMIN_LISTENER)?;
    let (token_file, address) = (section.read(&TOKEN_FILE), section.read(&ADDRESS)?);
    if listeners.iter().any(|listener| clash(&listener.address, &address)) {
        mistake(&section, "a public listener has this address");
    }
    if let ListenAddress::Tcp(tcp) = &address
        && !tcp.ip().to_canonical().is_loopback()
        && !section.has(&TOKEN_FILE)
    {
        let remedy = "add token_file, or listen on 127.0.0.1 or a Unix socket";
        mistake(&section, format!("{tcp} is reachable by others: {remedy}"));
    }
    Some(Admin { address, token_file })
}

/// Counts and probes disclose nothing about callers: they need no token on any address.
fn metrics_of(
    value: &Value<'_>,
    listeners: &[Listener],
    admin: Option<&Admin>,
) -> Option<ListenAddress> {
    let section = value.section(&METRICS_LISTENER)?;
    let address = section.read(&ADDRESS)?;
    if listeners.iter().any(|listener| clash(&listener.address, &address)) {
        mistake(&section, "a public listener has this address");
    }
    if admin.is_some_and(|admin| clash(&admin.address, &address)) {
        mistake(&section, "the admin listener has this address, and serves the same pages");
    }
    Some(address)
}

/// `IP:PORT` or `unix:PATH`.
fn address(value: &Value<'_>) -> Option<ListenAddress> {
    value.parse(|text| match text.strip_prefix("unix:") {
        Some(path) => socket_path(value, path).map(ListenAddress::Unix),
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
/// A path that no socket can have; the message says what is accepted.
pub(super) fn socket_path(value: &Value<'_>, path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.starts_with("//") || path.contains('\0') {
        return Err(format!("{path:?} is not the path of a socket: write unix:/path"));
    }
    let resolved = value.folder().join(path);
    if resolved.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "the path of the socket is too long: at most {SOCKET_PATH_BYTES_MAX} bytes are accepted"
        ));
    }
    Ok(resolved)
}
