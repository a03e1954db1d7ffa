//! `/apps`: applications and their secrets.

use http::Method;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::decide::api_key::format::{SecretKind, generate};
use crate::issue::application::{Author, ClientType, Description};
use crate::issue::credential::IdKind;
use crate::issue::intent::application_update::{Changes, UpdateApplication};
use crate::issue::intent::applications::{
    AddSecret, ClientSecret, CreateApplication, EndSecret, Turn, TurnApplication,
};
use crate::issue::intent::credentials::NewSecret;
use crate::issue::intent::{Query, Refusal, Thing};
use crate::issue::rows::{self, Application, Column, Id, Profile, Row, SecretDigest};
use crate::serve::issuer::manage::credentials::instant;
use crate::serve::issuer::manage::list::Asked;
use crate::serve::issuer::manage::reply::{Answer, Refused, created, ok, read, wrong_method};
use crate::serve::issuer::manage::{Call, Manager, fill, not_found, people};
use crate::serve::store::Failure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: Box<str>,
    owner: Option<Box<str>>,
    site: Option<Box<str>>,
    /// `confidential` or `public`.
    #[serde(rename = "type")]
    client_type: Option<Box<str>>,
    /// `strict` or `compat`.
    profile: Box<str>,
    #[serde(default)]
    redirect_uris: Vec<Box<str>>,
    grants: Option<Vec<Box<str>>>,
    scopes: Option<Vec<Box<str>>>,
    /// Seconds.
    access_lifetime: Option<u64>,
    #[serde(default)]
    first_party: bool,
    #[serde(default)]
    introspect: bool,
}

/// Members that are absent stay; `null` removes where there may be none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    name: Option<Box<str>>,
    #[serde(default, deserialize_with = "nullable")]
    site: Option<Option<Box<str>>>,
    profile: Option<Box<str>>,
    redirect_uris: Option<Vec<Box<str>>>,
    grants: Option<Vec<Box<str>>>,
    #[serde(default, deserialize_with = "nullable")]
    scopes: Option<Option<Vec<Box<str>>>>,
    /// Seconds.
    #[serde(default, deserialize_with = "nullable")]
    access_lifetime: Option<Option<u64>>,
    first_party: Option<bool>,
    introspect: Option<bool>,
}

/// `null` is a value.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewClientSecret {
    /// RFC 3339: the end of the secrets before.
    end_old: Option<Box<str>>,
}

impl Manager {
    pub(super) async fn applications(&self, call: Call<'_>, path: &[&str]) -> Answer {
        match (path, call.method) {
            ([], &Method::GET) => self.list_applications(call.query).await,
            ([], &Method::POST) => self.create_application(read(call.body)?).await,
            ([id], &Method::GET) => self.show_application(id).await,
            ([id], &Method::POST) => self.update_application(id, read(call.body)?).await,
            ([id], &Method::DELETE) => self.turn_application(id, Turn::Delete).await,
            ([id, "approve"], &Method::POST) => self.turn_application(id, Turn::Approve).await,
            ([id, "revoke"], &Method::POST) => {
                let generation = IdKind::Grant.generate(&mut fill)?;
                self.turn_application(id, Turn::EndTokens(generation)).await
            }
            ([id, "secrets"], &Method::POST) => self.add_secret(id, read(call.body)?).await,
            ([id, "secrets", secret], &Method::DELETE) => self.end_secret(id, secret).await,
            ([], _) => Err(wrong_method("GET, HEAD, POST")),
            ([_], _) => Err(wrong_method("GET, HEAD, POST, DELETE")),
            _ => Err(not_found()),
        }
    }

    async fn list_applications(&self, query: &str) -> Answer {
        let asked = Asked::read(query, &["owner", "name", "state"])?;
        let mut of: Vec<_> = asked.name().into_iter().collect();
        if let Some(owner) = asked.value("owner") {
            of.push(people::of(&self.person(owner).await?.id));
        }
        self.page("apps", &asked, of, show).await
    }

    async fn create_application(&self, new: New) -> Answer {
        let row = self.described(&new).await?;
        let (secret, text) = match row.confidential {
            true => client_secret().map(|(secret, text)| (Some(secret), Some(text)))?,
            false => (None, None),
        };
        let row = self.run(CreateApplication { application: row, secret }).await?;
        created(with_secret(&row, text.as_ref()))
    }

    /// The row of a description that breaks no rule.
    async fn described(&self, new: &New) -> Result<Application, Refused> {
        let client_type = match new.client_type.as_deref() {
            None | Some("confidential") => ClientType::Confidential,
            Some("public") => ClientType::Public,
            Some(_) => return Err(Refused::mistake("type: confidential or public")),
        };
        let profile = self.profile(&new.profile)?;
        let texts =
            |list: &[Box<str>]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
        let default = || vec!["authorization_code".into(), "refresh_token".into()];
        let grants = new.grants.clone().unwrap_or_else(default);
        let (uris, grants) = (texts(&new.redirect_uris), texts(&grants));
        let description = Description {
            name: &new.name,
            site: new.site.as_deref(),
            client_type,
            profile,
            redirect_uris: &uris.iter().map(String::as_str).collect::<Vec<_>>(),
            grants: &grants.iter().map(String::as_str).collect::<Vec<_>>(),
            first_party: new.first_party,
            introspect: new.introspect,
        };
        let mistakes = description.mistakes(Author::Operator);
        if !mistakes.is_empty() {
            let texts: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            return Err(Refused::mistake(texts.join("; ")));
        }
        let owner = match &new.owner {
            Some(owner) => Some(self.person(owner).await?.id),
            None => None,
        };
        Ok(Application {
            id: IdKind::Application.generate(&mut fill)?,
            owner,
            name: new.name.clone(),
            site: new.site.clone(),
            confidential: client_type == ClientType::Confidential,
            profile,
            redirect_uris: uris.iter().map(String::as_str).collect(),
            grants: grants.iter().map(String::as_str).collect(),
            scopes: new.scopes.as_deref().map(|scopes| self.known_scopes(scopes)).transpose()?,
            first_party: new.first_party,
            introspect: new.introspect,
            access_lifetime: self.access_lifetime(new.access_lifetime)?,
            plugin: None,
            // An operator made it.
            approved: Some(UnixTime(0)),
            generation: IdKind::Grant.generate(&mut fill)?,
            created: UnixTime(0),
            disabled: None,
            ended: None,
        })
    }

    fn profile(&self, text: &str) -> Result<Profile, Refused> {
        match text {
            "strict" => Ok(Profile::Strict),
            "compat" if self.settings.compat => Ok(Profile::Compat),
            "compat" => Err(Refused::mistake("profile: issuer.compat is false")),
            _ => Err(Refused::mistake("profile: strict or compat")),
        }
    }

    fn access_lifetime(&self, seconds: Option<u64>) -> Result<Option<u64>, Refused> {
        let max = self.settings.max_access_lifetime.as_secs();
        if seconds.is_none_or(|seconds| (1..=max).contains(&seconds)) {
            return Ok(seconds);
        }
        let detail = format!(
            "access_lifetime: 1 to {max} seconds, as issuer.access_tokens.max_lifetime allows"
        );
        Err(Refused::mistake(detail))
    }

    async fn update_application(&self, id: &str, update: Update) -> Answer {
        let words =
            |list: Option<Vec<Box<str>>>| list.map(|list| list.iter().map(AsRef::as_ref).collect());
        let scopes = |scopes: Option<Vec<Box<str>>>| {
            scopes.map(|scopes| self.known_scopes(&scopes)).transpose()
        };
        let changes = Changes {
            name: update.name,
            site: update.site,
            profile: update.profile.map(|profile| self.profile(&profile)).transpose()?,
            redirect_uris: words(update.redirect_uris),
            grants: words(update.grants),
            scopes: update.scopes.map(scopes).transpose()?,
            access_lifetime: update
                .access_lifetime
                .map(|seconds| self.access_lifetime(seconds))
                .transpose()?,
            first_party: update.first_party,
            introspect: update.introspect,
        };
        let application = Id::from(id);
        ok(show(
            &self.run(UpdateApplication { application, changes, author: Author::Operator }).await?,
        ))
    }

    async fn show_application(&self, id: &str) -> Answer {
        let row = self.application(id).await?;
        let secrets = Query::all::<rows::Secret>("application", &row.id);
        let secrets = self.store.read(secrets).await?.into_iter().map(rows::Secret::of);
        let secrets: Vec<_> = secrets.collect::<Result<_, _>>().map_err(Failure::from)?;
        let mut shown_secrets = Vec::new();
        for row in &secrets {
            shown_secrets.push(json!({
                "id": row.id.as_str(),
                "created": row.created.to_string(),
                "last_used": self.last_used(Some(&row.id)).await?,
                "ends": row.ends.map(|at| at.to_string()),
            }));
        }
        let mut shown = show(&row);
        shown["secrets"] = shown_secrets.into();
        ok(shown)
    }

    async fn application(&self, id: &str) -> Result<Application, Refused> {
        let query = Query { live: true, ..Query::all::<Application>("id", &Id::from(id)) };
        match self.store.read(query).await?.pop() {
            Some(row) => Ok(Application::of(row).map_err(Failure::from)?),
            None => Err(Refused::from(&Refusal::Unknown(Thing::Application, id.into()))),
        }
    }

    async fn turn_application(&self, id: &str, turn: Turn) -> Answer {
        let application = Id::from(id);
        ok(show(&self.run(TurnApplication { application, turn }).await?))
    }

    async fn add_secret(&self, id: &str, new: NewClientSecret) -> Answer {
        let end_old = new.end_old.as_deref().map(instant).transpose()?;
        let (secret, text) = client_secret()?;
        let intent = AddSecret { application: Id::from(id), secret, end_old };
        let row = self.run(intent).await?;
        created(json!({
            "client_id": id, "id": row.id.as_str(), "client_secret": text.expose(),
        }))
    }

    async fn end_secret(&self, id: &str, secret: &str) -> Answer {
        let intent = EndSecret { application: Id::from(id), secret: Id::from(secret) };
        let row = self.run(intent).await?;
        ok(json!({ "id": row.id.as_str(), "ends": row.ends.map(|at| at.to_string()) }))
    }

    pub(super) async fn grants(&self, call: Call<'_>) -> Answer {
        match *call.method {
            Method::GET => {
                let asked = Asked::read(call.query, &["user", "app"])?;
                let mut of = Vec::new();
                if let Some(user) = asked.value("user") {
                    of.push(("person", self.person(user).await?.id.to_value()));
                }
                if let Some(app) = asked.value("app") {
                    of.push(("application", Id::from(app).to_value()));
                }
                self.page("grants", &asked, of, show_grant).await
            }
            Method::DELETE => {
                let asked = Asked::read(call.query, &["user", "app"])?;
                let (Some(user), Some(app)) = (asked.value("user"), asked.value("app")) else {
                    return Err(Refused::mistake("user and app are required"));
                };
                let (person, application) = (self.person(user).await?.id, Id::from(app));
                self.run(crate::issue::intent::revoke::EndGrants { person, application }).await?;
                ok(json!({}))
            }
            _ => Err(wrong_method("GET, HEAD, DELETE")),
        }
    }
}

/// A new client secret, and its text.
pub(super) fn client_secret() -> Result<(ClientSecret, Secret<String>), Refused> {
    let text = generate(SecretKind::ClientSecret, &mut fill)?;
    let secret = NewSecret {
        id: IdKind::ClientSecret.generate(&mut fill)?,
        digest: SecretDigest::of_secret(text.expose()),
        hint: "".into(),
    };
    Ok((ClientSecret { secret, sealed: None }, text))
}

fn with_secret(row: &Application, secret: Option<&Secret<String>>) -> Value {
    let mut shown = show(row);
    shown["client_secret"] = secret.map_or(Value::Null, |secret| json!(secret.expose()));
    shown
}

pub(super) fn show(row: &Application) -> Value {
    json!({
        "client_id": row.id.as_str(),
        "name": row.name,
        "owner": row.owner.as_ref().map(Id::as_str),
        "site": row.site,
        "type": if row.confidential { "confidential" } else { "public" },
        "profile": row.profile.as_str(),
        "redirect_uris": row.redirect_uris.0,
        "grants": row.grants.0,
        "scopes": row.scopes.as_ref().map(|scopes| scopes.iter().collect::<Vec<_>>()),
        "first_party": row.first_party,
        "introspect": row.introspect,
        "access_lifetime": row.access_lifetime,
        "plugin": row.plugin,
        "approved": row.approved.is_some(),
        "created": row.created.to_string(),
        "disabled": row.disabled.map(|at| at.to_string()),
    })
}

fn show_grant(row: &rows::Grant) -> Value {
    json!({
        "id": row.id.as_str(),
        "app": row.application.as_str(),
        "user": row.person.as_str(),
        "scopes": row.scopes.iter().collect::<Vec<_>>(),
        "created": row.created.to_string(),
        "live_until": row.live_until.to_string(),
    })
}
