//! Characters of a head: tokens, and the controls that none has.
//!
//! Owns two classes of bytes. Never knows what a line means.

use super::FramingError;
use crate::base::bytes::{all, find};

/// Returns whether a line has no control character except those `allowed`.
pub(super) fn no_control(line: &[u8], allowed: impl Fn(u8) -> bool) -> Result<(), FramingError> {
    if all(line, |byte| !byte.is_ascii_control() | allowed(byte)) {
        return Ok(());
    }
    Err(if find(line, b'\n').is_some() { FramingError::LineEnd } else { FramingError::Control })
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// A byte of a token.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    IS_TOKEN[byte as usize]
}

/// Looked up for every byte of every field name of every request.
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let as_byte = byte as u8;
        table[byte] = as_byte.is_ascii_alphanumeric()
            || matches!(
                as_byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};
