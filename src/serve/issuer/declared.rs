//! Declared applications, put into the store at the start and at each reload.
//!
//! Owns the conversion of the configuration to rows. An application that cannot be stored keeps the
//! row that it has until it is tried again. Never reads a file: the secrets were read with the
//! configuration.

use crate::base::clock::UnixTime;
use crate::config::IssuerSettings;
use crate::config::model::issuer::DeclaredApplication;
use crate::decide::api_key::format::RandomFault;
use crate::issue::credential::IdKind;
use crate::issue::intent::Intent;
use crate::issue::intent::credentials::NewSecret;
use crate::issue::intent::declared::{DeclareApplication, KeepDeclared};
use crate::issue::redirect::RedirectUri;
use crate::issue::rows::{Application, Id, SecretDigest};
use crate::serve::issuer::vault::fill;
use crate::serve::store::{Caller, Store};

/// The actor of the audit log.
const ACTOR: &str = "configuration";

/// Puts the applications of a configuration into the store; `secrets` are those of each, in the
/// same order. Returns whether all is stored: if not, it is to be called again.
pub(super) async fn declare(
    store: &Store,
    settings: &IssuerSettings,
    secrets: &[Vec<SecretDigest>],
) -> bool {
    let mut is_stored = true;
    for (declared, secrets) in settings.applications.iter().zip(secrets) {
        let intent = match intent(declared, secrets) {
            Ok(intent) => intent,
            Err(error) => {
                tracing::error!(%error, "issuer: declared applications");
                is_stored = false;
                continue;
            }
        };
        is_stored &= run(store, intent, &declared.id).await;
    }
    let declared = settings.applications.iter().map(|one| Id(one.id.clone())).collect();
    is_stored & run(store, KeepDeclared { declared }, "applications that are not declared").await
}

/// Returns whether there is nothing to try again: a refusal stays one.
async fn run<I: Intent>(store: &Store, intent: I, about: &str) -> bool {
    let caller = Caller { actor: ACTOR.into(), ..Caller::default() };
    let (error, is_done) = match store.run_in_turn(intent, caller).await {
        Ok(done) => (done.outcome.err().map(|refusal| refusal.to_string()), true),
        Err(error) => (Some(error.to_string()), false),
    };
    if let Some(error) = error {
        tracing::error!(application = about, %error, "issuer: a declared application is not stored");
    }
    is_done
}

fn intent(
    declared: &DeclaredApplication,
    secrets: &[SecretDigest],
) -> Result<DeclareApplication, RandomFault> {
    let secret = |digest: &SecretDigest| {
        let id = IdKind::ClientSecret.generate(&mut fill)?;
        Ok(NewSecret { id, digest: *digest, hint: "".into() })
    };
    let application = Application {
        id: Id(declared.id.clone()),
        owner: None,
        name: declared.name.clone(),
        site: declared.site.clone(),
        confidential: declared.confidential,
        profile: declared.profile,
        redirect_uris: declared.redirect_uris.iter().map(RedirectUri::as_str).collect(),
        grants: declared.grants.iter().map(AsRef::as_ref).collect(),
        scopes: declared.scopes.clone(),
        first_party: declared.first_party,
        introspect: declared.introspect,
        access_lifetime: declared.access_lifetime,
        plugin: None,
        approved: None,
        generation: IdKind::Grant.generate(&mut fill)?,
        created: UnixTime(0),
        disabled: None,
        ended: None,
    };
    Ok(DeclareApplication {
        application,
        secrets: secrets.iter().map(secret).collect::<Result<_, _>>()?,
    })
}
