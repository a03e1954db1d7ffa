//! Ids, and the user codes of devices.
//!
//! Owns the texts that the issuer generates besides the secrets of
//! [`format`](crate::decide::api_key::format): ids, which are no secrets and are not guessable
//! either, and user codes, which people type. Never reads a random source of its own.

use std::fmt;

use crate::base::secret::Secret;
use crate::decide::api_key::format::{ALPHABET, RandomFault, push_random};
use crate::issue::rows::Id;

/// Random characters of an id: 62^22 is above 2^130.
const ID_CHARS: usize = 22;

/// Characters of a session id and of a reset link: 62^43 is above 2^256.
pub const SESSION_CHARS: usize = 43;

/// A random text of base62 characters that is a secret without a form of its own: it never leaves
/// a cookie or a link.
///
/// # Errors
/// [`RandomFault`].
pub fn random_text(
    chars: usize,
    fill: &mut dyn FnMut(&mut [u8]) -> Result<(), RandomFault>,
) -> Result<Secret<String>, RandomFault> {
    let mut text = String::with_capacity(chars);
    push_random(&mut text, chars, ALPHABET, fill)?;
    Ok(Secret::new(text))
}

/// The letters of a user code: no vowels, so that no word comes out (RFC 8628 section 6.1).
pub const USER_CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Letters of a user code: 20^8 is 2^34.5, under the limits on attempts.
pub const USER_CODE_CHARS: usize = 8;

/// The longest text that is read as a user code, in bytes: the letters, and what people put
/// between them.
const USER_CODE_TEXT_BYTES_MAX: usize = 32;

/// The kinds of id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of the contract")]
pub enum IdKind {
    Person,
    Application,
    ApiKey,
    PersonalAccessToken,
    ClientSecret,
    Grant,
    Session,
}

impl IdKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Person,
        Self::Application,
        Self::ApiKey,
        Self::PersonalAccessToken,
        Self::ClientSecret,
        Self::Grant,
        Self::Session,
    ];

    /// The beginning of ids of this kind.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Person => "usr_",
            Self::Application => "app_",
            Self::ApiKey => "key_",
            Self::PersonalAccessToken => "pat_",
            Self::ClientSecret => "sec_",
            Self::Grant => "gr_",
            Self::Session => "ses_",
        }
    }

    /// Returns whether `text` is a generated id of this kind.
    #[must_use]
    pub fn is_form_of(self, text: &str) -> bool {
        text.strip_prefix(self.prefix()).is_some_and(|random| {
            random.len() == ID_CHARS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }

    /// A new id.
    ///
    /// # Errors
    /// [`RandomFault`].
    pub fn generate(
        self,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), RandomFault>,
    ) -> Result<Id, RandomFault> {
        let mut text = String::with_capacity(self.prefix().len() + ID_CHARS);
        text.push_str(self.prefix());
        push_random(&mut text, ID_CHARS, ALPHABET, fill)?;
        Ok(Id(text.into()))
    }
}

/// The code that a person types to connect a device (RFC 8628 section 6.1).
#[derive(Clone)]
pub struct UserCode(Secret<String>);

impl UserCode {
    /// A new one.
    ///
    /// # Errors
    /// [`RandomFault`].
    pub fn generate(
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), RandomFault>,
    ) -> Result<Self, RandomFault> {
        let mut text = String::with_capacity(USER_CODE_CHARS);
        push_random(&mut text, USER_CODE_CHARS, USER_CODE_LETTERS, fill)?;
        Ok(Self(Secret::new(text)))
    }

    /// Reads what a person typed: letters of either case, with spaces and hyphens anywhere.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > USER_CODE_TEXT_BYTES_MAX {
            return None;
        }
        let mut letters = String::with_capacity(USER_CODE_CHARS);
        for typed in text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')) {
            let letter = typed.to_ascii_uppercase();
            if letters.len() == USER_CODE_CHARS || !USER_CODE_LETTERS.contains(&letter) {
                return None;
            }
            letters.push(char::from(letter));
        }
        (letters.len() == USER_CODE_CHARS).then(|| Self(Secret::new(letters)))
    }

    /// The letters alone, as they are digested.
    #[must_use]
    pub fn letters(&self) -> &str {
        self.0.expose()
    }

    /// As it is shown: two groups of four.
    #[must_use]
    pub fn shown(&self) -> Secret<String> {
        let (one, other) = self.letters().split_at(USER_CODE_CHARS / 2);
        Secret::new(format!("{one}-{other}"))
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(seed: u8) -> impl FnMut(&mut [u8]) -> Result<(), RandomFault> {
        let mut next = seed;
        move |bytes| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_mul(5).wrapping_add(17);
            }
            Ok(())
        }
    }

    #[test]
    fn contract_ids_are_a_prefix_and_22_base62_characters() {
        for kind in IdKind::ALL {
            let id = kind.generate(&mut source(3)).unwrap();
            assert!(kind.is_form_of(id.as_str()), "{id}");
            assert_eq!(id.as_str().len(), kind.prefix().len() + 22);
            let matching = IdKind::ALL.into_iter().filter(|one| one.is_form_of(id.as_str()));
            assert_eq!(matching.count(), 1);
        }
        let person = IdKind::Person.generate(&mut source(3)).unwrap();
        for bad in ["", "usr_", "shop", &person.as_str()[..25], &format!("{person}0")] {
            assert!(!IdKind::Person.is_form_of(bad), "{bad}");
        }
        assert!(IdKind::Person.generate(&mut |_| Err(RandomFault)).is_err());
    }

    #[test]
    fn a_user_code_is_read_as_people_type_it() {
        let code = UserCode::generate(&mut source(5)).unwrap();
        assert_eq!(code.letters().len(), 8);
        let shown = code.shown();
        assert_eq!(shown.expose().len(), 9);
        let typed = format!(" {} ", shown.expose().to_lowercase().replace('-', " - "));
        for text in [shown.expose().as_str(), code.letters(), &typed] {
            assert_eq!(UserCode::parse(text).unwrap().letters(), code.letters(), "{text}");
        }
        for bad in ["", "BCDF-GHJ", "BCDF-GHJKL", "BCDF-GHJA", "BCDF_GHJK", "BCDF-GHJé"] {
            assert!(UserCode::parse(bad).is_none(), "{bad}");
        }
        assert!(UserCode::parse(&format!("BCDFGHJK{}", "-".repeat(25))).is_none());
        assert_eq!(format!("{code:?}"), "UserCode(..)");
    }

    proptest! {
        #[test]
        fn a_user_code_that_is_read_has_eight_letters_of_the_list(text in "\\PC{0,16}|[B-Zb-z -]{7,12}") {
            let kept: String =
                text.chars().filter(|c| *c != ' ' && *c != '-').collect::<String>().to_ascii_uppercase();
            let is_code = kept.len() == 8 && kept.bytes().all(|b| USER_CODE_LETTERS.contains(&b));
            let parsed = UserCode::parse(&text);
            prop_assert_eq!(parsed.is_some(), is_code);
            prop_assert!(parsed.is_none_or(|code| code.letters() == kept));
        }
    }
}
