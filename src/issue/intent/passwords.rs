//! Passwords of local people, and the links that set one.
//!
//! Owns the order of a reset: a link is for one person, is used once, ends with the next one, and a
//! new password ends every session. Never sees a password, only its hash, and never a link, only the
//! digest of its last segment.

use crate::base::clock::UnixTime;
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, or_refuse, people, refuse};
use crate::issue::rows::{Password, PasswordHash, Person, Reset, SecretDigest};

/// Seconds that a reset link is good for.
pub const RESET_LIFETIME: u64 = 3_600;

/// Sets the password of a person, and ends their sessions.
#[derive(Clone, Debug)]
pub struct SetPassword {
    /// The person, by login or id.
    pub person: Box<str>,
    /// The hash of the new password.
    pub hash: PasswordHash,
}

impl Intent for SetPassword {
    type Answer = Person;
    const NAME: &'static str = "set_password";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        let person = or_refuse!(people::find(rows, &self.person)?);
        Ok(set(&person, &self.hash, "password.set", now))
    }
}

/// Changes the password of a person who proved to know the one before.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// The person, by id.
    pub person: Box<str>,
    /// The hash that the old password was compared with.
    pub old: PasswordHash,
    /// The hash of the new password.
    pub hash: PasswordHash,
}

impl Intent for ChangePassword {
    type Answer = Person;
    const NAME: &'static str = "change_password";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        let person = or_refuse!(people::active_id(rows, &(&*self.person).into())?);
        match rows.get::<Password>(&person.id)? {
            Some(known) if known.hash == self.old => {
                Ok(set(&person, &self.hash, "password.change", now))
            }
            Some(_) | None => refuse(Refusal::Stale("the password was changed in the meantime")),
        }
    }
}

/// Makes a link that sets a password; an earlier one ends.
#[derive(Clone, Debug)]
pub struct CreateReset {
    /// The person, by login or id.
    pub person: Box<str>,
    /// Digest of the last segment of the link.
    pub token: SecretDigest,
}

impl Intent for CreateReset {
    type Answer = Person;
    const NAME: &'static str = "create_reset";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        let person = or_refuse!(people::active(rows, &self.person)?);
        let mut earlier = rows.live::<Reset>("person", &person.id)?;
        earlier.iter_mut().for_each(|row| row.ended = Some(now));
        let row = Reset {
            digest: self.token,
            person: person.id.clone(),
            created: now,
            expires: UnixTime(now.0.saturating_add(RESET_LIFETIME)),
            ended: None,
        };
        let act = Act::new("password.reset_link").subject(&person.id);
        Ok(Decision::ok(person).write_all(&earlier).write(&row).act(act))
    }
}

/// Sets a password by a link.
#[derive(Clone, Debug)]
pub struct UseReset {
    /// Digest of the last segment of the link.
    pub token: SecretDigest,
    /// The hash of the new password.
    pub hash: PasswordHash,
}

impl Intent for UseReset {
    type Answer = Person;
    const NAME: &'static str = "use_reset";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        let row = rows.get::<Reset>(&self.token)?;
        let Some(row) = row.filter(|row| row.is_good(now)) else {
            return refuse(Refusal::Stale("the link was used before or has expired"));
        };
        let person = or_refuse!(people::active_id(rows, &row.person)?);
        // The link ends with every other one of the person.
        Ok(set(&person, &self.hash, "password.reset", now))
    }
}

impl Reset {
    /// Returns whether it still sets a password.
    #[must_use]
    pub fn is_good(&self, now: UnixTime) -> bool {
        self.ended.is_none() && now < self.expires
    }
}

/// A new password ends sessions and links.
fn set(person: &Person, hash: &PasswordHash, act: &'static str, now: UnixTime) -> Decision<Person> {
    let row = Password { person: person.id.clone(), hash: hash.clone(), changed: now };
    let act = Act::new(act).subject(&person.id);
    people::end_sessions(Decision::ok(person.clone()), &person.id).write(&row).act(act)
}
