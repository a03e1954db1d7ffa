//! HMAC secrets that are publicly known, or look as if a person had made them up.
//!
//! Owns the list of known secrets and the estimate of entropy. The list holds 2,532 secrets of 32
//! bytes and more from documentation (RFC 7515 A.1, RFC 7520, jwt.io) and from public code
//! (github.com/wallarm/jwt-secrets), as written and, where they are base64 or hexadecimal, decoded:
//! the first 8 bytes of the SHA-256 of each, sorted. Shorter secrets are refused by their length.
//! Never holds or shows a secret.

use crate::base::sha256::sha256;

/// One entry after another.
static KNOWN: &[u8] = include_bytes!("known_secrets.bin");
const ENTRY_BYTES: usize = 8;

/// Less than this is within reach of a search, or is a phrase. A random secret of 32 bytes has more
/// in every usual encoding.
const BITS_MIN: f64 = 100.0;
/// Bits of entropy in a letter of a phrase, rounded up (Shannon's estimate for English is 1 to 1.5).
const PHRASE_BITS: f64 = 2.0;

/// Returns whether the secret is published.
pub(super) fn is_known(secret: &[u8]) -> bool {
    let digest = sha256(secret);
    let (entries, _) = KNOWN.as_chunks::<ENTRY_BYTES>();
    entries.binary_search_by(|entry| entry.as_slice().cmp(&digest[..ENTRY_BYTES])).is_ok()
}

/// Returns whether the secret is a repetition, a phrase, or made of few different bytes.
pub(super) fn has_low_entropy(secret: &[u8]) -> bool {
    let unit = &secret[..period(secret)];
    let is_phrase_byte = |byte: &u8| byte.is_ascii_lowercase() || b" -_.".contains(byte);
    #[expect(clippy::cast_precision_loss, reason = "secrets are short")]
    let length = unit.len() as f64;
    let each = bits_per_byte(unit, length);
    let each = if unit.iter().all(is_phrase_byte) { each.min(PHRASE_BITS) } else { each };
    each * length < BITS_MIN
}

/// The length of what a secret repeats; all of it where nothing is repeated.
fn period(secret: &[u8]) -> usize {
    let repeats = |&period: &usize| secret.iter().zip(&secret[period..]).all(|(a, b)| a == b);
    (1..=secret.len() / 2).find(repeats).unwrap_or(secret.len())
}

/// Shannon's entropy of the bytes by how often each occurs.
fn bits_per_byte(unit: &[u8], length: f64) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in unit {
        counts[usize::from(*byte)] += 1;
    }
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / length);
    shares.map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn r302_secrets_of_documentation_are_known() {
        let rfc_7515 = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUu\
                        TwjAzZr1Z9CAow";
        let rfc_7520 = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";
        for text in [rfc_7515, rfc_7520] {
            assert!(is_known(text.as_bytes()) && is_known(&URL_SAFE_NO_PAD.decode(text).unwrap()));
        }
        assert!(is_known(b"a-string-secret-at-least-256-bits-long"), "jwt.io");
        assert!(!is_known(b"a-string-secret-at-least-256-bits-lonG"));
        assert!(!is_known(&[]) && !is_known(&[7; 64]));
    }

    #[test]
    fn the_list_of_known_secrets_is_sorted_and_whole() {
        let (entries, rest) = KNOWN.as_chunks::<ENTRY_BYTES>();
        assert_eq!((entries.len(), rest.len()), (2_532, 0));
        assert!(entries.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_random_secret_is_never_called_weak_in_any_usual_encoding() {
        for _ in 0..1_000 {
            let mut secret = [0; 32];
            aws_lc_rs::rand::fill(&mut secret).unwrap();
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            for text in [&secret[..], hex.as_bytes(), STANDARD.encode(secret).as_bytes()] {
                assert!(!has_low_entropy(text), "{text:?}");
            }
        }
    }

    #[test]
    fn repetitions_and_phrases_are_called_weak() {
        for weak in [
            &b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"[..],
            b"0123456789abcdef0123456789abcdef0123456789abcdef",
            b"a very long secret of the orders api",
            b"change-me-change-me-change-me-now",
            b"00000000000000000000000000000000000000000000001",
        ] {
            assert!(has_low_entropy(weak), "{}", String::from_utf8_lossy(weak));
        }
    }
}
