//! Redirect URIs: which may be registered, and which are the same.
//!
//! Owns the exact comparison (RFC 9700 section 2.1) with its one exception, the port of loopback
//! addresses (RFC 8252 section 7.3). Nothing is normalized and no pattern is matched. Never
//! follows a URI.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// The longest redirect URI, in bytes.
pub const URI_BYTES_MAX: usize = 2_000;

/// The loopback hosts, as they are spelled in a URI.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// A URI that cannot be registered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RedirectError {
    #[error("a redirect URI has at most {URI_BYTES_MAX} bytes")]
    TooLong,
    #[error("a redirect URI has visible ASCII characters without \\, \", <, >, ^, `, {{, |, }}")]
    Characters,
    #[error("a redirect URI has no fragment (#)")]
    Fragment,
    #[error("a redirect URI has no wildcard (*): register each URI")]
    Wildcard,
    #[error("a redirect URI has no user part (@)")]
    User,
    #[error("a percent-encoding is two hexadecimal digits after %")]
    Percent,
    #[error(
        "accepted are https, http on 127.0.0.1, [::1] and localhost, and private-use schemes \
         with a dot, in lower case"
    )]
    Scheme,
    #[error("http is accepted on 127.0.0.1, [::1] and localhost alone: use https")]
    Http,
    #[error("the host is not a name or an IP address")]
    Host,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the path has a . or .. segment")]
    DotSegment,
}

/// A redirect URI that follows the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: Box<str>,
    /// For loopback: the text without the port.
    without_port: Option<Box<str>>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Https,
    Loopback,
    PrivateUse,
}

impl RedirectUri {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`RedirectError`] with the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, RedirectError> {
        check_characters(text)?;
        let (scheme, rest) = text.split_once(':').ok_or(RedirectError::Scheme)?;
        match scheme {
            "https" | "http" => Self::web(text, scheme, rest),
            _ if is_private_use(scheme) && !rest.is_empty() => {
                let hierarchy = rest.strip_prefix("//").unwrap_or_default();
                if authority_of(hierarchy).contains('@') {
                    return Err(RedirectError::User);
                }
                Ok(Self { text: text.into(), without_port: None, kind: Kind::PrivateUse })
            }
            _ => Err(RedirectError::Scheme),
        }
    }

    fn web(text: &str, scheme: &str, rest: &str) -> Result<Self, RedirectError> {
        let rest = rest.strip_prefix("//").ok_or(RedirectError::Host)?;
        let authority = authority_of(rest);
        if authority.contains('@') {
            return Err(RedirectError::User);
        }
        let (host, port) = split_port(authority)?;
        let path = &rest[authority.len()..];
        check_path(path)?;
        if scheme == "https" {
            check_host(host)?;
            return Ok(Self { text: text.into(), without_port: None, kind: Kind::Https });
        }
        if !LOOPBACK.contains(&host) {
            return Err(RedirectError::Http);
        }
        let without_port =
            port.map_or_else(|| text.into(), |_| format!("http://{host}{path}").into());
        Ok(Self { text: text.into(), without_port: Some(without_port), kind: Kind::Loopback })
    }

    /// Returns whether a presented URI is this registered one: byte for byte, or but for the port
    /// on a loopback address.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        if presented == &*self.text {
            return true;
        }
        let Some(registered) = &self.without_port else { return false };
        Self::parse(presented).is_ok_and(|uri| uri.without_port.as_ref() == Some(registered))
    }

    /// The URI as it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether another program on the person's device may receive what is sent there: a
    /// loopback address or a private-use scheme. Consent is asked for every time.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.kind != Kind::Https
    }

    /// Scheme, host and port, for `Access-Control-Allow-Origin`; `None` for private-use schemes.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        let (scheme, rest) =
            self.text.split_once("://").filter(|_| self.kind != Kind::PrivateUse)?;
        Some(&self.text[..scheme.len() + 3 + authority_of(rest).len()])
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The registered URI that a request means: the presented one, which must be registered, or the
/// only one that there is.
#[must_use]
pub fn choose<'a>(
    registered: &'a [RedirectUri],
    presented: Option<&'a str>,
) -> Option<(&'a RedirectUri, &'a str)> {
    match (presented, registered) {
        (Some(presented), _) => {
            let found = registered.iter().find(|uri| uri.is(presented));
            found.map(|uri| (uri, presented))
        }
        (None, [only]) => Some((only, only.as_str())),
        (None, _) => None,
    }
}

/// Up to the path, the query or the end.
fn authority_of(rest: &str) -> &str {
    &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
}

fn check_characters(text: &str) -> Result<(), RedirectError> {
    if text.len() > URI_BYTES_MAX {
        return Err(RedirectError::TooLong);
    }
    let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
    if !text.bytes().all(is_fit) {
        return Err(RedirectError::Characters);
    }
    let is_pair = |after: &str| {
        after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())
    };
    match () {
        () if text.contains('#') => Err(RedirectError::Fragment),
        () if text.contains('*') => Err(RedirectError::Wildcard),
        () if !text.split('%').skip(1).all(is_pair) => Err(RedirectError::Percent),
        () => Ok(()),
    }
}

/// A reversed domain name, as RFC 8252 section 7.1 asks for.
fn is_private_use(scheme: &str) -> bool {
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_lowercase())
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    scheme.contains('.') && scheme.split('.').all(is_label)
}

/// The host, and the port if there is one.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), RedirectError> {
    let after_host = match authority.find(']') {
        Some(at) => at + 1,
        None if authority.starts_with('[') => return Err(RedirectError::Host),
        None => 0,
    };
    let Some(at) = authority[after_host..].find(':').map(|at| at + after_host) else {
        return Ok((authority, None));
    };
    let (host, port) = (&authority[..at], &authority[at + 1..]);
    let is_number = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|_| is_number);
    number.map(|port| (host, Some(port))).ok_or(RedirectError::Port)
}

fn check_host(host: &str) -> Result<(), RedirectError> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').ok_or(RedirectError::Host)?;
        return address.parse::<Ipv6Addr>().map(drop).map_err(|_| RedirectError::Host);
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let labels = host.split('.');
    let last_is_number = host.rsplit('.').next().is_some_and(|last| {
        last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x")
    });
    // Browsers read a host whose last label is a number as an address, in many spellings.
    let is_address = host.parse::<Ipv4Addr>().is_ok();
    let fits = host.len() <= 253 && labels.clone().all(is_label) && (!last_is_number || is_address);
    if fits { Ok(()) } else { Err(RedirectError::Host) }
}

/// Browsers resolve dot segments, also encoded ones, before they request.
fn check_path(path: &str) -> Result<(), RedirectError> {
    let path = path.split('?').next().unwrap_or_default();
    let is_dots = |segment: &str| {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        decoded == "." || decoded == ".."
    };
    if path.split('/').any(is_dots) { Err(RedirectError::DotSegment) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap()
    }

    #[track_caller]
    fn refused(text: &str, expected: RedirectError) {
        assert_eq!(RedirectUri::parse(text), Err(expected), "{text}");
    }

    #[test]
    fn contract_redirects_which_uris_may_be_registered() {
        for good in [
            "https://shop.example.com/callback",
            "https://shop.example.com",
            "https://shop.example.com:8443/cb?tenant=a%20b&x",
            "https://192.0.2.1/cb",
            "https://[2001:db8::1]:8443/cb",
            "https://a.example/..a/.b",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:8080/cb",
            "http://[::1]:1/cb",
            "http://localhost",
            "com.example.app:/oauth2redirect",
            "com.example.app://callback",
        ] {
            assert_eq!(uri(good).as_str(), good);
        }
    }

    #[test]
    fn r1101_what_breaks_a_rule_is_not_registered() {
        refused("", RedirectError::Scheme);
        refused("https", RedirectError::Scheme);
        refused("HTTPS://a.example/", RedirectError::Scheme);
        refused("javascript:alert(1)", RedirectError::Scheme);
        refused("data:text/html,x", RedirectError::Scheme);
        refused("myapp:/cb", RedirectError::Scheme);
        refused("Com.Example:/cb", RedirectError::Scheme);
        refused("com..example:/cb", RedirectError::Scheme);
        refused("com.example:", RedirectError::Scheme);
        refused("/callback", RedirectError::Scheme);
        refused("//a.example/cb", RedirectError::Scheme);
        refused("http://a.example/cb", RedirectError::Http);
        refused("http://127.0.0.2/cb", RedirectError::Http);
        refused("http://localhost.a.example/cb", RedirectError::Http);
        refused("http://LOCALHOST/cb", RedirectError::Http);
        refused("http://[0:0:0:0:0:0:0:1]/cb", RedirectError::Http);
        refused("https:/a.example/cb", RedirectError::Host);
        refused("https:///cb", RedirectError::Host);
        refused("https://a..example/", RedirectError::Host);
        refused("https://a.example./", RedirectError::Host);
        refused("https://a%2eexample/", RedirectError::Host);
        refused("https://127.1/cb", RedirectError::Host);
        refused("https://0x7f.1/cb", RedirectError::Host);
        refused("https://[::1/cb", RedirectError::Host);
        refused("https://a.example:/", RedirectError::Port);
        refused("https://a.example:0/", RedirectError::Port);
        refused("https://a.example:65536/", RedirectError::Port);
        refused("https://a.example:80:81/", RedirectError::Port);
        refused("https://a.example:+80/", RedirectError::Port);
        refused("https://user@a.example/", RedirectError::User);
        refused("https://a.example@evil.example/", RedirectError::User);
        refused("com.example://user@host/cb", RedirectError::User);
        refused("https://a.example/#", RedirectError::Fragment);
        refused("https://*.example/", RedirectError::Wildcard);
        refused("https://a.example/*", RedirectError::Wildcard);
        refused("https://a.example/%2", RedirectError::Percent);
        refused("https://a.example/%zz", RedirectError::Percent);
        refused("https://a.example/a/../b", RedirectError::DotSegment);
        refused("https://a.example/a/%2E./b", RedirectError::DotSegment);
        refused("https://a.example/a/.", RedirectError::DotSegment);
        for bad in [
            "https://a.example/ b",
            "https://a.example\\@b",
            "https://é.example/",
            "https://a.example/\n",
            "https://a.example/<x>",
        ] {
            refused(bad, RedirectError::Characters);
        }
        refused(&format!("https://a.example/{}", "x".repeat(2000)), RedirectError::TooLong);
    }

    #[test]
    fn r1101_a_uri_is_compared_byte_for_byte() {
        let registered = uri("https://shop.example.com/callback");
        assert!(registered.is("https://shop.example.com/callback"));
        for other in [
            "https://shop.example.com/callback/",
            "https://shop.example.com/Callback",
            "https://SHOP.example.com/callback",
            "https://shop.example.com:443/callback",
            "https://shop.example.com/callback?",
            "https://shop.example.com/callback?x=1",
            "https://shop.example.com/callback#x",
            "https://shop.example.com/%63allback",
            "https://shop.example.com/callback/../callback",
            "https://shop.example.com.evil.example/callback",
            "https://user@shop.example.com/callback",
            "http://shop.example.com/callback",
            " https://shop.example.com/callback",
            "https://shop.example.com/callback%0d",
            "",
        ] {
            assert!(!registered.is(other), "{other}");
        }
    }

    #[test]
    fn r1101_the_port_of_a_loopback_address_is_ignored_and_nothing_else() {
        for host in LOOPBACK {
            let registered = uri(&format!("http://{host}/cb?x=1"));
            for port in ["", ":1", ":8080", ":65535"] {
                assert!(registered.is(&format!("http://{host}{port}/cb?x=1")), "{host}{port}");
                let with_port = uri(&format!("http://{host}:4000/cb?x=1"));
                assert!(with_port.is(&format!("http://{host}{port}/cb?x=1")), "{host}{port}");
            }
            for other in [
                "/cb",
                "/cb?x=2",
                "/",
                "",
                "/cb?x=1#",
                ":0/cb?x=1",
                ":99999/cb?x=1",
                ":80:80/cb?x=1",
                ":8080@evil.example/cb?x=1",
            ] {
                assert!(!registered.is(&format!("http://{host}{other}")), "{host}{other}");
            }
        }
        // Never one loopback host for another, never https.
        assert!(!uri("http://127.0.0.1/cb").is("http://localhost/cb"));
        assert!(!uri("http://localhost/cb").is("https://localhost/cb"));
        assert!(!uri("https://localhost/cb").is("https://localhost:8443/cb"));
        assert!(!uri("com.example.app://localhost/cb").is("com.example.app://localhost:1/cb"));
    }

    #[test]
    fn contract_redirects_the_uri_may_be_omitted_when_one_is_registered() {
        let (one, two) = (uri("https://a.example/1"), uri("https://a.example/2"));
        let registered = [one.clone(), two.clone()];
        assert_eq!(choose(&registered[..1], None), Some((&one, "https://a.example/1")));
        assert_eq!(choose(&registered, None), None);
        assert_eq!(choose(&[], None), None);
        assert_eq!(
            choose(&registered, Some("https://a.example/2")),
            Some((&two, "https://a.example/2"))
        );
        assert_eq!(choose(&registered[..1], Some("https://a.example/2")), None);
    }

    #[test]
    fn origins_and_native_applications() {
        assert_eq!(uri("https://a.example:8443/cb?x").origin(), Some("https://a.example:8443"));
        assert_eq!(uri("https://a.example?x=/").origin(), Some("https://a.example"));
        assert_eq!(uri("http://[::1]:80/").origin(), Some("http://[::1]:80"));
        assert_eq!(uri("com.example.app://callback/x").origin(), None);
        assert!(!uri("https://a.example/").is_native());
        assert!(uri("http://localhost/").is_native() && uri("com.example.app:/cb").is_native());
    }

    proptest! {
        /// Beside a naive comparison: equal, or equal once the digits of a loopback port are cut.
        #[test]
        fn the_comparison_agrees_with_a_naive_one(
            host in "127\\.0\\.0\\.1|localhost|a\\.example",
            ports in ("(:[1-9][0-9]{0,3})?", "(:[1-9][0-9]{0,3})?"),
            paths in ("(/[a-b]{0,1}){0,2}", "(/[a-b]{0,1}){0,2}"),
        ) {
            let scheme = if host == "a.example" { "https" } else { "http" };
            let registered = format!("{scheme}://{host}{}{}", ports.0, paths.0);
            let presented = format!("{scheme}://{host}{}{}", ports.1, paths.1);
            let same = paths.0 == paths.1 && (scheme == "http" || ports.0 == ports.1);
            prop_assert_eq!(uri(&registered).is(&presented), same, "{} {}", registered, presented);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", web in "https?://[ -~]{0,40}") {
            for text in [text, web] {
                if let Ok(uri) = RedirectUri::parse(&text) {
                    prop_assert!(uri.is(&text));
                    prop_assert!(uri.origin().is_none_or(|origin| text.starts_with(origin)));
                }
            }
        }
    }
}
