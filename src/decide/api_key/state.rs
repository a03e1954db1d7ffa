//! The state of a key and its summary.
//!
//! Owns the states of a key and the order in which they are checked. Never reads the clock.

use crate::base::clock::UnixTime;

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Accepted.
    Active,
    /// `enabled: false`.
    Disabled,
    /// `expires` has passed.
    Expired,
    /// `not_before` has not come.
    NotYetValid,
}

impl KeyState {
    /// Every state, in the order of [`crate::decide::api_key::KeyRing::count`].
    pub const ALL: [Self; 4] = [Self::Active, Self::Disabled, Self::Expired, Self::NotYetValid];

    /// The word in metrics, in `/status` and in `gatepost key list`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }

    /// The state of a key with these properties at `now`. Checked in this order: disabled, not yet
    /// valid, expired. There is no leeway: the operator wrote the instant, on this machine's clock.
    #[must_use]
    pub fn of(
        enabled: bool,
        not_before: Option<UnixTime>,
        expires: Option<UnixTime>,
        now: UnixTime,
    ) -> Self {
        if !enabled {
            Self::Disabled
        } else if not_before.is_some_and(|begin| now < begin) {
            Self::NotYetValid
        } else if expires.is_some_and(|end| now >= end) {
            Self::Expired
        } else {
            Self::Active
        }
    }
}

/// The summary of one key on `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary<'a> {
    /// The key's id.
    pub id: &'a str,
    /// Its name, if it has one.
    pub name: Option<&'a str>,
    /// Its state.
    pub state: KeyState,
    /// End of its validity.
    pub expires: Option<UnixTime>,
    /// Time of last use, to the second, as far as this process and its reloads know it.
    pub last_use: Option<UnixTime>,
}
