//! Passwords: which are accepted, and how they are kept.
//!
//! Owns argon2id (RFC 9106) with the parameters of OWASP ASVS, and the rule for new passwords. One
//! hash takes 46 MiB and some 50 ms: the caller bounds how many run. An attacker would want to
//! learn which logins exist: an unknown one is compared with [`dummy`], which takes as long. Never
//! keeps a password.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::issue::rows::PasswordHash;

/// Fewest characters of a new password.
pub const CHARS_MIN: usize = 10;
/// The longest password, in bytes: what is hashed is bounded.
pub const BYTES_MAX: usize = 1_024;
/// Random bytes of a hash.
pub const SALT_BYTES: usize = 16;

const HASH_BYTES: usize = 32;
const MEMORY_KIB: u32 = 46 * 1_024;
const PASSES: u32 = 1;
const LANES: u32 = 1;
/// The head of a PHC string with these parameters.
const HEAD: &str = "$argon2id$v=19$m=47104,t=1,p=1$";

/// A password that is not accepted as a new one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PasswordError {
    #[error("a password has at least {CHARS_MIN} characters")]
    Short,
    #[error("a password has at most {BYTES_MAX} bytes")]
    Long,
    #[error("a password has no control characters")]
    Control,
    #[error("the password must differ from the login")]
    Login,
    #[error("the password has fewer than 4 different characters")]
    Repetitive,
    #[error("hashing failed")]
    Fault,
}

/// Checks a new password of the person with this login. No mix of character classes is demanded
/// (NIST SP 800-63B section 3.1.1.2).
///
/// # Errors
/// [`PasswordError`].
pub fn check_new(password: &str, login: &str) -> Result<(), PasswordError> {
    if password.len() > BYTES_MAX {
        return Err(PasswordError::Long);
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::Control);
    }
    if password.chars().count() < CHARS_MIN {
        return Err(PasswordError::Short);
    }
    if password.to_lowercase() == login.to_lowercase() {
        return Err(PasswordError::Login);
    }
    let different: std::collections::HashSet<_> = password.chars().collect();
    if different.len() < 4 { Err(PasswordError::Repetitive) } else { Ok(()) }
}

/// The hash of a password, with a random salt.
///
/// # Errors
/// [`PasswordError::Fault`].
pub fn hash(password: &str, salt: &[u8; SALT_BYTES]) -> Result<PasswordHash, PasswordError> {
    let computed = compute(password, salt).ok_or(PasswordError::Fault)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(*computed));
    Ok(PasswordHash(format!("{HEAD}{salt}${hash}").into()))
}

/// Returns whether it is the password of a hash, in constant time. One with other parameters is not
/// read: no version of gatepost wrote it.
#[must_use]
pub fn verify(password: &str, hash: &PasswordHash) -> bool {
    let parts = hash.0.strip_prefix(HEAD).and_then(|rest| rest.split_once('$'));
    let decoded = parts.and_then(|(salt, hash)| {
        let salt: [u8; SALT_BYTES] = STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?;
        Some((salt, STANDARD_NO_PAD.decode(hash).ok()?))
    });
    let Some((salt, expected)) = decoded else { return false };
    if password.len() > BYTES_MAX {
        return false;
    }
    compute(password, &salt).is_some_and(|computed| computed.ct_eq(&expected).into())
}

/// A hash that no password has: the one to compare with where there is no person.
#[must_use]
pub fn dummy() -> PasswordHash {
    let (salt, hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    PasswordHash(format!("{HEAD}{salt}${hash}").into())
}

/// The same text in another Unicode form is the same password.
fn compute(password: &str, salt: &[u8]) -> Option<Zeroizing<[u8; HASH_BYTES]>> {
    let password: Zeroizing<String> = Zeroizing::new(password.nfkc().collect());
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).ok()?;
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password.as_bytes(), salt, hash.as_mut_slice()).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_passwords_are_argon2id_with_the_parameters_of_asvs() {
        let kept = hash("correct horse", &[7; SALT_BYTES]).unwrap();
        assert!(
            kept.0.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"),
            "46 MiB, one pass, one lane"
        );
        assert!(verify("correct horse", &kept));
        assert!(!verify("correct horsf", &kept) && !verify("", &kept));
        let other = hash("correct horse", &[8; SALT_BYTES]).unwrap();
        assert_ne!(kept, other, "salted");
        // One composed, one decomposed.
        let accent = hash("caf\u{e9} in vienna", &[7; SALT_BYTES]).unwrap();
        assert!(verify("cafe\u{301} in vienna", &accent));
        for damaged in ["", "x", HEAD, &kept.0[..60], &kept.0.replace("t=1", "t=2")] {
            assert!(!verify("correct horse", &PasswordHash(damaged.into())), "{damaged}");
        }
        assert!(!verify("", &dummy()) && !verify("correct horse", &dummy()));
        assert_eq!(dummy().0.len(), kept.0.len(), "computed in the same way");
        assert_eq!(format!("{kept:?}"), "PasswordHash(..)");
    }

    #[test]
    fn contract_passwords_have_a_length_and_no_demanded_characters() {
        let check = |password: &str| check_new(password, "ada.lovelace");
        for good in [
            "correct horse",
            "\u{e4}\u{f6}\u{fc}\u{df}\u{e4}\u{f6}\u{fc}\u{df}12",
            &"ab c".repeat(256),
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check("123456789"), Err(PasswordError::Short));
        assert_eq!(check("Ada.Lovelace"), Err(PasswordError::Login));
        assert_eq!(check("aaaaaaaaaaaa"), Err(PasswordError::Repetitive));
        assert_eq!(check("correct\thorse"), Err(PasswordError::Control));
        assert_eq!(check(&"abcde".repeat(205)), Err(PasswordError::Long));
    }
}
