//! `/plugins`: credentials of plugins, which are made at first need and can be read again.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::secret::Secret;
use crate::issue::credential::IdKind;
use crate::issue::intent::Query;
use crate::issue::intent::applications::ClientSecret;
use crate::issue::intent::plugins::{EnsurePlugin, Plugin, RevokePlugin, RotatePlugin};
use crate::issue::rows::{Application, Column, Id, Row, Sealed, SecretDigest, Value as Cell};
use crate::issue::safe_store::{Context, Owner};
use crate::serve::issuer::manage::applications::{client_secret, show};
use crate::serve::issuer::manage::credentials::instant;
use crate::serve::issuer::manage::list::Asked;
use crate::serve::issuer::manage::reply::{Answer, Refused, created, ok, read, wrong_method};
use crate::serve::issuer::manage::{Call, Manager, fill, not_found};
use crate::serve::store::{Failure, Listing};

/// The longest name of a plugin, in bytes.
const NAME_BYTES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ensure {
    scopes: Option<Vec<Box<str>>>,
    /// False finds a plugin, and makes none.
    #[serde(default = "yes")]
    create: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    /// RFC 3339: the end of the secret before.
    end_old: Option<Box<str>>,
}

impl Manager {
    pub(super) async fn plugins(&self, call: Call<'_>, path: &[&str]) -> Answer {
        if let [name, ..] = path {
            check_name(name)?;
        }
        match (path, call.method) {
            ([], &Method::GET) => self.list_plugins(call.query).await,
            ([name], &Method::POST) => self.ensure_plugin(name, read(call.body)?).await,
            ([name, "rotate"], &Method::POST) => self.rotate_plugin(name, read(call.body)?).await,
            ([name, "revoke"], &Method::POST) => self.end_plugin(name, false).await,
            ([name], &Method::DELETE) => self.end_plugin(name, true).await,
            ([], _) => Err(wrong_method("GET, HEAD")),
            ([_], _) => Err(wrong_method("POST, DELETE")),
            _ => Err(not_found()),
        }
    }

    /// Applications that have a plugin: there are few.
    async fn list_plugins(&self, query: &str) -> Answer {
        let asked = Asked::read(query, &["name"])?;
        let named = asked.value("name");
        let is_hit = |row: &Application| {
            row.plugin.as_deref().is_some_and(|plugin| named.is_none_or(|name| *plugin == *name))
        };
        let mut listing = Listing {
            table: Application::TABLE,
            of: vec![("owner", Cell::Null)],
            live: true,
            since: None,
            standing: None,
            after: asked.value("after").map(|id| Cell::Text(id.into())).into_iter().collect(),
            limit: crate::serve::store::LISTED_MAX,
        };
        let limit = asked.limit()? as usize;
        let mut plugins = Vec::new();
        loop {
            let rows = self.rows::<Application>(listing.clone()).await?;
            let is_last = rows.len() < crate::serve::store::LISTED_MAX as usize;
            listing.after = rows.last().map(|row| row.id.to_value()).into_iter().collect();
            plugins.extend(rows.into_iter().filter(is_hit));
            if is_last || plugins.len() > limit {
                break;
            }
        }
        let more = plugins.len() > limit;
        plugins.truncate(limit);
        let next = plugins.last().filter(|_| more).map(|row| row.id.as_str());
        let shown: Vec<_> = plugins.iter().map(show).collect();
        ok(json!({ "plugins": shown, "next": next }))
    }

    async fn ensure_plugin(&self, name: &str, asked: Ensure) -> Answer {
        let scopes = asked.scopes.as_deref().map(|scopes| self.known_scopes(scopes)).transpose()?;
        let (id, secret) = match self.plugin(name).await? {
            Some(known) => (known.id.clone(), self.sealed_secret(&known.id).await?),
            None if !asked.create => return Err(unknown(name)),
            None => {
                let id = IdKind::Application.generate(&mut fill)?;
                (id.clone(), self.sealed_secret(&id).await?)
            }
        };
        let generation = IdKind::Grant.generate(&mut fill)?;
        let (name, create) = (name.into(), asked.create);
        let intent = EnsurePlugin { name, id, generation, secret, scopes, create };
        let plugin = self.run(intent).await?;
        ok(self.started(&plugin).await?)
    }

    async fn rotate_plugin(&self, name: &str, asked: Rotate) -> Answer {
        let end_old = asked.end_old.as_deref().map(instant).transpose()?;
        let Some(known) = self.plugin(name).await? else { return Err(unknown(name)) };
        let secret = self.sealed_secret(&known.id).await?;
        let plugin = self.run(RotatePlugin { name: name.into(), secret, end_old }).await?;
        created(self.started(&plugin).await?)
    }

    async fn end_plugin(&self, name: &str, delete: bool) -> Answer {
        let generation = IdKind::Grant.generate(&mut fill)?;
        let row = self.run(RevokePlugin { name: name.into(), generation, delete }).await?;
        ok(show(&row))
    }

    async fn plugin(&self, name: &str) -> Result<Option<Application>, Refused> {
        let all = Query::all::<Application>("plugin", &Box::<str>::from(name));
        let row = self.store.read(Query { live: true, ..all }).await?.pop();
        Ok(row.map(Application::of).transpose().map_err(Failure::from)?)
    }

    /// A new secret with its copy under the share of the application.
    async fn sealed_secret(&self, application: &Id) -> Result<ClientSecret, Refused> {
        let (mut secret, text) = client_secret()?;
        let (owner, place) = sealed_at(application, &secret.secret.id)?;
        let sealed = self.vault.seal(owner, &place, text.expose().as_bytes()).await;
        secret.sealed = Some(sealed.map_err(|error| Refused::fault(error.to_string()))?);
        Ok(secret)
    }

    /// The environment of a plugin.
    async fn started(&self, plugin: &Plugin) -> Result<Value, Refused> {
        let secret = &plugin.secret;
        let sealed: &Sealed = secret.sealed.as_ref().ok_or_else(|| {
            Refused::fault("the secret of the plugin has no sealed copy: gatepost plugin rotate")
        })?;
        let (owner, place) = sealed_at(&plugin.application.id, &secret.id)?;
        let bytes = self.vault.open_for(owner, &place, sealed).await;
        let bytes = bytes.map_err(|error| Refused::fault(error.to_string()))?;
        let text = Secret::new(String::from_utf8_lossy(bytes.expose()).into_owned());
        // Opened under one key, kept under another: compared before it is handed out.
        if SecretDigest::of_secret(text.expose()) != secret.digest {
            return Err(Refused::fault("the sealed secret is not that of the plugin"));
        }
        let mut shown = show(&plugin.application);
        shown["client_secret"] = json!(text.expose());
        shown["api_base_url"] = json!(self.settings.plugin_base_url);
        Ok(shown)
    }
}

fn sealed_at(application: &Id, secret: &Id) -> Result<(Owner, Context), Refused> {
    let owner = Owner::new(application.as_str());
    let place = Context::new("secrets", "sealed", secret.as_str());
    owner.zip(place).ok_or_else(|| Refused::fault("the id is too long"))
}

fn unknown(name: &str) -> Refused {
    use crate::issue::intent::{Refusal, Thing};
    Refused::from(&Refusal::Unknown(Thing::Plugin, name.into()))
}

fn check_name(name: &str) -> Result<(), Refused> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fit) {
        return Ok(());
    }
    let detail =
        format!("a plugin's name has 1 to {NAME_BYTES_MAX} letters, digits, '.', '_', '-'");
    Err(Refused::mistake(detail))
}
