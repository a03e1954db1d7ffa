//! The format of the secrets that gatepost generates: `gp_key_` and its siblings, 43 base62
//! characters, 6 characters of checksum.
//!
//! Owns the text form of every secret that gatepost generates: generation, and detection of
//! mistyped or truncated ones before anything is hashed or looked up. The checksum keeps typing
//! errors and truncated pastes away from the look-up; it proves nothing, since anyone can compute
//! it. Never stores a key and never reads the clock.

use std::fmt;

use thiserror::Error;

use crate::base::secret::Secret;

/// The beginning of every secret that gatepost issues; [`SecretKind::prefix`] goes on from here.
pub(crate) const RESERVED_PREFIX: &str = "gp_";

/// Base62 digits in the order of their values.
pub const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters of a key: 62^43 is just above 2^256.
const RANDOM_CHARS: usize = 43;

/// Characters of checksum: 62^6 is above 2^32.
const CHECKSUM_CHARS: usize = 6;

/// The length of the shortest secret: `gp_`, a kind of two letters, `_`.
pub(super) const SECRET_BYTES_MIN: usize = 6 + RANDOM_CHARS + CHECKSUM_CHARS;

/// Attempts to read the random source for a key. One round of 64 bytes leaves 62 usable ones on
/// average, so a source that has not yielded 43 after this many rounds is broken.
const RANDOM_ROUNDS_MAX: usize = 16;

/// Finds API keys: for secret scanners.
pub(crate) const API_KEY_PATTERN: &str = r"\bgp_key_[0-9A-Za-z]{49}\b";

/// Finds personal access tokens: for secret scanners.
pub(crate) const PERSONAL_ACCESS_TOKEN_PATTERN: &str = r"\bgp_pat_[0-9A-Za-z]{49}\b";

/// Finds client secrets: for secret scanners.
pub const CLIENT_SECRET_PATTERN: &str = r"\bgp_cs_[0-9A-Za-z]{49}\b";

/// Finds refresh tokens: for secret scanners.
pub const REFRESH_TOKEN_PATTERN: &str = r"\bgp_rt_[0-9A-Za-z]{49}\b";

/// Finds authorization codes: for secret scanners.
pub const AUTHORIZATION_CODE_PATTERN: &str = r"\bgp_ac_[0-9A-Za-z]{49}\b";

/// Finds device codes: for secret scanners.
pub const DEVICE_CODE_PATTERN: &str = r"\bgp_dc_[0-9A-Za-z]{49}\b";

/// The kinds of secret that have this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// `gp_key_`.
    ApiKey,
    /// `gp_pat_`.
    PersonalAccessToken,
    /// `gp_cs_`.
    ClientSecret,
    /// `gp_rt_`.
    RefreshToken,
    /// `gp_ac_`.
    AuthorizationCode,
    /// `gp_dc_`.
    DeviceCode,
}

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::ApiKey,
        Self::PersonalAccessToken,
        Self::ClientSecret,
        Self::RefreshToken,
        Self::AuthorizationCode,
        Self::DeviceCode,
    ];

    /// The prefix of secrets of this kind.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "gp_key_",
            Self::PersonalAccessToken => "gp_pat_",
            Self::ClientSecret => "gp_cs_",
            Self::RefreshToken => "gp_rt_",
            Self::AuthorizationCode => "gp_ac_",
            Self::DeviceCode => "gp_dc_",
        }
    }

    /// The pattern for secret scanners.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::ApiKey => API_KEY_PATTERN,
            Self::PersonalAccessToken => PERSONAL_ACCESS_TOKEN_PATTERN,
            Self::ClientSecret => CLIENT_SECRET_PATTERN,
            Self::RefreshToken => REFRESH_TOKEN_PATTERN,
            Self::AuthorizationCode => AUTHORIZATION_CODE_PATTERN,
            Self::DeviceCode => DEVICE_CODE_PATTERN,
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "API key",
            Self::PersonalAccessToken => "personal access token",
            Self::ClientSecret => "client secret",
            Self::RefreshToken => "refresh token",
            Self::AuthorizationCode => "authorization code",
            Self::DeviceCode => "device code",
        })
    }
}

/// The result of checking the form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not a gatepost key by its prefix: it may be a key of another maker.
    NotOurs,
    /// A well-formed gatepost key.
    Good(SecretKind),
    /// Begins like a gatepost key, but length, characters or checksum are wrong: gatepost never
    /// generated it.
    Bad(SecretKind),
}

/// The random source failed or is stuck.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the random source failed")]
pub struct RandomFault;

/// Generates a new secret from `fill`, which fills a slice with random bytes. Every character is
/// drawn without bias.
///
/// # Errors
/// [`RandomFault`] when the source fails or keeps returning bytes that cannot be used.
pub fn generate(
    kind: SecretKind,
    fill: &mut dyn FnMut(&mut [u8]) -> Result<(), RandomFault>,
) -> Result<Secret<String>, RandomFault> {
    // Full capacity from the start, so that growing leaves no partial copy of the key behind.
    let mut text = String::with_capacity(kind.prefix().len() + RANDOM_CHARS + CHECKSUM_CHARS);
    text.push_str(kind.prefix());
    push_random(&mut text, RANDOM_CHARS, ALPHABET, fill)?;
    let sum = checksum(&text);
    text.extend(sum.iter().map(|digit| char::from(*digit)));
    Ok(Secret::new(text))
}

/// Appends `count` characters of `alphabet`, each equally likely.
///
/// # Errors
/// [`RandomFault`] as for [`generate`].
pub(crate) fn push_random(
    text: &mut String,
    count: usize,
    alphabet: &[u8],
    fill: &mut dyn FnMut(&mut [u8]) -> Result<(), RandomFault>,
) -> Result<(), RandomFault> {
    // Bytes from the last, incomplete run of the alphabet would make its first characters
    // likelier than the others.
    let usable = 256 - 256 % alphabet.len();
    let mut left = count;
    for _ in 0..RANDOM_ROUNDS_MAX {
        let mut bytes = zeroize::Zeroizing::new([0_u8; 64]);
        fill(bytes.as_mut_slice())?;
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < usable);
        for byte in fair.take(left) {
            text.push(char::from(alphabet[byte % alphabet.len()]));
            left -= 1;
        }
        if left == 0 {
            return Ok(());
        }
    }
    Err(RandomFault)
}

/// Checks the form of a presented text: cheap, without hashing it and without looking it up.
#[must_use]
pub fn check(text: &str) -> Form {
    if !text.starts_with(RESERVED_PREFIX) {
        return Form::NotOurs;
    }
    let Some(kind) = SecretKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))
    else {
        return Form::NotOurs;
    };
    let body = &text.as_bytes()[kind.prefix().len()..];
    let good = body.len() == RANDOM_CHARS + CHECKSUM_CHARS
        && body.iter().all(u8::is_ascii_alphanumeric)
        && body[RANDOM_CHARS..] == checksum(&text[..text.len() - CHECKSUM_CHARS]);
    if good { Form::Good(kind) } else { Form::Bad(kind) }
}

/// Returns whether a text begins with a well-formed secret, whatever follows it.
pub(super) fn is_secret_at(text: &[u8]) -> bool {
    let kind = |kind: &SecretKind| text.starts_with(kind.prefix().as_bytes());
    let Some(kind) = SecretKind::ALL.into_iter().find(kind) else { return false };
    let whole = text.get(..kind.prefix().len() + RANDOM_CHARS + CHECKSUM_CHARS);
    let whole = whole.and_then(|whole| std::str::from_utf8(whole).ok());
    whole.is_some_and(|whole| matches!(check(whole), Form::Good(_)))
}

/// CRC-32 (IEEE) of everything before it, in base62, most significant digit first.
fn checksum(text: &str) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A source that counts up, so that keys differ and tests repeat.
    fn counting(start: u8) -> impl FnMut(&mut [u8]) -> Result<(), RandomFault> {
        let mut next = start;
        move |bytes| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_mul(5).wrapping_add(17);
            }
            Ok(())
        }
    }

    #[track_caller]
    fn check_form(text: &str, expected: Form) {
        assert_eq!(check(text), expected, "{text:?}");
    }

    /// Checksums computed with another implementation (zlib's `crc32`).
    const KNOWN: [(&str, SecretKind); 6] = [
        ("gp_key_0000000000000000000000000000000000000000000376UK8", SecretKind::ApiKey),
        ("gp_key_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz3ggK1R", SecretKind::ApiKey),
        ("gp_key_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg2DDzeV", SecretKind::ApiKey),
        ("gp_key_00000000000000000000000000000000000000002ID000kns", SecretKind::ApiKey),
        (
            "gp_pat_00000000000000000000000000000000000000000003K3TjR",
            SecretKind::PersonalAccessToken,
        ),
        (
            "gp_pat_JKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz1RL41L",
            SecretKind::PersonalAccessToken,
        ),
    ];

    #[test]
    fn contract_key_files_the_checksum_is_crc_32_in_base62() {
        for (text, kind) in KNOWN {
            check_form(text, Form::Good(kind));
        }
    }

    #[test]
    fn r801_a_secret_is_found_at_any_offset() {
        for (text, _) in KNOWN {
            for before in ["", "a", "Bearer%20", "gp_key_", "__", "\u{e9}"] {
                assert!(is_secret_at(text.as_bytes()));
                let field = format!("{before}{text}, x_y");
                assert!(crate::decide::api_key::has_secret(field.as_bytes()), "{field}");
                let cut = &field.as_bytes()[..before.len() + text.len() - 1];
                assert!(!crate::decide::api_key::has_secret(cut), "{field}");
            }
        }
        assert!(SecretKind::ALL.iter().any(|kind| kind.prefix().len() == 6));
        assert!(SecretKind::ALL.iter().all(|kind| kind.prefix().len() >= 6));
    }

    #[test]
    fn contract_key_files_what_begins_like_ours_must_be_ours() {
        let good = KNOWN[0].0;
        for bad in [
            "gp_key_",
            &good[..good.len() - 1],
            &format!("{good}0"),
            &good.replace("gp_key_0", "gp_key_1"),
            &good.replace("376UK8", "376UK9"),
            &good.replace("376UK8", "376Uk8"),
            &good.replace("gp_key_00", "gp_key_é"),
            &format!("{good} "),
            &format!("{good}\n"),
            // Another kind's checksum.
            &good.replace("gp_key_", "gp_pat_"),
        ] {
            let kind = if bad.starts_with("gp_pat_") {
                SecretKind::PersonalAccessToken
            } else {
                SecretKind::ApiKey
            };
            check_form(bad, Form::Bad(kind));
        }
    }

    #[test]
    fn contract_key_files_keys_of_other_makers_are_not_judged() {
        for foreign in ["", "gp_", "gp_key", "GP_KEY_0", "gp_other_0", " gp_key_0", "sk_live_1"] {
            check_form(foreign, Form::NotOurs);
        }
    }

    #[test]
    fn every_single_wrong_character_is_found() {
        let good = KNOWN[2].0;
        for at in SecretKind::ApiKey.prefix().len()..good.len() {
            for other in ALPHABET {
                let mut bytes = good.as_bytes().to_vec();
                if std::mem::replace(&mut bytes[at], *other) != *other {
                    let wrong = String::from_utf8(bytes).unwrap();
                    check_form(&wrong, Form::Bad(SecretKind::ApiKey));
                }
            }
        }
    }

    #[test]
    fn a_generated_secret_is_well_formed_and_has_the_stated_length() {
        for kind in SecretKind::ALL {
            let made = generate(kind, &mut counting(3)).unwrap();
            assert!(kind.pattern().contains(kind.prefix()), "{kind}");
            check_form(made.expose(), Form::Good(kind));
            assert_eq!(made.expose().len(), kind.prefix().len() + 43 + 6);
            let again = generate(kind, &mut counting(4)).unwrap();
            assert_ne!(made.expose(), again.expose());
        }
    }

    #[test]
    fn people_are_told_what_kind_a_secret_is() {
        let names = SecretKind::ALL.map(|kind| kind.to_string());
        assert_eq!(
            names,
            [
                "API key",
                "personal access token",
                "client secret",
                "refresh token",
                "authorization code",
                "device code"
            ]
        );
    }

    #[test]
    fn a_broken_random_source_makes_no_key() {
        assert!(generate(SecretKind::ApiKey, &mut |_| Err(RandomFault)).is_err());
        let stuck = &mut |bytes: &mut [u8]| {
            bytes.fill(255);
            Ok(())
        };
        assert!(generate(SecretKind::ApiKey, stuck).is_err());
    }

    #[test]
    fn every_character_is_equally_likely() {
        // Every byte value once: 248 are used, so each of the 62 characters comes four times.
        let mut value = 0_u8;
        let mut every = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = value;
                value = value.wrapping_add(1);
            }
            Ok(())
        };
        let mut text = String::new();
        push_random(&mut text, 248, ALPHABET, &mut every).unwrap();
        for wanted in ALPHABET {
            assert_eq!(text.bytes().filter(|byte| byte == wanted).count(), 4);
        }
        // Those of the incomplete run are passed over, not kept for the second half.
        text.clear();
        push_random(&mut text, 2 * 248, ALPHABET, &mut every).unwrap();
        for wanted in ALPHABET {
            assert_eq!(text.bytes().filter(|byte| byte == wanted).count(), 8);
        }
    }

    proptest! {
        #[test]
        fn what_is_generated_is_accepted_and_a_changed_copy_is_not(
            seed in any::<[u8; 32]>(),
            at in 7_usize..56,
            other in any::<u8>(),
        ) {
            let mut round = 0_usize;
            let mut source = |bytes: &mut [u8]| {
                for byte in bytes {
                    *byte = seed[round % 32].wrapping_add((round / 32) as u8);
                    round += 1;
                }
                Ok(())
            };
            let made = generate(SecretKind::ApiKey, &mut source).unwrap();
            prop_assert_eq!(check(made.expose()), Form::Good(SecretKind::ApiKey));
            let mut bytes = made.expose().clone().into_bytes();
            prop_assume!(other.is_ascii() && bytes[at] != other);
            bytes[at] = other;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(check(&changed), Form::Bad(SecretKind::ApiKey));
        }

        #[test]
        fn no_text_makes_the_check_panic(text in "\\PC{0,80}", ours in any::<bool>()) {
            let text = if ours { format!("gp_key_{text}") } else { text };
            let _ = check(&text);
        }
    }
}
