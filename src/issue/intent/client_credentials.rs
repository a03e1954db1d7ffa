//! The client credentials grant (RFC 6749 section 4.4).
//!
//! Owns its rules: confidential applications that may, scopes within what the application may have,
//! no refresh token. Writes a line of the audit log, and no row for the token.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::client::{Client, Rules, authorize};
use crate::issue::intent::tokens::{AccessToken, CLIENT_CREDENTIALS, Issued};
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, or_refuse, refuse};
use crate::issue::rows::Id;

/// A token request with `grant_type=client_credentials`.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The client.
    pub client: Client,
    /// `scope`.
    pub scope: Option<ScopeSet>,
    /// The configuration.
    pub rules: Rules,
}

impl Intent for ClientCredentials {
    type Answer = Issued;
    const NAME: &'static str = "client_credentials";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Issued>, Need> {
        let application = or_refuse!(authorize(rows, &self.client, CLIENT_CREDENTIALS, now)?);
        if !application.confidential {
            return refuse(Refusal::UnauthorizedClient);
        }
        // Without a list it gets what everyone may have: no person with a role is behind it.
        let mut limited = application.clone();
        if limited.scopes.is_none() {
            limited.scopes = Some(self.rules.scopes.for_everyone());
        }
        let scopes = self.rules.scopes.requested(self.scope.as_ref(), &limited);
        let access = AccessToken {
            grant: application.generation.clone(),
            subject: format!("app:{}", application.id).into(),
            client: application.id.clone(),
            scopes: or_refuse!(scopes),
            auth_time: None,
            lifetime: self.rules.lifetimes.access(&application),
        };
        let subject = Id(access.subject.clone());
        let act = Act::new("token.issue").subject(&subject).application(&application.id);
        let act = act.credential(&application.generation);
        Ok(Decision::ok(Issued { access, refresh: None }).act(act))
    }
}
