//! People: add, disable, enable, delete.
//!
//! Owns what ends with a person. Disabling ends OAuth grants for good, and keeps keys and tokens
//! for `enable`: the gate refuses them while their owner is disabled. Deleting ends everything, and
//! other roles end sessions. Never checks a password.

use crate::base::clock::UnixTime;
use crate::issue::intent::revoke::{denied, ended_secrets, ended_share};
use crate::issue::intent::{
    Act, Decision, Intent, Need, Refusal, Rows, Target, Thing, or_refuse, refuse,
};
use crate::issue::person::DEVELOPER;
use crate::issue::rows::{
    Application, Code, Column, Credential, Grant, Id, Password, PasswordHash, Person,
    RecordedConsent, Reset, Secret, Session, Words,
};

/// Adds a local person.
#[derive(Clone, Debug)]
pub struct AddPerson {
    /// The new id.
    pub id: Id,
    /// The name at sign-in.
    pub login: Box<str>,
    /// The full name.
    pub name: Option<Box<str>>,
    /// E-mail address.
    pub email: Option<Box<str>>,
    /// Roles.
    pub roles: Words,
}

impl Intent for AddPerson {
    type Answer = Person;
    const NAME: &'static str = "add_person";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        // A login that is another person's id would name two people.
        let same_id = rows.get::<Person>(&self.id)?.is_some();
        if same_id || find(rows, &self.login)?.is_ok() {
            return refuse(Refusal::Exists(Thing::Person, self.login.clone()));
        }
        let row = Person {
            id: self.id.clone(),
            login: Some(self.login.clone()),
            name: self.name.clone(),
            email: self.email.clone(),
            roles: self.roles.clone(),
            created: now,
            disabled: None,
            ended: None,
        };
        Ok(Decision::ok(row.clone()).write(&row).act(Act::new("person.add").subject(&row.id)))
    }
}

/// Gives a person other roles.
#[derive(Clone, Debug)]
pub struct SetRoles {
    /// The person, by login or id.
    pub person: Box<str>,
    /// All roles from now on.
    pub roles: Words,
}

impl Intent for SetRoles {
    type Answer = Person;
    const NAME: &'static str = "set_roles";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<Person>, Need> {
        let mut row = or_refuse!(find(rows, &self.person)?);
        if row.roles == self.roles {
            return Ok(Decision::ok(row));
        }
        row.roles = self.roles.clone();
        let decision = end_sessions(Decision::ok(row.clone()), &row.id);
        Ok(decision.write(&row).act(Act::new(ROLES_SET).subject(&row.id)))
    }
}

/// The act of [`AskForRole`] in the audit log.
pub const ROLE_ASKED: &str = "role.ask";

/// The act of [`SetRoles`] in the audit log, which answers a request.
pub const ROLES_SET: &str = "person.roles";

/// Seconds after which an unanswered request for a role lapses.
pub const ROLE_ASKED_FOR: u64 = 90 * 86_400;

/// Asks the operators for the role of developers. The request is a line of the audit log.
#[derive(Clone, Debug)]
pub struct AskForRole {
    /// The person.
    pub person: Id,
}

impl Intent for AskForRole {
    type Answer = ();
    const NAME: &'static str = "ask_for_role";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        let row = or_refuse!(active_id(rows, &self.person)?);
        if row.roles.contains(DEVELOPER) {
            return Ok(Decision::ok(()));
        }
        Ok(Decision::ok(()).act(Act::new(ROLE_ASKED).subject(&row.id)))
    }
}

/// Disables a person: all of their credentials are refused, and their OAuth grants end for good.
#[derive(Clone, Debug)]
pub struct DisablePerson {
    /// The person, by login or id.
    pub person: Box<str>,
}

impl Intent for DisablePerson {
    type Answer = Person;
    const NAME: &'static str = "disable_person";

    fn ends(&self) -> Option<Target> {
        Some(Target::Person(self.person.clone()))
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        let mut row = or_refuse!(find(rows, &self.person)?);
        let was_enabled = row.disabled.is_none();
        row.disabled = row.disabled.or(Some(now));
        let decision = end_access(rows, Decision::ok(row.clone()), &row.id, now)?;
        if !was_enabled {
            return Ok(decision);
        }
        Ok(decision.write(&row).act(Act::new("person.disable").subject(&row.id)))
    }
}

/// Enables a person again: their keys and personal access tokens are accepted again.
#[derive(Clone, Debug)]
pub struct EnablePerson {
    /// The person, by login or id.
    pub person: Box<str>,
}

impl Intent for EnablePerson {
    type Answer = Person;
    const NAME: &'static str = "enable_person";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<Person>, Need> {
        // One who is gone from the application was kept out, and stays so until now.
        let is_kept_out = |row: &Person| row.disabled.is_some();
        let mut row = match rows.get::<Person>(&Id::from(&*self.person))?.filter(is_kept_out) {
            Some(row) => row,
            None => or_refuse!(find(rows, &self.person)?),
        };
        if row.disabled.take().is_none() {
            return Ok(Decision::ok(row));
        }
        Ok(Decision::ok(row.clone()).write(&row).act(Act::new("person.enable").subject(&row.id)))
    }
}

/// The fate of a deleted person's applications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applications {
    /// There must be none.
    Refuse,
    /// They end.
    End,
    /// This person, by login or id, owns them from now on.
    Give(Box<str>),
}

/// Deletes a person with all of their credentials.
#[derive(Clone, Debug)]
pub struct DeletePerson {
    /// The person, by login or id.
    pub person: Box<str>,
    /// The applications that they own.
    pub applications: Applications,
}

impl Intent for DeletePerson {
    type Answer = Person;
    const NAME: &'static str = "delete_person";

    fn ends(&self) -> Option<Target> {
        Some(Target::Person(self.person.clone()))
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Person>, Need> {
        let mut row = or_refuse!(find(rows, &self.person)?);
        let mut owned = rows.live::<Application>("owner", &row.id)?;
        let (mut gone, mut secrets) = (Vec::new(), Vec::new());
        match &self.applications {
            Applications::Refuse if !owned.is_empty() => {
                return refuse(Refusal::OwnsApplications(owned.len()));
            }
            Applications::Refuse => {}
            Applications::End => {
                owned.iter_mut().for_each(|one| one.ended = Some(now));
                gone.extend(owned.iter().map(|one| Target::Application(one.id.clone())));
                for one in &owned {
                    secrets.extend(ended_secrets(rows, &one.id, now)?);
                }
            }
            Applications::Give(other) => {
                let heir = or_refuse!(active(rows, other)?);
                if heir.id == row.id {
                    return refuse(Refusal::OwnsApplications(owned.len()));
                }
                for one in &mut owned {
                    one.owner = Some(heir.id.clone());
                    // Sealed under the share of the one who is deleted: it can be shown no more.
                    let of = rows.all::<Secret>("application", &one.id)?.into_iter();
                    secrets.extend(of.map(|secret| Secret { sealed: None, ..secret }));
                }
            }
        }
        let mut credentials = rows.live::<Credential>("owner", &row.id)?;
        credentials.iter_mut().for_each(|one| one.ended = Some(now));
        // One who signs in through the application may come back, with nothing.
        (row.ended, row.disabled) = (Some(now), None);
        let password = rows.get::<Password>(&row.id)?;
        let password =
            password.map(|known| Password { hash: PasswordHash("".into()), changed: now, ..known });
        let decision = end_access(rows, Decision::ok(row.clone()), &row.id, now)?;
        let decision = decision
            .write_all(&password)
            .write_all(&ended_share(rows, &row.id)?)
            .end_all::<RecordedConsent>(vec![("person", row.id.to_value())]);
        let decision = decision.write_all(&owned).write_all(&secrets);
        let decision = decision.write_all(&credentials).write(&row);
        let decision = gone.into_iter().fold(decision, Decision::target);
        Ok(decision.act(Act::new("person.delete").subject(&row.id)))
    }
}

/// Ends what a person has opened with OAuth, for good: sessions, grants, codes that were not redeemed,
/// and approvals of devices that have not asked for their tokens yet.
pub(crate) fn end_access<T>(
    rows: &Rows,
    decision: Decision<T>,
    person: &Id,
    now: UnixTime,
) -> Result<Decision<T>, Need> {
    let of = || vec![("person", person.to_value())];
    let denied = denied(rows, "person", person, now)?;
    let decision = end_sessions(decision, person).end_all::<Grant>(of()).end_all::<Code>(of());
    Ok(decision.write_all(&denied))
}

/// Ends every session of a person, and every link that would start one.
pub(crate) fn end_sessions<T>(decision: Decision<T>, person: &Id) -> Decision<T> {
    decision
        .end_all::<Session>(vec![("person", person.to_value())])
        .end_all::<Reset>(vec![("person", person.to_value())])
}

/// The person of this login, or of this id, who has not been deleted.
pub(crate) fn find(rows: &Rows, who: &str) -> Result<Result<Person, Refusal>, Need> {
    let mut by_login = rows.live::<Person>("login", &Box::<str>::from(who))?;
    if let Some(row) = by_login.pop() {
        return Ok(Ok(row));
    }
    let by_id = rows.get::<Person>(&Id::from(who))?;
    let by_id = by_id.filter(|row| row.ended.is_none());
    Ok(by_id.ok_or_else(|| Refusal::Unknown(Thing::Person, who.into())))
}

/// The person of this id, who is neither deleted nor disabled. A login is not looked at: that of
/// another person may read like this id.
pub(crate) fn active_id(rows: &Rows, id: &Id) -> Result<Result<Person, Refusal>, Need> {
    let found = rows.get::<Person>(id)?.filter(|row| row.ended.is_none());
    let found = found.ok_or_else(|| Refusal::Unknown(Thing::Person, id.0.clone()));
    Ok(found.and_then(enabled))
}

fn enabled(row: Person) -> Result<Person, Refusal> {
    match row.disabled {
        None => Ok(row),
        Some(_) => Err(Refusal::Disabled(Thing::Person, row.id.0)),
    }
}

/// The same, who is not disabled either.
pub(crate) fn active(rows: &Rows, who: &str) -> Result<Result<Person, Refusal>, Need> {
    Ok(find(rows, who)?.and_then(|row| match row.disabled {
        None => Ok(row),
        Some(_) => Err(Refusal::Disabled(Thing::Person, who.into())),
    }))
}
