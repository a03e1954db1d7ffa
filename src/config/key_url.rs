//! The address of a key server.
//!
//! Owns which addresses keys may be fetched from: `https`, or `http` on the loopback interface,
//! where no attacker can intercept. Any other address helps an attacker: a forged key server can
//! impersonate every caller. Never resolves a name.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// Shown in messages and sent in a request line.
const BYTES_MAX: usize = 2_048;

/// An address that keys or metadata may be fetched from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyUrl(Uri);

impl KeyUrl {
    /// Reads an absolute URL. `allows_http` is `insecure_http`: plain HTTP to anywhere.
    ///
    /// # Errors
    /// A text that is not such an address. It is not quoted: it might contain a password.
    pub fn parse(text: &str, allows_http: bool) -> Result<Self, String> {
        const ACCEPTED: &str = "https://HOST[:PORT]/PATH is accepted";
        let visible = text.len() <= BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        let uri = text.parse::<Uri>().ok().filter(|_| visible && !text.contains(['#', '\\']));
        let uri = uri.ok_or_else(|| format!("not the address of a key server; {ACCEPTED}"))?;
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("not the address of a key server; {ACCEPTED}"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("a key server takes no user or password; {ACCEPTED}"));
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if allows_http || is_loopback(host) => Ok(Self(uri)),
            Some("http") => Err(format!(
                "keys that come over plain HTTP are whoever's who stands in between; {ACCEPTED}, \
                 and http on loopback, or anywhere with insecure_http: true"
            )),
            Some(_) | None => Err(format!("not the address of a key server; {ACCEPTED}")),
        }
    }

    /// The address itself.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// True if the server is authenticated.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// True if there is a query.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.0.query().is_some()
    }

    /// The address of the metadata of an issuer: in the place of OpenID Connect Discovery 1.0 section 4,
    /// then in that of RFC 8414 section 3.
    ///
    /// # Errors
    /// An issuer that is not an address, or has a query.
    pub fn of_metadata(issuer: &str, allows_http: bool) -> Result<[Self; 2], String> {
        let base = Self::parse(issuer, allows_http)?;
        if base.has_query() || issuer.contains('?') {
            return Err("an issuer that is discovered has no query".to_owned());
        }
        let path = base.0.path().trim_end_matches('/').to_owned();
        let origin = issuer.split('/').take(3).collect::<Vec<_>>().join("/");
        let openid = format!("{origin}{path}/.well-known/openid-configuration");
        let oauth = format!("{origin}/.well-known/oauth-authorization-server{path}");
        Ok([Self::parse(&openid, allows_http)?, Self::parse(&oauth, allows_http)?])
    }
}

/// Without the query, which may hold secrets.
impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }
}

/// As it is shown.
impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUrl({self})")
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r304_keys_come_over_tls_or_from_loopback() {
        for good in ["https://a.example", "https://a.example:8443/k?a=b", "http://127.0.0.1:1/k"] {
            assert!(KeyUrl::parse(good, false).is_ok(), "{good}");
        }
        assert!(KeyUrl::parse("http://localhost/k", false).is_ok());
        assert!(KeyUrl::parse("http://[::1]:8080/k", false).is_ok());
        assert!(KeyUrl::parse("http://a.example/k", true).is_ok());
        for bad in [
            "http://a.example/k",
            "http://127.0.0.1.a.example/k",
            "http://localhost.a.example/k",
            "ftp://a.example/k",
            "file:///etc/keys",
            "/keys",
            "a.example",
            "https://",
            "https:///k",
            "https://user:secret@a.example/k",
            "https://a.example/k#x",
            "https://a.example/a b",
            "https://a.example\\@b.example/k",
            "",
        ] {
            let refused = KeyUrl::parse(bad, false);
            assert!(refused.is_err(), "{bad}");
            assert!(!refused.unwrap_err().contains("secret"));
        }
        assert!(KeyUrl::parse("ftp://a.example/k", true).is_err());
    }

    #[test]
    fn the_query_is_not_shown() {
        let url = KeyUrl::parse("https://a.example:1/k?code=secret", false).unwrap();
        assert_eq!(url.to_string(), "https://a.example:1/k");
        assert_eq!(format!("{url:?}"), "KeyUrl(https://a.example:1/k)");
    }

    #[test]
    fn metadata_is_where_oidc_and_rfc_8414_say() {
        let places = |issuer| {
            let [one, two] = KeyUrl::of_metadata(issuer, false).unwrap();
            (one.uri().to_string(), two.uri().to_string())
        };
        for issuer in ["https://a.example/realms/x", "https://a.example/realms/x/"] {
            assert_eq!(
                places(issuer),
                (
                    "https://a.example/realms/x/.well-known/openid-configuration".to_owned(),
                    "https://a.example/.well-known/oauth-authorization-server/realms/x".to_owned()
                )
            );
        }
        assert_eq!(places("https://a.example").0.split('/').nth(3), Some(".well-known"));
        for bad in ["https://a.example/?tenant=1", "urn:example", "https://a.example?"] {
            assert!(KeyUrl::of_metadata(bad, false).is_err(), "{bad}");
        }
    }
}
