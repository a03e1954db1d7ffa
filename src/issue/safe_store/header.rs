//! The protected header of a record.
//!
//! Owns its one spelling. A header is not interpreted member by member: what it should be is
//! written down again and compared byte for byte, so no parser can be confused by another spelling.

use serde::Deserialize;

use crate::issue::safe_store::pepper::is_pepper_id;

/// The longest header that is read: pepper, owner and context have bounds of their own.
pub(super) const HEADER_BYTES_MAX: usize = 4 * 1024;

/// Pepper and share that a record was sealed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedUnder {
    /// The id of the pepper.
    pub pepper: Box<str>,
    /// The version of the owner's share.
    pub share: u32,
}

#[derive(Deserialize)]
struct Members {
    kid: String,
}

/// The header of a record, as JSON.
pub(super) fn write(pepper: &str, owner: &str, share: u32, context: &str) -> String {
    let kid = serde_json::Value::from(format!("{pepper}.{owner}.{share}"));
    let context = serde_json::Value::from(context);
    format!(
        r#"{{"alg":"A256KW","enc":"A256CBC-HS512","typ":"safe+jwe","kid":{kid},"ctx":{context}}}"#
    )
}

/// The pepper and the share that a header names, not yet believed.
pub(super) fn read(header: &[u8]) -> Option<SealedUnder> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let members: Members = serde_json::from_slice(header).ok()?;
    // The owner's id may contain dots, the others do not.
    let (pepper, rest) = members.kid.split_once('.')?;
    let (_owner, share) = rest.rsplit_once('.')?;
    let under = SealedUnder { pepper: pepper.into(), share: share.parse().ok()? };
    is_pepper_id(pepper).then_some(under)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_pepper_owner_share_and_context() {
        let header = write("p1", "auth0|a.b", 7, "secrets/sealed/sec_1");
        assert_eq!(
            header,
            r#"{"alg":"A256KW","enc":"A256CBC-HS512","typ":"safe+jwe","kid":"p1.auth0|a.b.7","ctx":"secrets/sealed/sec_1"}"#
        );
        let under = SealedUnder { pepper: "p1".into(), share: 7 };
        assert_eq!(read(header.as_bytes()), Some(under));
    }

    #[test]
    fn a_header_without_pepper_or_share_names_none() {
        let long = write("p1", &"x".repeat(HEADER_BYTES_MAX), 1, "c");
        for bad in [
            "",
            "{}",
            r#"{"kid":7}"#,
            r#"{"kid":"p1"}"#,
            r#"{"kid":"p1.1"}"#,
            r#"{"kid":".a.1"}"#,
            r#"{"kid":"p1.a.-1"}"#,
            r#"{"kid":"p1.a.1","kid":"p1.a.1"}"#,
            &long,
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad:.80}");
        }
    }
}
