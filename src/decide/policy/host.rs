//! Hosts of requests and host patterns of routes.
//!
//! Owns the one form in which hosts are compared: lower case, less default port and one
//! final dot. Never resolves a name.
//!
//! Ports. `:80` and `:443` are default ports on every listener: a balancer may have terminated TLS.
//! A pattern without a port means the default ports; one with a port (`app.example.com:8080`) means
//! that port alone. A request for a bound host on a port that no pattern names matches no route at
//! all. It must not fall through to a route for every host, because most upstreams ignore the port
//! and would serve the bound host under the weaker route.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::decide::policy::PatternError;

/// The longest accepted host name, in bytes (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// A host pattern: an exact host, or `*.` and a domain for every host below it (not the domain
/// itself), each with an optional port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    text: Box<str>,
}

impl HostPattern {
    /// Reads a pattern; lower-cases it, removes a default port and one final dot.
    ///
    /// [`PatternError`] with the mistake and what is accepted.
    /// [`PatternError`] saying what is wrong and what is accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let wrong = |why: &str| Err(PatternError(format!("{text:?} {why}")));
        if text == "*" {
            return wrong("is every host; leave `hosts` out for that");
        }
        if !text.is_ascii() {
            return wrong("is not ASCII; write the name in its xn-- form (punycode)");
        }
        if text.contains("://") || text.contains('/') {
            return wrong("is a URL; accepted is a host alone, like app.example.com");
        }
        let (prefix, host) = text.strip_prefix("*.").map_or(("", text), |domain| ("*.", domain));
        if host.contains('*') {
            return wrong(
                "has `*` elsewhere than in a leading `*.`; accepted are an exact host and `*.example.com`",
            );
        }
        match normalize_host(host.as_bytes()) {
            Some(normal) if !prefix.is_empty() && normal.starts_with('[') => {
                wrong("has `*.` before an address")
            }
            Some(normal) => Ok(Self { text: format!("{prefix}{normal}").into() }),
            None => wrong(
                "is not a host; accepted are app.example.com, *.example.com, 192.0.2.1 and [2001:db8::1], each with an optional :port",
            ),
        }
    }

    /// In normal form, without its port.
    #[must_use]
    pub fn without_port(&self) -> &str {
        split_port(&self.text).unwrap_or(&self.text)
    }

    /// In normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The host of a request in the form that is matched: lower case, less default port and one final
/// dot; the field itself where it is in that form. `None` when it is not a host: user information,
/// spaces, an empty label, a bad port.
#[must_use]
pub fn normalize_host(field: &[u8]) -> Option<Cow<'_, str>> {
    let field = str::from_utf8(field).ok().filter(|field| field.is_ascii())?;
    let (name, digits) = match field.rsplit_once(':') {
        Some((name, digits)) if !digits.contains(']') => (name, Some(digits)),
        _ => (field, None),
    };
    let port = digits.map_or(Some(None), parse_port)?;
    let host = match name.strip_prefix('[') {
        Some(address) => {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            Cow::Owned(format!("[{address}]"))
        }
        None => normalize_name(name)?,
    };
    let Some(port) = port else { return Some(host) };
    let is_normal = digits.is_some_and(|digits| !digits.starts_with('0'))
        && matches!(host, Cow::Borrowed(host) if host.len() == name.len());
    Some(if is_normal { Cow::Borrowed(field) } else { Cow::Owned(format!("{host}:{port}")) })
}

/// Splits the port off a host in normal form.
pub(crate) fn split_port(host: &str) -> Option<&str> {
    host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(name, _)| name)
}

/// `None` is a bad port, `Some(None)` a default one.
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.parse().ok()? {
        0 => None,
        80 | 443 => Some(None),
        port => Some(Some(port)),
    }
}

fn normalize_name(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > HOST_BYTES_MAX {
        return None;
    }
    let (mut in_label, mut is_lower) = (false, true);
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => in_label = true,
            b'A'..=b'Z' => (in_label, is_lower) = (true, false),
            // Every label has something in it.
            b'.' if in_label => in_label = false,
            _ => return None,
        }
    }
    in_label
        .then(|| if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, expected: Option<&str>) {
        assert_eq!(normalize_host(field.as_bytes()).as_deref(), expected, "{field:?}");
    }

    #[test]
    fn r213_hosts_are_compared_in_lower_case_less_default_port_and_one_final_dot() {
        check("App.Example.COM", Some("app.example.com"));
        check("app.example.com.", Some("app.example.com"));
        check("app.example.com:80", Some("app.example.com"));
        check("app.example.com:443", Some("app.example.com"));
        check("app.example.com.:0443", Some("app.example.com"));
        check("app.example.com:8080", Some("app.example.com:8080"));
        check("app.example.com:08080", Some("app.example.com:8080"));
        check("my_service", Some("my_service"));
        check("192.0.2.1:80", Some("192.0.2.1"));
        check("[2001:DB8::0:1]", Some("[2001:db8::1]"));
        check("[::1]:80", Some("[::1]"));
        check("[::1]:8080", Some("[::1]:8080"));
    }

    #[test]
    fn r213_the_longest_name_is_one_and_a_longer_one_is_none() {
        let name = format!("{}.example", "a".repeat(HOST_BYTES_MAX - 8));
        check(&name, Some(&name));
        check(&format!("{name}."), Some(&name));
        check(&format!("a{name}"), None);
    }

    #[test]
    fn r213_what_is_not_a_host_has_no_normal_form() {
        for wrong in [
            "",
            ".",
            "a..b",
            ".a",
            "a...",
            "a..",
            "user@a",
            "a b",
            " a",
            "a ",
            "a\tb",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "a:",
            "a:x",
            "a:+80",
            "a:-1",
            "a:0",
            "a:65536",
            "a:80:80",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[a]",
            "a,b",
            "*.a",
            "é",
            ":80",
        ] {
            check(wrong, None);
        }
        assert_eq!(normalize_host(b"a\xff"), None);
        assert_eq!(normalize_host(&[b'a'; 254]), None);
    }

    #[test]
    fn contract_which_route_host_patterns() {
        for (text, normal) in [
            ("App.Example.com.", "app.example.com"),
            ("*.Example.com", "*.example.com"),
            ("*.example.com:8443", "*.example.com:8443"),
            ("app.example.com:443", "app.example.com"),
            ("[::1]", "[::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().as_str(), normal);
        }
        for (text, why) in [
            ("*", "leave `hosts` out"),
            ("", "not a host"),
            ("*.", "not a host"),
            ("*.*.com", "elsewhere"),
            ("a*.com", "elsewhere"),
            ("app.*", "elsewhere"),
            ("https://app.example.com", "a URL"),
            ("app.example.com/x", "a URL"),
            ("bücher.example", "punycode"),
            ("app.example.com:x", "not a host"),
            ("*.[::1]", "before an address"),
        ] {
            let message = HostPattern::parse(text).unwrap_err().0;
            assert!(message.contains(why) && message.contains(text), "{message}");
        }
    }
}
