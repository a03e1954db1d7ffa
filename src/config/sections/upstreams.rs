//! `upstreams` and `timeouts`.
//!
//! Owns what an upstream's address may look like. Never resolves a name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::config::sections::{Reading, name, network};
use crate::decide::policy::upstream::{Timeouts, Upstream, UpstreamAddress};

/// Each upstream has metrics of its own.
const UPSTREAMS_MAX: usize = 1_000;

/// Longer than any sane request; a timeout beyond it is a typing mistake.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// `upstreams`, in the order of the file. One whose address is mistaken is there with a stand-in,
/// so that routes may name it.
pub fn upstreams(top: &Mapping<'_>, reading: &Reading<'_>) -> Vec<Arc<Upstream>> {
    let Some(value) = top.require("upstreams") else { return Vec::new() };
    let table = value.table().unwrap_or_default();
    if value.is_mapping() {
        let _ = value.check_count(table.len(), &(1..=UPSTREAMS_MAX));
    }
    let mut upstreams = Vec::with_capacity(table.len());
    for (key, value) in table {
        if let Err(message) = name(key) {
            value.mistake(message);
        }
        let (address, timeouts) = upstream(&value, reading);
        upstreams.push(Arc::new(Upstream {
            name: key.into(),
            index: upstreams.len(),
            address: address
                .unwrap_or_else(|| UpstreamAddress::Tcp { host: "invalid".into(), port: 0 }),
            timeouts: timeouts.unwrap_or_default().over(Timeouts::default()),
        }));
    }
    upstreams
}

fn upstream(
    value: &Value<'_>,
    reading: &Reading<'_>,
) -> (Option<UpstreamAddress>, Option<TimeoutSettings>) {
    let Some(section) = value.section(&keys::UPSTREAM) else { return (None, None) };
    let url = section.require("url");
    let address = url.and_then(|url| url.parse(|text| address(text, reading)));
    (address, section.find("timeouts").and_then(|value| timeouts(&value)))
}

/// `http://HOST:PORT` or `unix:PATH`. The text is not quoted: it might hold a password.
fn address(text: &str, reading: &Reading<'_>) -> Result<UpstreamAddress, String> {
    const ACCEPTED: &str = "http://HOST:PORT and unix:PATH are accepted";
    if let Some(path) = text.strip_prefix("unix:") {
        let path = network::socket_path(path, reading)?;
        let path = path.to_str().ok_or_else(|| "the path is not UTF-8".to_owned())?;
        return Ok(UpstreamAddress::Unix(path.into()));
    }
    for scheme in ["https", "h2c"] {
        if text.split_once("://").is_some_and(|(have, _)| have.eq_ignore_ascii_case(scheme)) {
            return Err(format!(
                "{scheme} upstreams are not available in this version; {ACCEPTED}"
            ));
        }
    }
    let authority = text
        .strip_prefix("http://")
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
    let (host, port) = host_and_port(authority)
        .ok_or_else(|| format!("{authority:?} is not a host and port; {ACCEPTED}"))?;
    Ok(UpstreamAddress::Tcp { host: host.into(), port })
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
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
        None => 80,
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

/// `timeouts` as written: what is absent holds as it would without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutSettings {
    connect: Option<Duration>,
    response: Option<Duration>,
    idle: Option<Duration>,
    keepalive: Option<Duration>,
    body: Option<Duration>,
    write: Option<Duration>,
}

impl TimeoutSettings {
    /// These where given, `base` elsewhere.
    #[must_use]
    pub fn over(self, base: Timeouts) -> Timeouts {
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

/// `timeouts` of an upstream or a route.
pub fn timeouts(value: &Value<'_>) -> Option<TimeoutSettings> {
    let section = value.section(&keys::TIMEOUTS)?;
    // Zero would mean "at once" to one layer and "never" to another.
    let read = |name| {
        section.find(name).and_then(|value| value.duration(Duration::from_millis(1)..=TIMEOUT_MAX))
    };
    Some(TimeoutSettings {
        connect: read("connect"),
        response: read("response"),
        idle: read("idle"),
        keepalive: read("keepalive"),
        body: read("body"),
        write: read("write"),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16), &str>) {
        let reading = Reading::new(Path::new("/etc/gatepost"));
        match (address(text, &reading), expected) {
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
        check("http://app.svc.cluster.local:8080", Ok(("app.svc.cluster.local", 8080)));
        check("http://[::1]:3000", Ok(("::1", 3000)));
        check("http://[::1]", Ok(("::1", 80)));
        check("unix:/run/app.sock", Ok(("/run/app.sock", 0)));
        check("unix:app.sock", Ok(("/etc/gatepost/app.sock", 0)));
    }

    #[test]
    fn an_upstream_is_nothing_else() {
        for text in ["app:3000", "127.0.0.1:3000", "ftp://app", "HTTP://app", "", "http:/app"] {
            check(text, Err("not the address of an upstream"));
        }
        for text in ["https://app", "h2c://app", "HTTPS://app:1"] {
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
        let reading = Reading::new(Path::new("/"));
        assert!(!address("http://user:hunter2@app", &reading).unwrap_err().contains("hunter2"));
        assert!(!address("ftp://user:hunter2@app", &reading).unwrap_err().contains("hunter2"));
    }
}
