//! `/users`: people.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::clock::{Clock, UnixTime};
use crate::base::secret::Secret;
use crate::issue::credential::{IdKind, SESSION_CHARS, random_text};
use crate::issue::intent::passwords::{CreateReset, RESET_LIFETIME, SetPassword};
use crate::issue::intent::people::{
    AddPerson, Applications, DeletePerson, DisablePerson, EnablePerson, ROLE_ASKED, ROLE_ASKED_FOR,
    SetRoles,
};
use crate::issue::intent::{Query, Refusal, Thing};
use crate::issue::password::{self, PasswordError, SALT_BYTES, check_new};
use crate::issue::person::{DEVELOPER, check_email, check_login, check_name, check_roles};
use crate::issue::rows::{Audit, Column, Id, PasswordHash, Person, Row, SecretDigest, Words};
use crate::serve::issuer::manage::list::Asked;
use crate::serve::issuer::manage::reply::{Answer, Refused, created, ok, read, wrong_method};
use crate::serve::issuer::manage::{Call, Manager, fill, not_found};
use crate::serve::store::{Failure, LISTED_MAX, Listing};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    login: Box<str>,
    name: Option<Box<str>>,
    email: Option<Box<str>>,
    #[serde(default)]
    roles: Vec<Box<str>>,
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    roles: Vec<Box<str>>,
}

impl Manager {
    pub(super) async fn people(&self, call: Call<'_>, path: &[&str]) -> Answer {
        match (path, call.method) {
            ([], &Method::GET) => self.list_people(call.query).await,
            ([], &Method::POST) => self.add_person(read(call.body)?).await,
            ([who], &Method::GET) => ok(show(&self.person(who).await?)),
            ([who], &Method::DELETE) => self.delete_person(who, call.query).await,
            ([who, turn], &Method::POST) => self.turn_person(who, turn, call.body).await,
            ([], _) => Err(wrong_method("GET, HEAD, POST")),
            ([_], _) => Err(wrong_method("GET, HEAD, DELETE")),
            ([_, _], _) => Err(wrong_method("POST")),
            _ => Err(not_found()),
        }
    }

    async fn list_people(&self, query: &str) -> Answer {
        let asked = Asked::read(query, &["login", "name", "state", "asked"])?;
        match asked.value("asked") {
            None | Some("false") => {}
            Some("true") => return self.list_asking(&asked).await,
            Some(_) => return Err(Refused::mistake("asked: true or false")),
        }
        let login = asked.value("login").map(|login| ("login", Box::<str>::from(login).to_value()));
        self.page("users", &asked, login.into_iter().chain(asked.name()).collect(), show).await
    }

    /// The people who ask for the role of developers, and do not have it.
    async fn list_asking(&self, asked: &Asked) -> Answer {
        let since = Clock::start().now().unix.0.saturating_sub(ROLE_ASKED_FOR);
        let listing = Listing {
            table: Audit::TABLE,
            of: vec![("act", Box::<str>::from(ROLE_ASKED).to_value())],
            live: false,
            since: Some(("at", UnixTime(since))),
            standing: None,
            after: Vec::new(),
            limit: LISTED_MAX,
        };
        let mut people = BTreeMap::new();
        for line in self.rows::<Audit>(listing).await? {
            people.extend(line.subject.map(|person| (person, line.at)));
        }
        let after = asked.value("after").map(Id::from);
        let limit = asked.limit()? as usize;
        let (mut shown, mut next) = (Vec::<Value>::new(), Value::Null);
        for (id, at) in people.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|a| id > a)) {
            let Some(person) = self.one_of("id", &id.0).await? else { continue };
            if person.roles.contains(DEVELOPER) {
                continue;
            }
            if let (true, Some(last)) = (shown.len() == limit, shown.last()) {
                next = Value::clone(&last["id"]);
                break;
            }
            let mut row = show(&person);
            row["asked"] = json!({ "role": DEVELOPER, "at": at.to_string() });
            shown.push(row);
        }
        ok(json!({ "users": shown, "next": next }))
    }

    async fn add_person(&self, new: NewPerson) -> Answer {
        let roles = words(&new.roles)?;
        check_login(&new.login).map_err(mistake)?;
        new.name.as_deref().map_or(Ok(()), check_name).map_err(mistake)?;
        new.email.as_deref().map_or(Ok(()), check_email).map_err(mistake)?;
        let id = IdKind::Person.generate(&mut fill)?;
        let NewPerson { login, name, email, password, .. } = new;
        let hash = match password {
            Some(password) => Some(hash(Secret::new(password), login.clone()).await?),
            None => None,
        };
        let person = self.run(AddPerson { id, login, name, email, roles }).await?;
        if let Some(hash) = hash {
            let set = self.run(SetPassword { person: person.id.0.clone(), hash }).await;
            set.map_err(|refused| {
                let id = &person.id;
                refused.after(&format!(
                    "{id} was added without a password: gatepost user password {id}"
                ))
            })?;
        }
        created(show(&person))
    }

    async fn set_password(&self, who: &str, password: String) -> Result<Person, Refused> {
        let person = self.person(who).await?;
        let login = person.login.unwrap_or_default();
        let hash = hash(Secret::new(password), login).await?;
        self.run(SetPassword { person: person.id.0, hash }).await
    }

    /// A link that sets a password once: built from the configuration, never from a request.
    async fn reset(&self, who: &str) -> Answer {
        let token = random_text(SESSION_CHARS, &mut fill)?;
        let digest = SecretDigest::of_secret(token.expose());
        let person = self.run(CreateReset { person: who.into(), token: digest }).await?;
        let link = format!("{}/reset/{}", self.settings.account_url, token.expose());
        let mut shown = show(&person);
        shown["link"] = json!(link);
        shown["expires_in"] = json!(RESET_LIFETIME);
        created(shown)
    }

    async fn turn_person(&self, who: &str, turn: &str, body: &[u8]) -> Answer {
        let person = who.into();
        let changed = match turn {
            "password" => self.set_password(who, read::<Password>(body)?.password).await,
            "reset" => return self.reset(who).await,
            "disable" => self.run(DisablePerson { person }).await,
            "enable" => self.run(EnablePerson { person }).await,
            "roles" => {
                let roles = words(&read::<Roles>(body)?.roles)?;
                self.run(SetRoles { person, roles }).await
            }
            _ => return Err(not_found()),
        };
        ok(show(&changed?))
    }

    async fn delete_person(&self, who: &str, query: &str) -> Answer {
        let asked = Asked::read(query, &["give_to", "with_applications"])?;
        let applications = match (asked.value("give_to"), asked.value("with_applications")) {
            (Some(heir), None) => Applications::Give(heir.into()),
            (None, Some("true")) => Applications::End,
            (None, None) => Applications::Refuse,
            (Some(_), Some(_)) | (None, Some(_)) => {
                return Err(Refused::mistake("give_to=PERSON or with_applications=true"));
            }
        };
        ok(show(&self.run(DeletePerson { person: who.into(), applications }).await?))
    }

    /// The person of this login or id.
    pub(super) async fn person(&self, who: &str) -> Result<Person, Refused> {
        let who: Box<str> = who.into();
        for column in ["id", "login"] {
            if let Some(person) = self.one_of(column, &who).await? {
                return Ok(person);
            }
        }
        Err(Refused::from(&Refusal::Unknown(Thing::Person, who)))
    }

    async fn one_of(&self, column: &'static str, who: &str) -> Result<Option<Person>, Refused> {
        let query = Query { live: true, ..Query::all::<Person>(column, &Box::<str>::from(who)) };
        let found = self.store.read(query).await?.pop();
        Ok(found.map(Person::of).transpose().map_err(Failure::from)?)
    }
}

fn mistake(error: crate::issue::person::PersonError) -> Refused {
    Refused::mistake(error.to_string())
}

/// The hash of a new password, off the threads that serve.
async fn hash(password: Secret<String>, login: Box<str>) -> Result<PasswordHash, Refused> {
    check_new(password.expose(), &login).map_err(|error| Refused::mistake(error.to_string()))?;
    let hashed = tokio::task::spawn_blocking(move || {
        let mut salt = [0; SALT_BYTES];
        fill(&mut salt).map_err(|_| PasswordError::Fault)?;
        password::hash(password.expose(), &salt)
    });
    let hashed = hashed.await.map_err(|error| Refused::fault(error.to_string()))?;
    hashed.map_err(|error| Refused::fault(error.to_string()))
}

fn words(roles: &[Box<str>]) -> Result<Words, Refused> {
    check_roles(roles.iter().map(AsRef::as_ref)).map_err(mistake)?;
    Ok(roles.iter().map(AsRef::as_ref).collect())
}

fn show(row: &Person) -> Value {
    json!({
        "id": row.id.as_str(),
        "login": row.login,
        "name": row.name,
        "email": row.email,
        "roles": row.roles.0,
        "created": row.created.to_string(),
        "disabled": row.disabled.map(|at| at.to_string()),
    })
}

/// The id of a person as a filter.
pub(super) fn of(id: &Id) -> (&'static str, crate::issue::rows::Value) {
    ("owner", id.to_value())
}
