//! Sessions of people in browsers.
//!
//! Owns their lifetime, their idle time and their number. A session starts with a new id, whatever
//! cookie the browser had: an attacker would want a person to sign in to an id that the attacker
//! knows. Never sees the id, only its digest.

use crate::base::clock::UnixTime;
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, or_refuse, people, refuse};
use crate::issue::rows::{Column, Id, Password, PasswordHash, SecretDigest, Session};

/// The most sessions of a person: one more ends the one that was unused for the longest time.
pub const PER_PERSON_MAX: usize = 20;

/// A new session, as the browser describes itself.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Digest of the id in the cookie.
    pub digest: SecretDigest,
    /// A name for lists.
    pub id: Id,
    /// `User-Agent`, shortened.
    pub agent: Option<Box<str>>,
    /// Address.
    pub address: Option<Box<str>>,
}

/// Signs a person in whose password was compared.
#[derive(Clone, Debug)]
pub struct StartSession {
    /// The person.
    pub person: Id,
    /// The hash that the password was compared with.
    pub password: PasswordHash,
    /// The session.
    pub session: NewSession,
    /// The session that the browser had.
    pub replaces: SecretDigest,
    /// Seconds until the end that no use extends.
    pub lifetime: u64,
}

impl Intent for StartSession {
    type Answer = Session;
    const NAME: &'static str = "start_session";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Session>, Need> {
        let person = or_refuse!(people::active_id(rows, &self.person)?);
        // Hashing takes its time, and the password may have been changed meanwhile.
        let known = rows.get::<Password>(&person.id)?;
        if known.is_none_or(|known| known.hash != self.password) {
            return refuse(Refusal::Stale("the password was changed in the meantime"));
        }
        start(rows, &self.start(), &person.id, now, now)
    }
}

impl StartSession {
    fn start(&self) -> Start<'_> {
        Start { session: &self.session, replaces: &self.replaces, lifetime: self.lifetime }
    }
}

/// A session that starts, whatever proved the person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// The session.
    pub(crate) session: &'a NewSession,
    /// The session that the browser had.
    pub(crate) replaces: &'a SecretDigest,
    /// Seconds until the end that no use extends.
    pub(crate) lifetime: u64,
}

/// Starts a session of a person who proved who they are at `auth_time`.
pub(crate) fn start(
    rows: &Rows,
    start: &Start<'_>,
    person: &Id,
    auth_time: UnixTime,
    now: UnixTime,
) -> Result<Decision<Session>, Need> {
    let NewSession { digest, id, agent, address } = start.session.clone();
    let expires = UnixTime(now.0.saturating_add(start.lifetime));
    let (person, ended) = (person.clone(), None);
    let (created, seen) = (now, now);
    let new =
        Session { digest, id, person, auth_time, created, seen, expires, agent, address, ended };
    let ends = surplus(rows, start.replaces, &new.person, now)?;
    let act = Act::new("sign_in").subject(&new.person).credential(&new.id);
    Ok(Decision::ok(new.clone()).write_all(&ends).write(&new).act(act))
}

/// The sessions that end with a new one, which replaces that of this digest.
fn surplus(
    rows: &Rows,
    replaces: &SecretDigest,
    person: &Id,
    now: UnixTime,
) -> Result<Vec<Session>, Need> {
    let mut live = rows.live::<Session>("person", person)?;
    live.retain(|row| now < row.expires);
    let (mut ends, mut rest): (Vec<_>, Vec<_>) =
        live.into_iter().partition(|row| row.digest == *replaces);
    rest.sort_by_key(|row| row.seen);
    let surplus = (rest.len() + 1).saturating_sub(PER_PERSON_MAX);
    ends.extend(rest.into_iter().take(surplus));
    // Of another person, whose cookie the new one replaces.
    let other = rows.get::<Session>(replaces)?;
    ends.extend(other.filter(|row| row.ended.is_none() && row.person != *person));
    ends.iter_mut().for_each(|row| row.ended = Some(now));
    Ok(ends)
}

/// Records a request of a session.
#[derive(Clone, Debug)]
pub struct TouchSession {
    /// Digest of its id.
    pub digest: SecretDigest,
}

impl Intent for TouchSession {
    type Answer = ();
    const NAME: &'static str = "touch_session";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let row = rows.get::<Session>(&self.digest)?;
        let Some(mut row) = row.filter(|row| row.ended.is_none() && now > row.seen) else {
            return Ok(Decision::ok(()));
        };
        row.seen = now;
        Ok(Decision::ok(()).write(&row))
    }
}

/// The sessions that end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this name.
    One(Id),
    /// All of the person.
    All,
}

/// Ends sessions of a person: sign-out.
#[derive(Clone, Debug)]
pub struct EndSessions {
    /// The person.
    pub person: Id,
    /// Which.
    pub which: Which,
}

impl Intent for EndSessions {
    type Answer = ();
    const NAME: &'static str = "end_sessions";

    fn decide(&self, _rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        let mut of = vec![("person", self.person.to_value())];
        let mut act = Act::new("sign_out").subject(&self.person);
        if let Which::One(id) = &self.which {
            of.push(("id", id.to_value()));
            act = act.credential(id);
        }
        Ok(Decision::ok(()).end_all::<Session>(of).act(act))
    }
}

impl Session {
    /// Returns whether it is in force, for sessions that end `idle` seconds after their last request.
    #[must_use]
    pub fn is_live(&self, idle: u64, now: UnixTime) -> bool {
        self.ended.is_none() && now < self.expires && now.0 < self.seen.0.saturating_add(idle)
    }
}
