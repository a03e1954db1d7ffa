//! The compact form (RFC 7515 section 3.1): three parts of canonical base64url.
//!
//! Owns size, split and decoding. Two spellings of one token would be two cache entries and two
//! log lines, so only the canonical one is read. Never inflates, never decrypts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::decide::jwt::JwtError;

/// The longest accepted token of an issuer that configures no other, in bytes. Header fields in
/// The most that an issuer may configure: the whole head of a request is not longer.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// A token taken apart, not yet believed.
pub(super) struct Compact<'a> {
    /// The signed text: header and payload as sent, with the dot between them.
    pub(super) signed: &'a [u8],
    /// The JSON of the header.
    pub(super) header: Vec<u8>,
    /// The JSON of the payload.
    pub(super) payload: Vec<u8>,
    /// The signature, never empty.
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes a token of at most `bytes_max` apart; a longer one is not decoded.
    pub(super) fn parse(token: &'a str, bytes_max: usize) -> Result<Self, JwtError> {
        if token.len() > bytes_max {
            return Err(JwtError::TooLong(bytes_max));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtError::Malformed("fewer than three parts"));
        };
        match parts.count() {
            0 => {}
            2 => return Err(JwtError::Malformed("five parts, as an encrypted token (JWE) has")),
            _ => return Err(JwtError::Malformed("more than three parts")),
        }
        if signature.is_empty() {
            return Err(JwtError::Malformed("the signature is empty"));
        }
        Ok(Self {
            signed: &token.as_bytes()[..header.len() + 1 + payload.len()],
            header: decode(header).ok_or(JwtError::Malformed("the header is not base64url"))?,
            payload: decode(payload).ok_or(JwtError::Malformed("the payload is not base64url"))?,
            signature: decode(signature)
                .ok_or(JwtError::Malformed("the signature is not base64url"))?,
        })
    }
}

/// Canonical base64url: no padding, no other alphabet, no unused bits set (RFC 4648 section 3.5).
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN_BYTES: usize = 8_192;

    fn parse(token: &str) -> Result<Compact<'_>, JwtError> {
        Compact::parse(token, TOKEN_BYTES)
    }

    #[track_caller]
    fn check(token: &str, expected: &'static str) {
        assert_eq!(parse(token).err(), Some(JwtError::Malformed(expected)), "{token:.80}");
    }

    #[test]
    fn r301_r309_exactly_three_parts_and_a_signature() {
        let Ok(parsed) = parse("e30.e30.AA") else { panic!("three parts") };
        assert_eq!(parsed.signed, b"e30.e30");
        assert_eq!(
            (parsed.header, parsed.payload, parsed.signature),
            (b"{}".into(), b"{}".into(), vec![0])
        );
        for few in ["", "e30", "e30.e30", "{\"payload\":\"e30\",\"signatures\":[]}"] {
            check(few, "fewer than three parts");
        }
        check("e30.e30.", "the signature is empty");
        check("e30.e30.AA.AA", "more than three parts");
        check("e30.e30.AA.", "more than three parts");
        check("e30.AA.AA.AA.AA", "five parts, as an encrypted token (JWE) has");
    }

    #[test]
    fn r308_only_canonical_base64url_is_read() {
        for header in ["e30=", "e3", "e30 ", " e30", "e31", "e+30", "e/30", "e3\n0", "e", "é"] {
            check(&format!("{header}.e30.AA"), "the header is not base64url");
            check(&format!("e30.{header}.AA"), "the payload is not base64url");
            check(&format!("e30.e30.{header}"), "the signature is not base64url");
        }
    }

    #[test]
    fn r314_a_long_token_is_refused_before_decoding() {
        let token = |bytes: usize| format!("e30.{}.AA", "!".repeat(bytes - 7));
        check(&token(TOKEN_BYTES), "the payload is not base64url");
        for long in [TOKEN_BYTES + 1, 1 << 20] {
            assert_eq!(parse(&token(long)).err(), Some(JwtError::TooLong(8_192)));
        }
    }
}
