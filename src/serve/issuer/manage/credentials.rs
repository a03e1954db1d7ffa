//! `/tokens` and `/keys`: personal access tokens and API keys of the store.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::clock::{UnixTime, parse_instant};
use crate::decide::api_key::format::{SecretKind, generate};
use crate::decide::scope::ScopeSet;
use crate::issue::credential::IdKind;
use crate::issue::intent::credentials::{
    CreateCredential, Ending, Lifetimes, NewSecret, RotateCredential, Turn, TurnCredential,
};
use crate::issue::intent::{Query, Refusal};
use crate::issue::rows::{
    Column, Credential, CredentialKind, DigestMethod, DisabledBy, Id, Person, Row, SecretDigest,
    Use,
};
use crate::serve::issuer::manage::list::Asked;
use crate::serve::issuer::manage::reply::{Answer, Refused, created, ok, read, wrong_method};
use crate::serve::issuer::manage::{Call, Manager, fill, not_found, people};
use crate::serve::store::Failure;

/// The longest name of a credential, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Characters of a secret that lists show.
const HINT_CHARS: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    owner: Box<str>,
    name: Box<str>,
    scopes: Option<Vec<Box<str>>>,
    /// RFC 3339, or `never`.
    expires: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// RFC 3339: the end of the old one.
    end_old: Option<Box<str>>,
    expires: Option<Box<str>>,
}

impl Manager {
    pub(super) async fn tokens(&self, call: Call<'_>, path: &[&str]) -> Answer {
        let lifetimes =
            self.settings.personal_access_tokens.ok_or_else(|| off("personal_access_tokens"));
        self.credentials(call, path, (CredentialKind::Pat, lifetimes)).await
    }

    pub(super) async fn keys(&self, call: Call<'_>, path: &[&str]) -> Answer {
        let lifetimes = self.settings.api_keys.ok_or_else(|| off("api_keys"));
        match (path, call.method) {
            (["import"], &Method::POST) => {
                return self.import_key(read(call.body)?, lifetimes?).await;
            }
            (["find"], &Method::POST) => return self.find_key(read(call.body)?).await,
            (["import" | "find"], _) => return Err(wrong_method("POST")),
            _ => {}
        }
        self.credentials(call, path, (CredentialKind::Key, lifetimes)).await
    }

    async fn credentials(
        &self,
        call: Call<'_>,
        path: &[&str],
        (kind, lifetimes): (CredentialKind, Result<Lifetimes, Refused>),
    ) -> Answer {
        match (path, call.method) {
            ([], &Method::GET) => self.list_credentials(kind, call.query).await,
            ([], &Method::POST) => self.create(kind, read(call.body)?, lifetimes?).await,
            ([id], &Method::DELETE) => self.turn(kind, id, Turn::Revoke).await,
            ([id, "disable"], &Method::POST) => self.turn(kind, id, Turn::Disable).await,
            ([id, "enable"], &Method::POST) => self.turn(kind, id, Turn::Enable).await,
            ([id, "rotate"], &Method::POST) => {
                self.rotate(kind, id, read(call.body)?, lifetimes?).await
            }
            ([], _) => Err(wrong_method("GET, HEAD, POST")),
            ([_], _) => Err(wrong_method("DELETE")),
            _ => Err(not_found()),
        }
    }

    async fn list_credentials(&self, kind: CredentialKind, query: &str) -> Answer {
        let asked = Asked::read(query, &["owner", "name", "state"])?;
        let mut of = vec![("kind", kind.to_value())];
        of.extend(asked.name());
        if let Some(owner) = asked.value("owner") {
            of.push(people::of(&self.person(owner).await?.id));
        }
        let name = match kind {
            CredentialKind::Key => "keys",
            CredentialKind::Pat => "tokens",
        };
        let mut listed = self.page(name, &asked, of, show).await?;
        for row in listed.body[name].as_array_mut().into_iter().flatten() {
            let id = row["id"].as_str().map(Id::from);
            row["last_used"] = self.last_used(id.as_ref()).await?;
        }
        Ok(listed)
    }

    /// The time of the last use of a credential or client secret, as far as it is recorded: a
    /// minute late.
    pub(super) async fn last_used(&self, id: Option<&Id>) -> Result<Value, Refused> {
        let Some(id) = id else { return Ok(Value::Null) };
        let found = self.store.read(Query::all::<Use>("id", id)).await?.pop();
        let found = found.map(Use::of).transpose().map_err(Failure::from)?;
        Ok(json!(found.map(|row| row.at.to_string())))
    }

    async fn create(&self, kind: CredentialKind, new: New, lifetimes: Lifetimes) -> Answer {
        let owner = self.person(&new.owner).await?;
        check_name(&new.name)?;
        let scopes = self.scopes_of(&owner, new.scopes.as_deref())?;
        let ending = ending(new.expires.as_deref())?;
        let (secret, text) = new_secret(kind)?;
        let owner = owner.id.0;
        let name = new.name;
        let intent = CreateCredential {
            kind,
            secret,
            method: DigestMethod::Made,
            owner,
            name,
            scopes,
            ending,
            lifetimes,
        };
        created(with_secret(kind, &self.run(intent).await?, &text))
    }

    async fn rotate(
        &self,
        kind: CredentialKind,
        id: &str,
        asked: Rotation,
        lifetimes: Lifetimes,
    ) -> Answer {
        let end_old = asked.end_old.as_deref().map(instant).transpose()?;
        let ending = ending(asked.expires.as_deref())?;
        let (secret, text) = new_secret(kind)?;
        let id = Id::from(id);
        let intent = RotateCredential { kind, id, secret, end_old, ending, lifetimes };
        created(with_secret(kind, &self.run(intent).await?, &text))
    }

    async fn turn(&self, kind: CredentialKind, id: &str, turn: Turn) -> Answer {
        let (id, by) = (Id::from(id), DisabledBy::Operator);
        ok(show(&self.run(TurnCredential { kind, id, turn, by }).await?))
    }

    /// The scopes that are asked for, each known and allowed to the person; none: all that the
    /// person may have.
    pub(super) fn scopes_of(
        &self,
        owner: &Person,
        asked: Option<&[Box<str>]>,
    ) -> Result<ScopeSet, Refused> {
        let scopes = &self.settings.rules.scopes;
        let allowed = scopes.roles.cut(&scopes.known, &owner.roles.0);
        let allowed = allowed.unwrap_or_else(|| scopes.known.clone());
        let Some(asked) = asked else { return Ok(allowed) };
        self.within(asked, &allowed)
    }

    /// A set of scopes that the issuer has, those of operators included.
    pub(super) fn known_scopes(&self, asked: &[Box<str>]) -> Result<ScopeSet, Refused> {
        self.within(asked, &self.settings.rules.scopes.known)
    }

    /// Scopes that no role needs to allow, because operators alone give them, are accepted too.
    fn within(&self, asked: &[Box<str>], allowed: &ScopeSet) -> Result<ScopeSet, Refused> {
        let reserved = &self.settings.rules.scopes.reserved;
        let asked = ScopeSet::from_tokens(asked.iter().map(AsRef::as_ref));
        let asked = asked.map_err(|error| Refused::mistake(error.to_string()))?;
        let is_beyond = |scope: &&str| !allowed.contains(scope) && !reserved.contains(scope);
        let beyond = asked.iter().find(is_beyond).map(Box::from);
        beyond.map_or(Ok(asked), |scope| Err(Refused::from(&Refusal::Scope(scope))))
    }
}

fn off(section: &str) -> Refused {
    Refused::mistake(format!("issuer.{section} is off"))
}

pub(super) fn instant(text: &str) -> Result<UnixTime, Refused> {
    parse_instant(text).map_err(|error| Refused::mistake(error.to_string()))
}

/// Checks the label of a credential.
pub(super) fn check_name(name: &str) -> Result<(), Refused> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    let detail = format!("name: 1 to {NAME_BYTES_MAX} bytes without control characters");
    Err(Refused::mistake(detail))
}

/// The last characters of a secret.
pub(super) fn hint(secret: &str) -> &str {
    &secret[secret.len() - HINT_CHARS..]
}

pub(super) fn ending(text: Option<&str>) -> Result<Ending, Refused> {
    Ok(match text {
        None => Ending::Default,
        Some("never") => Ending::Never,
        Some(text) => Ending::At(instant(text)?),
    })
}

/// A new credential: what is stored, and its text.
fn new_secret(
    kind: CredentialKind,
) -> Result<(NewSecret, crate::base::secret::Secret<String>), Refused> {
    let (form, id) = match kind {
        CredentialKind::Key => (SecretKind::ApiKey, IdKind::ApiKey),
        CredentialKind::Pat => (SecretKind::PersonalAccessToken, IdKind::PersonalAccessToken),
    };
    let text = generate(form, &mut fill)?;
    let hint = hint(text.expose()).into();
    let digest = SecretDigest::of_secret(text.expose());
    Ok((NewSecret { id: id.generate(&mut fill)?, digest, hint }, text))
}

fn with_secret(
    kind: CredentialKind,
    row: &Credential,
    text: &crate::base::secret::Secret<String>,
) -> Value {
    let mut shown = show(row);
    let member = match kind {
        CredentialKind::Key => "key",
        CredentialKind::Pat => "token",
    };
    shown[member] = json!(text.expose());
    shown
}

pub(super) fn show(row: &Credential) -> Value {
    json!({
        "id": row.id.as_str(),
        "name": row.name,
        "owner": row.owner.as_str(),
        "scopes": row.scopes.iter().collect::<Vec<_>>(),
        "hint": row.hint,
        "created": row.created.to_string(),
        "expires": row.expires.map(|at| at.to_string()),
        "disabled": row.disabled.map(|at| at.to_string()),
        "replaces": row.replaces.as_ref().map(Id::as_str),
    })
}
