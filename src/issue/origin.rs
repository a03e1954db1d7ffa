//! Requests of browsers: which ones come from a page of gatepost.
//!
//! Owns the rule of the fields `Sec-Fetch-Site` and `Origin` (Fetch standard): where a browser sends
//! them, they name this origin. They never replace the CSRF token, because older browsers send
//! neither. Never reads a cookie.

use thiserror::Error;

/// A request that a page of another site sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the request comes from a page of another site")]
pub struct Foreign;

/// Checks a POST: `origin` and `site` are the fields, where they were sent; `own` is scheme and host
/// of the page.
///
/// # Errors
/// [`Foreign`].
pub fn check_post(origin: Option<&[u8]>, site: Option<&[u8]>, own: &str) -> Result<(), Foreign> {
    let is_same_site = site.is_none_or(|site| site == b"same-origin");
    // `null` is what a browser sends with `Referrer-Policy: no-referrer`: it proves nothing.
    let is_own = origin.is_none_or(|origin| origin == b"null" || origin == own.as_bytes());
    if is_same_site && is_own { Ok(()) } else { Err(Foreign) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1108_a_post_of_another_site_is_foreign_wherever_the_browser_says_so() {
        let own = "https://api.example.com";
        let check = |origin: Option<&str>, site: Option<&str>| {
            check_post(origin.map(str::as_bytes), site.map(str::as_bytes), own)
        };
        for (origin, site) in [
            (None, None),
            (Some(own), None),
            (Some("null"), None),
            (Some(own), Some("same-origin")),
            (Some("null"), Some("same-origin")),
        ] {
            assert_eq!(check(origin, site), Ok(()), "{origin:?} {site:?}");
        }
        for (origin, site) in [
            (Some("https://evil.example"), None),
            (Some("http://api.example.com"), None),
            (Some("https://api.example.com:8443"), None),
            (Some("https://api.example.com.evil.example"), Some("same-origin")),
            (Some(own), Some("cross-site")),
            (Some(own), Some("same-site")),
            (Some("null"), Some("cross-site")),
            (None, Some("none")),
            (Some(""), None),
        ] {
            assert_eq!(check(origin, site), Err(Foreign), "{origin:?} {site:?}");
        }
    }
}
