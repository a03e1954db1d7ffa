//! People whom the protected application signs in: their rows, their sessions and their end.
//!
//! Owns what an answer of the application changes. A login is shown and typed in commands, so none
//! is taken that names another person; a person whom an operator disabled stays disabled, and one
//! who was deleted begins again with nothing. Never believes an answer: it was checked before.

use crate::base::clock::UnixTime;
use crate::issue::external::{ExternalPerson, is_external};
use crate::issue::intent::people::end_access;
use crate::issue::intent::revoke::ended_share;
use crate::issue::intent::sessions::{self, NewSession, Start};
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, Target, Thing, refuse};
use crate::issue::rows::{
    Application, Column, Credential, Id, Person, RecordedConsent, Secret, SecretDigest, Session,
    Words,
};

/// Signs in a person whom the application named.
#[derive(Clone, Debug)]
pub struct StartExternal {
    /// The person.
    pub person: ExternalPerson,
    /// The session.
    pub session: NewSession,
    /// The session that the browser had.
    pub replaces: SecretDigest,
    /// Seconds until the end that no use extends.
    pub lifetime: u64,
}

impl Intent for StartExternal {
    type Answer = Session;
    const NAME: &'static str = "start_external";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Session>, Need> {
        let id = &self.person.id;
        let known = rows.get::<Person>(id)?;
        let is_live = |row: &Person| row.ended.is_none();
        // Whom an operator disabled, the application does not enable by an end and a new beginning.
        if known.as_ref().is_some_and(|row| row.disabled.is_some()) {
            return refuse(Refusal::Disabled(Thing::Person, id.0.clone()));
        }
        // Commands find a person by login before they look at ids.
        let mut namesakes = rows.live::<Person>("login", &id.0)?;
        namesakes.retain(|row| row.id != *id);
        if namesakes.iter().any(|row| !is_external(&row.id)) {
            return refuse(Refusal::Exists(Thing::Person, id.0.clone()));
        }
        namesakes.iter_mut().for_each(|row| row.login = None);
        let new = Person {
            id: id.clone(),
            login: None,
            name: None,
            email: None,
            roles: Words::default(),
            created: now,
            disabled: None,
            ended: None,
        };
        let before = known.filter(is_live);
        let row = described(rows, before.clone().unwrap_or(new), &self.person)?;
        let auth_time = self.person.auth_time.unwrap_or(UnixTime(0));
        let Self { session, replaces, lifetime, .. } = self;
        let start = Start { session, replaces, lifetime: *lifetime };
        let decision = sessions::start(rows, &start, id, auth_time, now)?.write_all(&namesakes);
        Ok(match before {
            Some(before) if before == row => decision,
            Some(_) => decision.write(&row).act(Act::new("person.update").subject(id)),
            None => decision.write(&row).act(Act::new("person.add").subject(id)),
        })
    }
}

/// Records what the application says about a person now.
#[derive(Clone, Debug)]
pub struct UpdateExternal {
    /// The person.
    pub person: ExternalPerson,
}

impl Intent for UpdateExternal {
    type Answer = ();
    const NAME: &'static str = "update_external";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        let known = rows.get::<Person>(&self.person.id)?.filter(|row| row.ended.is_none());
        let Some(before) = known else { return Ok(Decision::ok(())) };
        let row = described(rows, before.clone(), &self.person)?;
        if row == before {
            return Ok(Decision::ok(()));
        }
        Ok(Decision::ok(()).write(&row).act(Act::new("person.update").subject(&row.id)))
    }
}

/// A row as the application describes the person.
fn described(rows: &Rows, mut row: Person, person: &ExternalPerson) -> Result<Person, Need> {
    row.login = match &person.login {
        Some(login) if is_free(rows, login, &row.id)? => Some(login.clone()),
        Some(_) | None => None,
    };
    row.name.clone_from(&person.name);
    row.email.clone_from(&person.email);
    if let Some(roles) = &person.roles {
        row.roles = roles.clone();
    }
    Ok(row)
}

/// Returns whether a login names no other person.
fn is_free(rows: &Rows, login: &str, id: &Id) -> Result<bool, Need> {
    let by_login = rows.live::<Person>("login", &Box::<str>::from(login))?;
    let by_id = rows.get::<Person>(&Id::from(login))?.filter(|row| row.ended.is_none());
    Ok(by_login.iter().chain(&by_id).all(|row| row.id == *id))
}

/// Ends everything of a person who is gone from the application, but for the applications that
/// they registered: other people use them. Those have no owner from then on.
#[derive(Clone, Debug)]
pub struct EndExternal {
    /// The person.
    pub person: Id,
}

impl Intent for EndExternal {
    type Answer = ();
    const NAME: &'static str = "end_external";

    fn ends(&self) -> Option<Target> {
        Some(Target::Person(self.person.0.clone()))
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let known = rows.get::<Person>(&self.person)?.filter(|row| row.ended.is_none());
        let Some(mut row) = known else { return Ok(Decision::ok(())) };
        let mut credentials = rows.live::<Credential>("owner", &row.id)?;
        credentials.iter_mut().for_each(|one| one.ended = Some(now));
        row.ended = Some(now);
        // A later person of this name at the application inherits none of them.
        let mut owned = rows.live::<Application>("owner", &row.id)?;
        let mut secrets = Vec::new();
        for one in &mut owned {
            one.owner = None;
            let of = rows.all::<Secret>("application", &one.id)?.into_iter();
            secrets.extend(of.map(|secret| Secret { sealed: None, ..secret }));
        }
        let of = vec![("person", row.id.to_value())];
        let decision = end_access(rows, Decision::ok(()), &row.id, now)?;
        let decision = decision.end_all::<RecordedConsent>(of).write_all(&owned);
        let decision = decision.write_all(&secrets).write_all(&ended_share(rows, &row.id)?);
        let decision = decision.write_all(&credentials).write(&row);
        Ok(decision.act(Act::new("person.gone").subject(&row.id)))
    }
}
