//! The store of the demo's issuer: a person with a key and tokens, an application, a plugin.
//!
//! Owns what is made before the sidecar starts, by the calls that the commands make. Never signs a
//! token: that is for the endpoints, once they answer.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::secret::Secret;
use crate::cli::Failure;
use crate::cli::manage::Desk;
use crate::cli::stored::Stored;
use crate::issue::credential::random_text;
use crate::serve::issuer::vault::fill;

/// Characters of the password: letters and digits.
const PASSWORD_CHARS: usize = 16;

/// The login of the person.
pub(super) const LOGIN: &str = "ada";

/// The plugin of the demo.
pub(super) const PLUGIN: &str = "reporter";

/// The credentials that the store knows.
pub(super) struct Issued {
    /// The application, which may use client credentials and introspection.
    pub(super) client_id: String,
    /// Its secret.
    pub(super) client_secret: Secret<String>,
    /// A personal access token of ada.
    pub(super) token: Secret<String>,
    /// Another one, to revoke.
    pub(super) token_to_revoke: Secret<String>,
    /// An API key of ada.
    pub(super) key: Secret<String>,
    /// The password of ada.
    pub(super) password: Secret<String>,
    /// An application with the authorization code flow, as in the guides.
    pub(super) web_id: String,
    /// Its secret.
    pub(super) web_secret: Secret<String>,
    /// An application on devices.
    pub(super) device_id: String,
}

impl Issued {
    /// Makes the store of a configuration, and everything in it.
    pub(super) fn create(config: &Path) -> Result<Self, Failure> {
        Stored::of(config)?.create()?;
        let desk = Desk::open(config)?;
        let password = random_text(PASSWORD_CHARS, &mut fill)
            .map_err(|error| Failure::fault(error.to_string()))?;
        let ada = json!({
            "login": LOGIN, "name": "Ada Lovelace", "roles": ["developer"],
            "password": password.expose(),
        });
        desk.post("/users", &ada)?;
        let web = desk.post("/apps", &web())?;
        let device = desk.post("/apps", &device())?;
        let application = desk.post("/apps", &application())?;
        desk.post(&format!("/plugins/{PLUGIN}"), &json!({ "scopes": ["read"] }))?;
        let of_ada = |root: &str, member: &str, name: &str| {
            secret(&desk.post(root, &json!({ "owner": LOGIN, "name": name }))?, member)
        };
        Ok(Self {
            client_id: id(&application),
            client_secret: secret(&application, "client_secret")?,
            token: of_ada("/tokens", "token", "laptop")?,
            token_to_revoke: of_ada("/tokens", "token", "lost laptop")?,
            key: of_ada("/keys", "key", "ci")?,
            password,
            web_id: id(&web),
            web_secret: secret(&web, "client_secret")?,
            device_id: id(&device),
        })
    }
}

fn application() -> Value {
    json!({
        "name": "Stock sync", "owner": LOGIN, "profile": "strict", "introspect": true,
        "grants": ["client_credentials"],
    })
}

/// Without PKCE, as in the guides. People are asked for consent each time: the redirect is loopback.
fn web() -> Value {
    json!({
        "name": "Photo prints", "owner": LOGIN, "profile": "compat",
        "grants": ["authorization_code", "refresh_token"],
        "redirect_uris": ["http://127.0.0.1/callback"], "scopes": ["read"],
    })
}

fn device() -> Value {
    json!({
        "name": "Television", "owner": LOGIN, "type": "public", "profile": "strict",
        "grants": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "scopes": ["read"],
    })
}

fn id(made: &Value) -> String {
    made["client_id"].as_str().unwrap_or_default().to_owned()
}

fn secret(made: &Value, member: &str) -> Result<Secret<String>, Failure> {
    let text = made[member].as_str().ok_or_else(|| Failure::fault(format!("demo: no {member}")))?;
    Ok(Secret::new(text.to_owned()))
}
