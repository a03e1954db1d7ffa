//! The authorization code grant: a code and its redemption (RFC 6749 section 4.1.3, RFC 7636).
//!
//! Owns the order of the checks: client, whose code it is, lifetime, redirect URI, verifier. A code
//! gives one family, in the transaction that marks it as used; a second use when all hold revokes
//! what the first gave. Never sees a code, only its digest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::issue::consent;
use crate::issue::intent::client::{Client, Rules, authorize};
use crate::issue::intent::tokens::{AUTHORIZATION_CODE, Consent, Issued, NewRefresh, act};
use crate::issue::intent::{
    Act, Decision, Intent, Need, Refusal, Rows, Target, or_refuse, people, refuse,
};
use crate::issue::rows::{Application, Code, Grant, Id, Profile, RecordedConsent, SecretDigest};

/// The consent behind a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// On the consent page just now, which showed the application under this digest.
    Now(Box<str>),
    /// Recorded earlier; it is checked again.
    Before,
    /// An application of the operator, which no person is asked about.
    FirstParty,
}

/// Keeps a code that a person's consent gave. The caller has checked the authorization request.
#[derive(Clone, Debug)]
pub struct GrantCode {
    /// The code; its end is set by the time of the store.
    pub code: Code,
    /// The consent.
    pub given: Given,
    /// Seconds until it expires.
    pub lifetime: u64,
}

impl Intent for GrantCode {
    type Answer = ();
    const NAME: &'static str = "grant_code";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        or_refuse!(people::active_id(rows, &self.code.person)?);
        let application = rows.get::<Application>(&self.code.application)?;
        let live = application.filter(|one| one.ended.is_none() && one.disabled.is_none());
        let Some(application) = live else { return refuse(Refusal::InvalidClient) };
        if application.profile == Profile::Strict && self.code.challenge.is_none() {
            return refuse(Refusal::UnauthorizedClient);
        }
        let known =
            rows.get::<RecordedConsent>(&consent::id(&self.code.person, &application.id))?;
        let known = known.filter(|row| row.is_of(&application));
        let act = |name| Act::new(name).subject(&self.code.person).application(&application.id);
        let expires = UnixTime(now.0.saturating_add(self.lifetime));
        let decision = Decision::ok(()).write(&Code { expires, ..self.code.clone() });
        match &self.given {
            Given::Now(shown) if **shown == *consent::shown(&application) => {
                let row = self.record(known, shown, now);
                Ok(decision.write(&row).act(act("consent")))
            }
            Given::Before if known.as_ref().is_some_and(|row| row.covers(&self.code.scopes)) => {
                Ok(decision.act(act("code.issue")))
            }
            Given::FirstParty if application.first_party => Ok(decision.act(act("code.issue"))),
            Given::Now(_) | Given::Before | Given::FirstParty => refuse(Refusal::Stale(
                "the application has changed: the consent is asked for again",
            )),
        }
    }
}

impl GrantCode {
    /// The consent as it is recorded: with what was allowed before.
    fn record(
        &self,
        known: Option<RecordedConsent>,
        shown: &str,
        now: UnixTime,
    ) -> RecordedConsent {
        let Code { person, application, scopes, .. } = &self.code;
        RecordedConsent {
            id: consent::id(person, application),
            person: person.clone(),
            application: application.clone(),
            scopes: known.map_or_else(|| scopes.clone(), |known| known.scopes.union(scopes)),
            shown: shown.into(),
            created: now,
            ended: None,
        }
    }
}

/// `code_verifier` of RFC 7636: with a stolen code it is worth a token.
#[derive(Clone, Debug)]
pub struct Verifier(Secret<String>);

impl From<&str> for Verifier {
    fn from(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }
}

/// In constant time.
impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose().as_bytes().ct_eq(other.0.expose().as_bytes()).into()
    }
}

impl Eq for Verifier {}

/// A token request with `grant_type=authorization_code`.
#[derive(Clone, Debug)]
pub struct RedeemCode {
    /// The client.
    pub client: Client,
    /// Digest of the code.
    pub code: SecretDigest,
    /// `redirect_uri`.
    pub redirect_uri: Option<Box<str>>,
    /// `code_verifier`.
    pub verifier: Option<Verifier>,
    /// The id of the new family.
    pub grant: Id,
    /// Its refresh token.
    pub refresh: NewRefresh,
    /// The configuration.
    pub rules: Rules,
}

impl Intent for RedeemCode {
    type Answer = Issued;
    const NAME: &'static str = "redeem_code";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Issued>, Need> {
        let application = or_refuse!(authorize(rows, &self.client, AUTHORIZATION_CODE, now)?);
        let code = rows.get::<Code>(&self.code)?;
        // Another client's try changes nothing.
        let Some(mut code) = code.filter(|code| code.application == application.id) else {
            return refuse(Refusal::InvalidGrant("unknown code"));
        };
        if now >= code.expires {
            return refuse(Refusal::InvalidGrant("code expired"));
        }
        if let Err(reason) = self.check(&code, &application) {
            return Ok(end(code, reason, now));
        }
        if code.ended.is_some() {
            return replay(rows, &code, now);
        }
        let Ok(person) = people::active_id(rows, &code.person)? else {
            return Ok(end(code, "the person is disabled", now));
        };
        (code.ended, code.grant_id) = (Some(now), Some(self.grant.clone()));
        let consent = Consent {
            application: &application,
            person: &person,
            scopes: &code.scopes,
            auth_time: code.auth_time,
        };
        Ok(consent.found(&self.grant, &self.refresh, &self.rules, now).write(&code))
    }
}

impl RedeemCode {
    /// Redirect URI, then verifier.
    fn check(&self, code: &Code, application: &Application) -> Result<(), &'static str> {
        let registered = &application.redirect_uris.0;
        let same = match (&code.redirect_uri, &self.redirect_uri) {
            (Some(asked), Some(now)) => asked == now,
            // The authorization request could omit it where exactly one is registered.
            (None, Some(now)) => registered.len() == 1 && registered[0] == *now,
            (None, None) => true,
            (Some(_), None) => false,
        };
        if !same {
            return Err("redirect_uri differs from that of the authorization request");
        }
        match (&code.challenge, &self.verifier) {
            (Some(challenge), Some(verifier)) if is_verified(challenge, verifier.0.expose()) => {
                Ok(())
            }
            (None, None) => Ok(()),
            (Some(_), _) => Err("code_verifier does not match the code_challenge"),
            // RFC 9700 section 4.8.2: a downgrade.
            (None, Some(_)) => Err("code_verifier without a code_challenge"),
        }
    }
}

/// S256 of RFC 7636 section 4.6. A verifier that is not 43 to 128 unreserved characters (section
/// 4.1) is a wrong one, whatever its digest.
fn is_verified(challenge: &str, verifier: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(is_unreserved) {
        return false;
    }
    let computed = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    computed.as_bytes().ct_eq(challenge.as_bytes()).into()
}

/// A wrong attempt ends the code, but nothing that it gave before.
fn end(mut code: Code, reason: &'static str, now: UnixTime) -> Decision<Issued> {
    let refused = Decision::refuse(Refusal::InvalidGrant(reason));
    if code.ended.is_some() {
        return refused;
    }
    code.ended = Some(now);
    let act = Act::new("code.refuse").subject(&code.person).application(&code.application);
    refused.write(&code).act(act)
}

/// A second use when all hold revokes what the first gave. A code that ended without a use was
/// withdrawn, or ended with the access of its person or application.
fn replay(rows: &Rows, code: &Code, now: UnixTime) -> Result<Decision<Issued>, Need> {
    let refused = Decision::refuse(Refusal::InvalidGrant("code used or withdrawn before"));
    let grant = match &code.grant_id {
        Some(id) => rows.get::<Grant>(id)?,
        None => None,
    };
    let Some(mut grant) = grant.filter(|grant| grant.ended.is_none()) else { return Ok(refused) };
    grant.ended = Some(now);
    let ends = Target::Grant(grant.id.clone());
    Ok(refused.write(&grant).act(act("code.replay", &grant)).target(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1102_a_verifier_has_the_form_of_the_rfc() {
        let verified = |verifier: &str| {
            is_verified(&URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())), verifier)
        };
        assert!(verified(&"a".repeat(43)) && verified(&"-._~".repeat(32)));
        for wrong in ["", &"a".repeat(42), &"a".repeat(129), &format!("{}+", "a".repeat(43))] {
            assert!(!verified(wrong), "{wrong}");
        }
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(is_verified("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", verifier));
        assert!(!is_verified(verifier, verifier), "plain");
        let shown = format!("{:?}", Verifier::from(verifier));
        assert!(!shown.contains(verifier), "{shown}");
    }
}
