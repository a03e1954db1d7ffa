//! Plugins: applications of the system that are made when they are first needed.
//!
//! Owns their secrets: a plugin starts with the newest, after `rotate` the one before it stays good
//! until the next, and neither a restart nor a rotation ends live tokens. Never unseals a secret.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::applications::{ClientSecret, end_by, good_secrets};
use crate::issue::intent::tokens::CLIENT_CREDENTIALS;
use crate::issue::intent::{
    Act, Decision, Intent, Need, Refusal, Rows, Target, Thing, or_refuse, refuse,
};
use crate::issue::rows::{Application, Id, Profile, Secret, Words};

/// A plugin, and the secret to start it with.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Its application.
    pub application: Application,
    /// Its newest secret.
    pub secret: Secret,
}

/// Finds a plugin, or makes it if that is meant.
#[derive(Clone, Debug)]
pub struct EnsurePlugin {
    /// Its name.
    pub name: Box<str>,
    /// The client id, if it is made.
    pub id: Id,
    /// The generation, if it is made.
    pub generation: Id,
    /// The secret, if it is made or has none that is good.
    pub secret: ClientSecret,
    /// Its scopes; `None` is every scope, and leaves a plugin that is there as it is.
    pub scopes: Option<ScopeSet>,
    /// It is made if there is none.
    pub create: bool,
}

impl Intent for EnsurePlugin {
    type Answer = Plugin;
    const NAME: &'static str = "ensure_plugin";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Plugin>, Need> {
        let found = find(rows, &self.name)?;
        let mut application = if self.create { found.ok() } else { Some(or_refuse!(found)) };
        let Some(mut application) = application.take() else {
            let (application, secret) = (self.application(now), self.secret.row(&self.id, now));
            let plugin = Plugin { application: application.clone(), secret: secret.clone() };
            let act = Act::new("plugin.create").application(&application.id);
            return Ok(Decision::ok(plugin).write(&application).write(&secret).act(act));
        };
        if application.disabled.is_some() {
            return refuse(Refusal::Disabled(Thing::Plugin, self.name.clone()));
        }
        let mut changed = None;
        if self.scopes.is_some() && self.scopes != application.scopes {
            application.scopes = self.scopes.clone();
            changed = Some(application.clone());
        }
        let newest = newest(good_secrets(rows, &application.id, now)?);
        let made = newest.is_none().then(|| self.secret.row(&application.id, now));
        let secret = newest.or_else(|| made.clone());
        let Some(secret) = secret else {
            return refuse(Refusal::Unknown(Thing::Secret, self.name.clone()));
        };
        let acts = changed.iter().map(|_| "plugin.scopes").chain(made.iter().map(|_| "secret.add"));
        let acts: Vec<_> = acts.map(|act| Act::new(act).application(&application.id)).collect();
        let decision = Decision::ok(Plugin { application, secret });
        let decision = decision.write_all(&changed).write_all(&made);
        Ok(acts.into_iter().fold(decision, Decision::act))
    }
}

impl EnsurePlugin {
    fn application(&self, now: UnixTime) -> Application {
        Application {
            id: self.id.clone(),
            owner: None,
            name: self.name.clone(),
            site: None,
            confidential: true,
            profile: Profile::Compat,
            redirect_uris: Words::default(),
            grants: [CLIENT_CREDENTIALS].into_iter().collect(),
            scopes: self.scopes.clone(),
            first_party: false,
            introspect: false,
            access_lifetime: None,
            plugin: Some(self.name.clone()),
            approved: Some(now),
            generation: self.generation.clone(),
            created: now,
            disabled: None,
            ended: None,
        }
    }
}

/// Gives a plugin a new secret. The newest of the old ones stays good until the next rotation, or
/// until `end_old`.
#[derive(Clone, Debug)]
pub struct RotatePlugin {
    /// Its name.
    pub name: Box<str>,
    /// The new secret.
    pub secret: ClientSecret,
    /// The old secret ends then.
    pub end_old: Option<UnixTime>,
}

impl Intent for RotatePlugin {
    type Answer = Plugin;
    const NAME: &'static str = "rotate_plugin";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Plugin>, Need> {
        let application = or_refuse!(find(rows, &self.name)?);
        let mut old = good_secrets(rows, &application.id, now)?;
        let kept = newest(old.clone());
        for row in &mut old {
            let is_kept = kept.as_ref().is_some_and(|kept| kept.id == row.id);
            end_by(
                std::slice::from_mut(row),
                match self.end_old {
                    Some(end) if is_kept => end,
                    Some(_) | None if !is_kept => now,
                    Some(_) | None => continue,
                },
            );
        }
        // A second rotation within one second is newer all the same.
        let after = kept.map_or(now, |kept| UnixTime(kept.created.0.saturating_add(1)).max(now));
        let secret = self.secret.row(&application.id, after);
        let act = Act::new("plugin.rotate").application(&application.id).credential(&secret.id);
        let plugin = Plugin { application, secret: secret.clone() };
        Ok(Decision::ok(plugin).write_all(&old).write(&secret).act(act))
    }
}

/// The newest secret; of two of one second that with the greater id.
fn newest(secrets: Vec<Secret>) -> Option<Secret> {
    secrets.into_iter().max_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)))
}

/// Ends a plugin's tokens and secrets; `delete` ends the plugin as well.
#[derive(Clone, Debug)]
pub struct RevokePlugin {
    /// Its name.
    pub name: Box<str>,
    /// The generation of its later tokens.
    pub generation: Id,
    /// The plugin is deleted.
    pub delete: bool,
}

impl Intent for RevokePlugin {
    type Answer = Application;
    const NAME: &'static str = "revoke_plugin";

    fn ends(&self) -> Option<Target> {
        Some(Target::Plugin(self.name.clone()))
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Application>, Need> {
        let mut application = or_refuse!(find(rows, &self.name)?);
        let mut secrets = good_secrets(rows, &application.id, now)?;
        end_by(&mut secrets, now);
        application.generation = self.generation.clone();
        application.ended = self.delete.then_some(now);
        let act = if self.delete { "plugin.delete" } else { "plugin.revoke" };
        let act = Act::new(act).application(&application.id);
        let decision = Decision::ok(application.clone()).write_all(&secrets);
        Ok(decision.write(&application).act(act))
    }
}

/// The plugin of this name that has not ended.
fn find(rows: &Rows, name: &str) -> Result<Result<Application, Refusal>, Need> {
    let found = rows.live::<Application>("plugin", &Box::<str>::from(name))?.pop();
    Ok(found.ok_or_else(|| Refusal::Unknown(Thing::Plugin, name.into())))
}
