//! Access to the pages of the admin listener.
//!
//! Owns the token, the known hosts and the header of changes (the contract, "Admin listener").
//! An attacker reaches the listener only through a browser on the operator's machine that follows
//! an attacker's name to loopback (DNS rebinding) or sends a form across origins. A browser cannot
//! fake `Host`, and cannot send `X-Gatepost-Admin` without a preflight, which nothing here answers.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderName, StatusCode, header};
use subtle::ConstantTimeEq;

use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::config::ListenAddress;
use crate::serve::admin::problem::Problem;

/// Says that a change is meant.
const ADMIN: HeaderName = HeaderName::from_static("x-gatepost-admin");

/// The demands of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// The token, where one is set: `/metrics`, which scrapers reach under any name.
    Token,
    /// Also a known Host.
    Read,
    /// Also the header that says that a change is meant.
    Change,
}

/// The demands on callers of the listener.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Of the token: comparing digests tells nothing about its length.
    token: Option<[u8; 32]>,
    hosts: KnownHosts,
}

/// The hosts under which the listener is known.
#[derive(Clone, Debug)]
enum KnownHosts {
    /// A Unix socket: no browser gets here.
    Any,
    /// `localhost`, loopback addresses and this one. If it is unspecified, every address: a name
    /// is what rebinding needs.
    Address(IpAddr),
}

impl Guard {
    pub(super) fn new(address: &ListenAddress, token: Option<&Secret<String>>) -> Self {
        let hosts = match address {
            ListenAddress::Tcp(address) => KnownHosts::Address(address.ip()),
            ListenAddress::Unix(_) => KnownHosts::Any,
        };
        Self { token: token.map(|token| sha256(token.expose().as_bytes())), hosts }
    }

    pub(super) fn admit(&self, parts: &Parts, demand: Demand) -> Result<(), Problem> {
        match demand {
            Demand::Token => self.check_token(parts),
            Demand::Read => {
                self.check_host(parts)?;
                self.check_token(parts)
            }
            Demand::Change => {
                self.check_host(parts)?;
                self.check_token(parts)?;
                check_intent(parts)
            }
        }
    }

    fn check_host(&self, parts: &Parts) -> Result<(), Problem> {
        let mut fields = parts.headers.get_all(header::HOST).iter();
        let (host, more) = (fields.next(), fields.next());
        let host = host.and_then(|host| host.to_str().ok());
        if more.is_none() && host.is_some_and(|host| self.hosts.has(host)) {
            return Ok(());
        }
        let detail = "Host is not one this listener is known under: ask it by its address";
        Err(Problem::new(StatusCode::FORBIDDEN, "host_unknown", detail))
    }

    fn check_token(&self, parts: &Parts) -> Result<(), Problem> {
        let Some(expected) = &self.token else { return Ok(()) };
        let presented = bearer(parts).map(|token| sha256(token.as_bytes()));
        if presented.is_some_and(|presented| bool::from(presented.ct_eq(expected))) {
            return Ok(());
        }
        let detail = "send Authorization: Bearer with the content of admin.token_file, or of admin.token in \
                      state_dir";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail))
    }
}

impl KnownHosts {
    fn has(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Address(own) => match name_of(host) {
                Some(name) if name.eq_ignore_ascii_case("localhost") => true,
                Some(name) => name.parse::<IpAddr>().is_ok_and(|ip| {
                    let ip = ip.to_canonical();
                    own.is_unspecified() || ip.is_loopback() || ip == own.to_canonical()
                }),
                None => false,
            },
        }
    }
}

fn check_intent(parts: &Parts) -> Result<(), Problem> {
    if parts.headers.get(ADMIN).is_some_and(|value| value == "1") {
        return Ok(());
    }
    let detail = "a change needs the header X-Gatepost-Admin: 1";
    Err(Problem::new(StatusCode::FORBIDDEN, "intent_missing", detail))
}

/// The host of a Host field without its port and brackets.
fn name_of(host: &str) -> Option<&str> {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let (name, port) = rest.split_once(']')?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(name);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

/// The one bearer token of a request (RFC 6750 section 2.1).
fn bearer(parts: &Parts) -> Option<&str> {
    let mut fields = parts.headers.get_all(header::AUTHORIZATION).iter();
    let field = fields.next()?.to_str().ok()?;
    if fields.next().is_some() {
        return None;
    }
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn guard(address: &str, token: Option<&str>) -> Guard {
        let address = match address.strip_prefix("unix:") {
            Some(path) => ListenAddress::Unix(PathBuf::from(path)),
            None => ListenAddress::Tcp(address.parse().unwrap()),
        };
        Guard::new(&address, token.map(|token| Secret::new(token.to_owned())).as_ref())
    }

    #[track_caller]
    fn check(guard: &Guard, demand: Demand, fields: &[(&str, &str)], status: u16) {
        let answer = guard.admit(&parts(fields), demand);
        assert_eq!(answer.err().map_or(200, |problem| problem.status().as_u16()), status);
    }

    #[test]
    fn r214_only_known_hosts_are_answered() {
        let loopback = guard("127.0.0.1:9090", None);
        for host in ["localhost", "LOCALHOST:9090", "127.0.0.1:1", "127.8.8.8", "[::1]:9090"] {
            check(&loopback, Demand::Read, &[("host", host)], 200);
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9090",
            "10.0.0.1",
            "[::1",
            "[::1]x",
            "localhost:",
            "localhost:9090:1",
            "user@localhost",
            "2130706433",
            "0x7f.1",
        ] {
            check(&loopback, Demand::Read, &[("host", host)], 403);
            check(&loopback, Demand::Token, &[("host", host)], 200);
        }
        check(&loopback, Demand::Read, &[], 403);
        check(&loopback, Demand::Read, &[("host", "localhost"), ("host", "localhost")], 403);
    }

    #[test]
    fn r214_a_listener_is_known_under_its_own_address() {
        check(&guard("10.0.0.7:9090", None), Demand::Read, &[("host", "10.0.0.7:9090")], 200);
        check(&guard("10.0.0.7:9090", None), Demand::Read, &[("host", "10.0.0.8:9090")], 403);
        check(&guard("0.0.0.0:9090", None), Demand::Read, &[("host", "192.168.1.1")], 200);
        check(&guard("0.0.0.0:9090", None), Demand::Read, &[("host", "gatepost")], 403);
        check(&guard("unix:/x", None), Demand::Read, &[("host", "anything")], 200);
    }

    #[test]
    fn contract_admin_the_token_is_demanded_where_one_is_set() {
        let guard = guard("127.0.0.1:9090", Some(TOKEN));
        let host = ("host", "localhost");
        for demand in [Demand::Token, Demand::Read] {
            check(&guard, demand, &[host], 401);
            for wrong in [
                "",
                "Bearer",
                "Bearer ",
                "Bearer 0123456789abcde",
                "Bearer 0123456789abcdef0",
                "Bearer 0123456789abcdeF",
                "Basic 0123456789abcdef",
                "0123456789abcdef",
            ] {
                check(&guard, demand, &[host, ("authorization", wrong)], 401);
            }
            check(&guard, demand, &[host, ("authorization", "Bearer 0123456789abcdef")], 200);
            check(&guard, demand, &[host, ("authorization", "bearer 0123456789abcdef")], 200);
        }
        let right = ("authorization", "Bearer 0123456789abcdef");
        check(&guard, Demand::Read, &[host, right, right], 401);
    }

    #[test]
    fn contract_admin_a_change_needs_its_header_and_everything_else() {
        let guard = guard("127.0.0.1:9090", Some(TOKEN));
        let (host, token) = (("host", "localhost"), ("authorization", "Bearer 0123456789abcdef"));
        let intent = ("x-gatepost-admin", "1");
        check(&guard, Demand::Change, &[host, token, intent], 200);
        check(&guard, Demand::Change, &[host, token], 403);
        check(&guard, Demand::Change, &[host, token, ("x-gatepost-admin", "true")], 403);
        check(&guard, Demand::Change, &[host, intent], 401);
        check(&guard, Demand::Change, &[token, intent], 403);
    }

    #[test]
    fn r902_the_token_is_in_no_debug_output() {
        let guard = guard("127.0.0.1:9090", Some(TOKEN));
        assert!(!format!("{guard:?}").contains(TOKEN));
    }
}
