//! `upstreams` and `timeouts`.
//!
//! Owns the form of an upstream's address. Never resolves a name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{Custom, Lasting, NestedAs, Table, Text};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::UpstreamTls;
use crate::config::sections::listeners::socket_path;
use crate::config::sections::name;
use crate::config::sections::upstream_tls::{self, TLS};
use crate::decide::policy::upstream::{Timeouts, Upstream, UpstreamAddress};

/// `upstreams`. Each has its own metrics.
pub(super) static UPSTREAMS: Key<Table<NestedAs<Settings>>> = Key::required(
    "upstreams",
    Table(NestedAs(&UPSTREAM, settings), 1, 1_000),
    "the protected services, by a name of your choice",
);

static UPSTREAM: Section = Section::new("an upstream", &[&URL, &TLS, &UPSTREAM_TIMEOUTS]);

static URL: Key<Custom<Text, Address>> = Key::required(
    "url",
    Custom(Text, address),
    "http://HOST:PORT, https://HOST:PORT or unix:PATH, without a path or query",
);

static UPSTREAM_TIMEOUTS: Key<NestedAs<Timeouts>> =
    Key::new("timeouts", NestedAs(&TIMEOUTS, all_timeouts), "the timeout of each step").or("{}");

pub(in crate::config) static TIMEOUTS: Section =
    Section::new("timeouts", &[&CONNECT, &RESPONSE, &IDLE, &KEEPALIVE, &BODY, &WRITE]);

/// Zero would mean "at once" to one layer and "never" to another; a day is longer than any request
/// and hints at a typing mistake.
const TIMEOUT: Lasting = Lasting(Duration::from_millis(1), Duration::from_secs(86_400));

static CONNECT: Key<Lasting> = Key::new("connect", TIMEOUT, "to connect").or("1s");

static RESPONSE: Key<Lasting> =
    Key::new("response", TIMEOUT, "from the request's end to the response's headers").or("30s");

static IDLE: Key<Lasting> = Key::new("idle", TIMEOUT, "between pieces of a body").or("60s");

static KEEPALIVE: Key<Lasting> =
    Key::new("keepalive", TIMEOUT, "the maximum idle time of a pooled connection").or("4s");

static BODY: Key<Lasting> =
    Key::new("body", TIMEOUT, "between two reads of the request body from the client").or("60s");

static WRITE: Key<Lasting> =
    Key::new("write", TIMEOUT, "between two writes of the response to the client").or("60s");

/// `upstreams`, in the order of the file. One with a mistake is represented by a stand-in, so that
/// routes may name it.
pub(in crate::config) fn upstreams(top: &Mapping<'_>) -> (Vec<Arc<Upstream>>, Tls) {
    let (mut upstreams, mut tls) = (Vec::new(), Vec::new());
    let Some(value) = top.require(&UPSTREAMS) else { return (upstreams, tls) };
    for (key, value) in UPSTREAMS.table(&value) {
        if let Err(message) = name(key) {
            value.mistake(message);
        }
        let read = UPSTREAMS.form.0.read(&value);
        let (address, own, timeouts) =
            read.unwrap_or_else(|| (nowhere(), None, Timeouts::all(Duration::from_secs(1))));
        let name: Arc<str> = key.into();
        upstreams.push(Arc::new(Upstream {
            name: Arc::clone(&name),
            index: upstreams.len(),
            address,
            tls: own.is_some(),
            timeouts,
        }));
        tls.extend(own.map(|own| (name, own)));
    }
    (upstreams, tls)
}

/// TLS of upstreams, by their names.
type Tls = Vec<(Arc<str>, UpstreamTls)>;

/// The address, TLS and timeouts of an upstream.
type Settings = (UpstreamAddress, Option<UpstreamTls>, Timeouts);

/// An address, and whether its scheme is `https`.
type Address = (UpstreamAddress, bool);

fn settings(section: &Mapping<'_>) -> Option<Settings> {
    let (url, timeouts) = (section.read(&URL), section.read(&UPSTREAM_TIMEOUTS));
    let (address, is_https) = url.unwrap_or_else(|| (nowhere(), section.has(&TLS)));
    let tls = upstream_tls::of(section, &address, is_https);
    // A mistake in it must not make an upstream without TLS of it.
    let address = if is_https && tls.is_none() { nowhere() } else { address };
    Some((address, tls, timeouts?))
}

/// The address of a stand-in: a configuration with a mistake is never published.
pub(super) fn nowhere() -> UpstreamAddress {
    UpstreamAddress::Tcp { host: "invalid".into(), port: 0 }
}

fn address(value: &Value<'_>) -> Option<Address> {
    value.parse(|text| parse_address(value, text))
}

/// `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. Messages do not quote the text: it might contain a password.
fn parse_address(value: &Value<'_>, text: &str) -> Result<Address, String> {
    const ACCEPTED: &str = "http://HOST:PORT, https://HOST:PORT and unix:PATH are accepted";
    if let Some(path) = text.strip_prefix("unix:") {
        let path = socket_path(value, path)?;
        let path = path.to_str().ok_or_else(|| "the path is not UTF-8".to_owned())?;
        return Ok((UpstreamAddress::Unix(path.into()), false));
    }
    if text.split_once("://").is_some_and(|(have, _)| have.eq_ignore_ascii_case("h2c")) {
        return Err(format!("h2c upstreams are not available in this version; {ACCEPTED}"));
    }
    let https = text.strip_prefix("https://");
    let default_port = if https.is_some() { 443 } else { 80 };
    let authority = https
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(|| format!("not the address of an upstream; {ACCEPTED}"))?;
    if authority.contains('@') {
        return Err(format!("an upstream takes no user or password; {ACCEPTED}"));
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err(format!(
            "an upstream has no path or query, because requests are forwarded with their own: \
             remove everything after the port; {ACCEPTED}"
        ));
    }
    let (host, port) = host_and_port(authority, default_port)
        .ok_or_else(|| format!("{authority:?} is not a host and port; {ACCEPTED}"))?;
    Ok((UpstreamAddress::Tcp { host: host.into(), port }, https.is_some()))
}

fn host_and_port(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            (host, port)
        }
        None => {
            let (host, port) =
                authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
            is_host(host).then_some((host, port))?
        }
    };
    let port = match port {
        None => default_port,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
    };
    (port != 0).then_some((host, port))
}

/// An IPv4 address or a name of letters, digits, `-`, `_` and dots. What looks like a number but
/// is no address (`127.1`, `0x7f.1`) is refused: resolvers disagree about it.
fn is_host(host: &str) -> bool {
    let labels_fit = host.len() <= 253
        && host.trim_end_matches('.').split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        });
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let numeric = last.starts_with(|c: char| c.is_ascii_digit());
    labels_fit && (!numeric || host.parse::<IpAddr>().is_ok())
}

/// `timeouts` of a route: those of the upstream where it has none.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteTimeouts {
    connect: Option<Duration>,
    response: Option<Duration>,
    idle: Option<Duration>,
    keepalive: Option<Duration>,
    body: Option<Duration>,
    write: Option<Duration>,
}

impl RouteTimeouts {
    /// The timeouts of a route to an upstream with the timeouts `base`.
    pub(super) fn over(self, base: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(base.connect),
            response: self.response.unwrap_or(base.response),
            idle: self.idle.unwrap_or(base.idle),
            keepalive: self.keepalive.unwrap_or(base.keepalive),
            body: self.body.unwrap_or(base.body),
            write: self.write.unwrap_or(base.write),
        }
    }
}

/// The type of `timeouts` of a route.
pub(super) const ROUTE_TIMEOUTS: NestedAs<RouteTimeouts> = NestedAs(&TIMEOUTS, written_timeouts);

fn written_timeouts(section: &Mapping<'_>) -> Option<RouteTimeouts> {
    Some(RouteTimeouts {
        connect: section.written(&CONNECT),
        response: section.written(&RESPONSE),
        idle: section.written(&IDLE),
        keepalive: section.written(&KEEPALIVE),
        body: section.written(&BODY),
        write: section.written(&WRITE),
    })
}

fn all_timeouts(section: &Mapping<'_>) -> Option<Timeouts> {
    Some(Timeouts {
        connect: section.read(&CONNECT)?,
        response: section.read(&RESPONSE)?,
        idle: section.read(&IDLE)?,
        keepalive: section.read(&KEEPALIVE)?,
        body: section.read(&BODY)?,
        write: section.read(&WRITE)?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::language::node::{Node, NodeKind, Place};
    use crate::config::language::report::Report;

    fn read(text: &str) -> Result<UpstreamAddress, String> {
        read_address(text).map(|(address, _)| address)
    }

    fn read_address(text: &str) -> Result<Address, String> {
        let report = Report::new(Path::new("/etc/gatepost/g.yaml"));
        let node = Node { place: Place::default(), kind: NodeKind::Sequence(Vec::new()) };
        parse_address(&Value::root(&report, &node), text)
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16), &str>) {
        match (read(text), expected) {
            (Ok(UpstreamAddress::Tcp { host, port }), Ok(expected)) => {
                assert_eq!((host.as_ref(), port), expected, "{text}");
            }
            (Ok(UpstreamAddress::Unix(path)), Ok((expected, 0))) => {
                assert_eq!(path.as_ref(), expected);
            }
            (Err(message), Err(why)) => assert!(message.contains(why), "{text}: {message}"),
            (got, expected) => panic!("{text}: {got:?} is not {expected:?}"),
        }
    }

    #[test]
    fn an_upstream_is_a_host_and_port_or_a_socket() {
        check("http://127.0.0.1:3000", Ok(("127.0.0.1", 3000)));
        check("http://app", Ok(("app", 80)));
        check("https://app", Ok(("app", 443)));
        check("https://[::1]", Ok(("::1", 443)));
        check("https://app:8443", Ok(("app", 8443)));
        assert!(read_address("https://app").unwrap().1 && !read_address("http://app").unwrap().1);
        check("http://app.svc.cluster.local:8080", Ok(("app.svc.cluster.local", 8080)));
        check("http://[::1]:3000", Ok(("::1", 3000)));
        check("http://[::1]", Ok(("::1", 80)));
        check("unix:/run/app.sock", Ok(("/run/app.sock", 0)));
        check("unix:app.sock", Ok(("/etc/gatepost/app.sock", 0)));
    }

    #[test]
    fn an_upstream_is_nothing_else() {
        for text in [
            "app:3000",
            "127.0.0.1:3000",
            "ftp://app",
            "HTTP://app",
            "HTTPS://app",
            "",
            "http:/app",
        ] {
            check(text, Err("not the address of an upstream"));
        }
        for text in ["h2c://app", "H2C://app:1"] {
            check(text, Err("not available in this version"));
        }
        for text in ["http://app/", "http://app/v1", "http://app?x=1", "http://app#x"] {
            check(text, Err("no path or query"));
        }
        for text in [
            "http://",
            "http://:80",
            "http://app:",
            "http://app:0",
            "http://app:65536",
            "http://app:+1",
            "http://a b",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://127.1",
            "http://0x7f.1",
            "http://1.2.3.256",
            "http://a..b",
            "http://ä",
        ] {
            check(text, Err("is not a host and port"));
        }
        check("unix:", Err("is not the path of a socket"));
        check("unix://run/app.sock", Err("is not the path of a socket"));
        check(&format!("unix:/{}", "x".repeat(120)), Err("too long"));
    }

    #[test]
    fn r902_a_password_in_an_upstream_is_not_repeated() {
        check("http://user:hunter2@app", Err("takes no user or password"));
        assert!(!read("http://user:hunter2@app").unwrap_err().contains("hunter2"));
        assert!(!read("ftp://user:hunter2@app").unwrap_err().contains("hunter2"));
    }
}
