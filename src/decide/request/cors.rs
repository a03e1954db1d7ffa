//! Cross-origin requests from browsers (Fetch standard, "CORS protocol").
//!
//! Owns the origins that may read answers of a route, and the answer to a preflight. An attacker's
//! page would like its origin reflected, or `null` (a sandboxed frame) believed: an origin is
//! compared byte for byte with a list or with the registered redirect URIs, and `null` can never be
//! on either. Never authenticates: CORS
//! protects users of browsers, the gate protects the API.

use std::fmt;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;

/// Fields that scripts may read besides the safelisted ones.
const EXPOSED: &str =
    "WWW-Authenticate, RateLimit, RateLimit-Policy, Retry-After, X-Auth-Expires, X-Request-Id";

/// The CORS fields of an upstream, which gatepost's replace.
pub const FIELDS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The origins that may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `*`; never together with credentials.
    Any,
    /// These, byte for byte.
    Listed(Vec<Box<str>>),
}

/// The word for [`KnownOrigins`] in a list of origins.
pub const APPLICATIONS: &str = "applications";

/// The origins of registered redirect URIs.
pub trait KnownOrigins: fmt::Debug + Sync {
    /// Returns whether this is one, byte for byte.
    fn has_origin(&self, origin: &[u8]) -> bool;
}

/// The origins of registered redirect URIs, where there is an issuer.
pub type Registered<'a> = Option<&'a dyn KnownOrigins>;

/// A `cors` setting that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CorsError {
    /// `*` and `credentials: true`: every page could read every user's data.
    #[error("\"*\" cannot be combined with credentials: true; list the origins")]
    AnyWithCredentials,
    /// `applications` and `credentials: true`: developers register redirect URIs by themselves.
    #[error(
        "\"applications\" cannot be combined with credentials: true: developers register redirect \
         URIs; list the origins"
    )]
    ApplicationsWithCredentials,
    /// `null` is the origin of every sandboxed frame.
    #[error("\"null\" is not accepted as an origin: every sandboxed frame has it")]
    Null,
    /// Not `scheme://host[:port]`.
    #[error(
        "{0:?} is not an origin: write scheme://host or scheme://host:port, lower case, without a path"
    )]
    NotAnOrigin(String),
}

/// `cors` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    /// The origins of registered redirect URIs as well.
    applications: bool,
    methods: Vec<Method>,
    headers: Vec<HeaderName>,
    credentials: bool,
    max_age: Duration,
}

impl Cors {
    /// Checks and compiles. `methods` are those a preflight may ask for; `headers` the request
    /// fields besides the safelisted ones.
    ///
    /// # Errors
    /// [`CorsError`].
    pub fn new(
        origins: &[&str],
        methods: Vec<Method>,
        headers: Vec<HeaderName>,
        credentials: bool,
        max_age: Duration,
    ) -> Result<Self, CorsError> {
        let any = origins.contains(&"*");
        if any && credentials {
            return Err(CorsError::AnyWithCredentials);
        }
        let applications = origins.contains(&APPLICATIONS);
        if applications && credentials {
            return Err(CorsError::ApplicationsWithCredentials);
        }
        let mut listed = Vec::with_capacity(origins.len());
        for origin in origins.iter().filter(|origin| !["*", APPLICATIONS].contains(origin)) {
            listed.push(parse_origin(origin)?);
        }
        let origins = if any { Origins::Any } else { Origins::Listed(listed) };
        Ok(Self { origins, applications, methods, headers, credentials, max_age })
    }

    /// The fields for an answer to a request with these fields. `Vary` is set even when the origin
    /// is not allowed: a cache must not mix the two.
    #[must_use]
    pub fn fields(
        &self,
        request: &HeaderMap,
        registered: Registered<'_>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = vec![(VARY, HeaderValue::from_static("Origin"))];
        if self.allow_origin(request, registered, &mut fields) {
            fields.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
        }
        fields
    }

    /// The fields of the answer to a preflight. Where origin, method or a header is not allowed,
    /// the permission is absent and the browser refuses the request.
    #[must_use]
    pub(crate) fn preflight_fields(
        &self,
        request: &HeaderMap,
        registered: Registered<'_>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        let mut fields = vec![(VARY, HeaderValue::from_static(vary))];
        if self.takes_method(request) && self.takes_headers(request) {
            let allowed = self.allow_origin(request, registered, &mut fields);
            if allowed {
                self.push_permissions(&mut fields);
            }
        }
        fields
    }

    /// Returns whether scripts of this origin may send the credentials of the browser.
    fn trusts(&self, origin: &HeaderValue) -> bool {
        let Origins::Listed(listed) = &self.origins else { return false };
        self.credentials && listed.iter().any(|one| one.as_bytes() == origin.as_bytes())
    }

    fn allow_origin(
        &self,
        request: &HeaderMap,
        registered: Registered<'_>,
        fields: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> bool {
        let Some(origin) = single(request, &ORIGIN) else { return false };
        let bytes = origin.as_bytes();
        let is_registered =
            || self.applications && registered.is_some_and(|known| known.has_origin(bytes));
        let answer = match &self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::Listed(listed) => {
                if !listed.iter().any(|one| one.as_bytes() == bytes) && !is_registered() {
                    return false;
                }
                origin.clone()
            }
        };
        fields.push((ACCESS_CONTROL_ALLOW_ORIGIN, answer));
        if self.credentials {
            fields.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        true
    }

    fn push_permissions(&self, fields: &mut Vec<(HeaderName, HeaderValue)>) {
        let methods = joined(self.methods.iter().map(Method::as_str));
        fields.push((ACCESS_CONTROL_ALLOW_METHODS, methods));
        if !self.headers.is_empty() {
            let headers = joined(self.headers.iter().map(HeaderName::as_str));
            fields.push((ACCESS_CONTROL_ALLOW_HEADERS, headers));
        }
        fields.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs())));
    }

    fn takes_method(&self, request: &HeaderMap) -> bool {
        let asked = single(request, &ACCESS_CONTROL_REQUEST_METHOD);
        asked.is_some_and(|asked| {
            self.methods.iter().any(|method| method.as_str().as_bytes() == asked.as_bytes())
        })
    }

    fn takes_headers(&self, request: &HeaderMap) -> bool {
        request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().all(|value| {
            let mut asked = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            asked.all(|name| {
                let mut known = self.headers.iter().map(|header| header.as_str().as_bytes());
                name.is_empty() || known.any(|known| known.eq_ignore_ascii_case(name))
            })
        })
    }
}

/// Returns whether a request may use a credential that its browser added without being asked to: it
/// comes from the origin of its own host, or from one that the route's `cors` lists with
/// `credentials`. Without `Origin` only what changes nothing and opens no tunnel may (RFC 9110
/// section 9.2.1). `is_own` compares an authority with the request's host.
pub(in crate::decide) fn accepts_ambient_credential(
    method: &Method,
    fields: &HeaderMap,
    cors: Option<&Cors>,
    is_own: impl Fn(&str) -> bool,
) -> bool {
    if !fields.contains_key(ORIGIN) {
        return method.is_safe() && !fields.contains_key(UPGRADE);
    }
    let Some(origin) = single(fields, &ORIGIN) else { return false };
    let text = origin.to_str().unwrap_or_default();
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    authority.is_some_and(is_own) || cors.is_some_and(|cors| cors.trusts(origin))
}

/// The method a preflight asks for: `OPTIONS` with `Origin` and `Access-Control-Request-Method`,
/// one of each. `None` when the request is not a preflight.
#[must_use]
pub(crate) fn preflight_method(method: &Method, fields: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS {
        return None;
    }
    single(fields, &ORIGIN)?;
    let asked = single(fields, &ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}

fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn joined<'a>(items: impl Iterator<Item = &'a str>) -> HeaderValue {
    let text = items.collect::<Vec<_>>().join(", ");
    // Method and field names are tokens, so this is always a header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `scheme://host[:port]` as a browser serialises it (RFC 6454 section 6.1): lower case, no path.
fn parse_origin(text: &str) -> Result<Box<str>, CorsError> {
    if text == "null" {
        return Err(CorsError::Null);
    }
    let wrong = || CorsError::NotAnOrigin(text.to_owned());
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    let host_ok = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]_".contains(&b));
    let default_port = matches!(scheme, "http") && host.ends_with(":80")
        || matches!(scheme, "https") && host.ends_with(":443");
    if scheme_ok && host_ok && !default_port { Ok(text.into()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        let methods = vec![Method::GET, Method::POST];
        let headers = vec![http::header::AUTHORIZATION];
        Cors::new(origins, methods, headers, credentials, Duration::from_secs(600)).unwrap()
    }

    fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn value(fields: &[(HeaderName, HeaderValue)], name: &HeaderName) -> Option<String> {
        let field = fields.iter().find(|(have, _)| have == name)?;
        Some(field.1.to_str().unwrap().to_owned())
    }

    #[track_caller]
    fn check_origin(origins: &[&str], origin: &str, expected: Option<&str>) {
        let fields = cors(origins, false).fields(&request(&[("origin", origin)]), None);
        assert_eq!(value(&fields, &ACCESS_CONTROL_ALLOW_ORIGIN).as_deref(), expected, "{origin}");
        assert_eq!(value(&fields, &VARY).as_deref(), Some("Origin"));
    }

    #[test]
    fn contract_cors_an_origin_is_compared_byte_for_byte() {
        let listed = ["https://app.example.com"];
        check_origin(&listed, "https://app.example.com", Some("https://app.example.com"));
        for almost in [
            "null",
            "http://app.example.com",
            "https://APP.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
            "https://evil.test/https://app.example.com",
        ] {
            check_origin(&listed, almost, None);
        }
        check_origin(&["*"], "https://anyone.test", Some("*"));
    }

    #[test]
    fn r209_an_ambient_credential_needs_an_origin_of_ours() {
        let own = |fields: &[(&'static str, &str)], method, cors: Option<&Cors>| {
            let is_own = |authority: &str| authority == "app.example";
            accepts_ambient_credential(&method, &request(fields), cors, is_own)
        };
        let (get, post) = (Method::GET, Method::POST);
        assert!(own(&[], get.clone(), None));
        assert!(!own(&[], post.clone(), None) && !own(&[("upgrade", "websocket")], get, None));
        for good in ["https://app.example", "http://app.example"] {
            assert!(own(&[("origin", good)], post.clone(), None), "{good}");
        }
        for bad in [
            "null",
            "",
            "app.example",
            "https://evil.example",
            "https://app.example.evil",
            "https://app.example/",
            "ftp://app.example",
            "https://APP.example",
        ] {
            assert!(!own(&[("origin", bad)], Method::GET, None), "{bad}");
        }
        let twice = [("origin", "https://app.example"), ("origin", "https://app.example")];
        assert!(!own(&twice, Method::GET, None));
        let page = [("origin", "https://page.example")];
        assert!(own(&page, post.clone(), Some(&cors(&["https://page.example"], true))));
        for other in [&cors(&["https://page.example"], false), &cors(&["*"], false)] {
            assert!(!own(&page, post.clone(), Some(other)));
        }
    }

    #[test]
    fn contract_cors_star_with_credentials_and_null_are_mistakes() {
        let new = |origins: &[&str], credentials| {
            Cors::new(origins, vec![], vec![], credentials, Duration::ZERO).err()
        };
        assert_eq!(new(&["*"], true), Some(CorsError::AnyWithCredentials));
        assert_eq!(new(&["null"], false), Some(CorsError::Null));
        for wrong in [
            "app.example.com",
            "https://",
            "https://a/",
            "https://A.test",
            "https://a:443",
            "https://*.a",
        ] {
            assert_eq!(new(&[wrong], false), Some(CorsError::NotAnOrigin(wrong.into())), "{wrong}");
        }
        assert_eq!(new(&["https://a.test:8443", "http://localhost:3000"], true), None);
    }

    #[derive(Debug)]
    struct Shop;

    impl KnownOrigins for Shop {
        fn has_origin(&self, origin: &[u8]) -> bool {
            origin == b"https://shop.test"
        }
    }

    #[test]
    fn contract_cors_origins_of_applications_are_those_that_are_registered_now() {
        let allowed = |cors: &Cors, origin: &str, registered: Registered<'_>| {
            let fields = cors.fields(&request(&[("origin", origin)]), registered);
            value(&fields, &ACCESS_CONTROL_ALLOW_ORIGIN)
        };
        let both = cors(&["applications", "https://a.test"], false);
        assert_eq!(allowed(&both, "https://shop.test", Some(&Shop)).unwrap(), "https://shop.test");
        assert_eq!(allowed(&both, "https://a.test", Some(&Shop)).unwrap(), "https://a.test");
        for origin in ["null", "applications", "https://SHOP.test", "https://other.test"] {
            assert_eq!(allowed(&both, origin, Some(&Shop)), None, "{origin}");
        }
        assert_eq!(allowed(&both, "https://shop.test", None), None, "no issuer");
        let listed = cors(&["https://a.test"], false);
        assert_eq!(allowed(&listed, "https://shop.test", Some(&Shop)), None);
        let new = Cors::new(&["applications"], vec![], vec![], true, Duration::ZERO);
        assert_eq!(new.err(), Some(CorsError::ApplicationsWithCredentials));
    }

    #[test]
    fn contract_cors_a_preflight_gets_permission_only_for_all_it_asks() {
        let cors = cors(&["https://a.test"], true);
        let ask = |method: &str, headers: &str| {
            let asked = request(&[
                ("origin", "https://a.test"),
                ("access-control-request-method", method),
                ("access-control-request-headers", headers),
            ]);
            cors.preflight_fields(&asked, None)
        };
        let yes = ask("POST", "Authorization");
        assert_eq!(value(&yes, &ACCESS_CONTROL_ALLOW_METHODS).as_deref(), Some("GET, POST"));
        assert_eq!(value(&yes, &ACCESS_CONTROL_ALLOW_CREDENTIALS).as_deref(), Some("true"));
        assert_eq!(value(&yes, &ACCESS_CONTROL_MAX_AGE).as_deref(), Some("600"));
        for (method, headers) in [("DELETE", ""), ("post", ""), ("POST", "authorization, x-evil")] {
            let no = ask(method, headers);
            assert_eq!(value(&no, &ACCESS_CONTROL_ALLOW_ORIGIN), None, "{method} {headers}");
        }
    }

    #[test]
    fn only_options_with_one_origin_and_one_method_is_a_preflight() {
        let both = request(&[("origin", "https://a"), ("access-control-request-method", "PUT")]);
        assert_eq!(preflight_method(&Method::OPTIONS, &both), Some(Method::PUT));
        assert_eq!(preflight_method(&Method::GET, &both), None);
        let bare = request(&[("access-control-request-method", "PUT")]);
        assert_eq!(preflight_method(&Method::OPTIONS, &bare), None);
        let twice = request(&[
            ("origin", "https://a"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-method", "GET"),
        ]);
        assert_eq!(preflight_method(&Method::OPTIONS, &twice), None);
    }
}
