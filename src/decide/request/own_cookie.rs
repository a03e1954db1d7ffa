//! The cookies of the issuer's pages.
//!
//! Owns their names, and keeps them between browser and gatepost: an upstream that reads one could
//! act as the person, and one that sets one could choose the session that a person signs in to.
//! Never reads what a cookie means.

/// The session, on pages with https: browsers take a `__Host-` cookie from this host alone.
pub const SESSION: &str = "__Host-gatepost";
/// The session, on pages with http on loopback, where browsers refuse that prefix.
pub const SESSION_HTTP: &str = "gatepost-session";
/// The proof that a person signed in with this browser before.
pub const KNOWN: &str = "__Host-gatepost-known";
/// The same, on pages with http.
pub const KNOWN_HTTP: &str = "gatepost-known";

const NAMES: [&str; 4] = [SESSION, SESSION_HTTP, KNOWN, KNOWN_HTTP];

/// The rest of a `Cookie` value; `None` where no cookie is one of these, or has a credential that must
/// not reach an upstream either.
#[must_use]
pub fn without_own(value: &[u8], has_credential: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let is_kept_back = |pair: &[u8]| is_own(pair) || has_credential(pair);
    let members = || value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !members().any(&is_kept_back) {
        return None;
    }
    let kept = members().filter(|member| !member.is_empty() && !is_kept_back(member));
    Some(kept.collect::<Vec<_>>().join(&b"; "[..]))
}

/// Returns whether a `Set-Cookie` value sets one of these.
#[must_use]
pub fn is_set_by(value: &[u8]) -> bool {
    is_own(value.split(|byte| *byte == b';').next().unwrap_or_default())
}

/// Returns whether `name=value` has one of the names, in any case. A pair without a name is read by
/// browsers as a value, and sent as one: `=name=value` comes back as `name=value`.
fn is_own(pair: &[u8]) -> bool {
    let begin = pair.iter().position(|byte| *byte != b'=' && !byte.is_ascii_whitespace());
    let pair = &pair[begin.unwrap_or(pair.len())..];
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    NAMES.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1108_the_cookies_of_the_pages_are_removed_and_no_others() {
        let left = |value: &str| {
            let has_credential = |pair: &[u8]| pair.ends_with(b"=gp_x");
            let left = without_own(value.as_bytes(), has_credential);
            left.map(|left| String::from_utf8(left).unwrap())
        };
        for (value, expected) in [
            ("a=b; c=d", None),
            ("x__Host-gatepost=1; gatepost-session2=1; gatepost=1", None),
            ("__Host-gatepost=1", Some("")),
            ("a=b; __Host-gatepost=1; c=d=e", Some("a=b; c=d=e")),
            ("a=b;__host-GATEPOST-known = 1;", Some("a=b")),
            ("gatepost-session=1; gatepost-known=2; a=b", Some("a=b")),
            ("gatepost-session", Some("")),
            ("==gatepost-session=1; a=b", Some("a=b")),
            ("t=gp_x; a=b", Some("a=b")),
            ("t=gp_y; a=b", None),
        ] {
            assert_eq!(left(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn r1108_an_upstream_sets_no_session() {
        for own in [
            "__Host-gatepost=x; Path=/; Secure",
            "gatepost-session=x",
            " gatepost-session = x",
            "=gatepost-session=x",
            "__HOST-gatepost-known=x",
        ] {
            assert!(is_set_by(own.as_bytes()), "{own}");
        }
        for other in ["a=gatepost-session=x", "session=1; __Host-gatepost=2", "", "="] {
            assert!(!is_set_by(other.as_bytes()), "{other}");
        }
    }
}
