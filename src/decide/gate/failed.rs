//! The budget of failed credentials: bounds the cost of guessing and of floods of bad signatures.
//!
//! Owns which requests are checked, which peers are exempt and the charge (contract, "Failed
//! credentials"; R-703, R-1005); the table of refusals says which failures count. The budget is
//! checked by address before any signature work and charged afterwards. A missing, an expired or a
//! too long credential never counts, nor a token whose key cannot be determined or is new: honest
//! clients must not lock their whole address out.

use std::net::IpAddr;
use std::sync::Arc;

use crate::decide::api_key::format::{self, Form};
use crate::decide::gate::new_keys::NewKeys;
use crate::decide::gate::{Ask, Charging, Evidence, Gate};
use crate::decide::jwt::JwtError;
use crate::decide::rate_limit::{Charge, LimitBy, LimitHeaders, LimitPolicy, Quota};
use crate::decide::rejection::Rejection;
use crate::decide::request::address::{self, Peer};
use crate::decide::request::credential::Presented;

/// The name of the budget in logs. Not a limit of the configuration, so not a metric label.
const NAME: &str = "failed-credentials";

/// The budget, compiled into a snapshot.
#[derive(Clone, Debug)]
pub struct FailedCredentials {
    policy: Arc<LimitPolicy>,
    /// Without trusted proxies, all clients of a balancer on a private address would share one
    /// budget: such peers are exempt.
    exempts_near_peers: bool,
    new_keys: Arc<NewKeys>,
}

impl FailedCredentials {
    /// Compiles the budget. `exempts_near_peers` is whether `trusted_proxies` is empty.
    #[must_use]
    pub fn new(quota: Quota, exempts_near_peers: bool, new_keys: Arc<NewKeys>) -> Self {
        let policy = LimitPolicy {
            name: Arc::from(NAME),
            index: usize::MAX,
            quota,
            by: LimitBy::Address,
            headers: LimitHeaders::Refused,
        };
        Self { policy: Arc::new(policy), exempts_near_peers, new_keys }
    }

    fn exempts(&self, peer: Peer) -> bool {
        self.exempts_near_peers && address::is_near_peer(peer)
    }
}

impl Gate {
    /// Refuses requests that need new work from an address whose budget is exhausted. gatepost's
    /// own keys and tokens pass: their checksum is checked before anything is looked up.
    pub(super) fn check_failed(
        &self,
        ask: Ask<'_>,
        presented: Presented<'_>,
        evidence: &Evidence,
    ) -> Result<(), Rejection> {
        let is_pat = presented.jwt.is_some_and(|token| self.is_pat(token));
        let needs_work = needs_work(presented, is_pat || evidence.token.is_some());
        if !needs_work || self.failed_credentials.exempts(ask.head.peer) {
            return Ok(());
        }
        let charge = self.failed_charge(evidence.address);
        let standing = self.limits.peek_one(&charge, ask.now.monotonic);
        if standing.allowed {
            return Ok(());
        }
        Err(Rejection::FailedCredentialsSpent(Box::new(standing)))
    }

    /// Charges the address for a failed credential, if that failure counts.
    pub(super) fn charge_failed(&self, ask: Ask<'_>, rejection: &Rejection, evidence: &Evidence) {
        if rejection.reason().counts_as_failed_credential() && !self.is_honest(ask, rejection) {
            self.charge_guess(ask, evidence);
        }
    }

    /// Returns whether a token of an unknown key can be an honest one: it names no key, or one that
    /// its issuer may have begun to sign with just now.
    fn is_honest(&self, ask: Ask<'_>, rejection: &Rejection) -> bool {
        let Rejection::Token(JwtError::KeyUnknown { issuer, kid }) = rejection else {
            return false;
        };
        let is_new = |kid: &str| {
            ask.charging == Charging::Charge
                && self.failed_credentials.new_keys.is_new(issuer, kid, ask.now.monotonic)
        };
        kid.as_deref().is_none_or(is_new)
    }

    /// Charges the address for a credential that honest clients do not present by accident.
    pub(super) fn charge_guess(&self, ask: Ask<'_>, evidence: &Evidence) {
        let counts = ask.charging == Charging::Charge;
        if counts && !self.failed_credentials.exempts(ask.head.peer) {
            let _ = self.limits.charge(&[self.failed_charge(evidence.address)], ask.now.monotonic);
        }
    }

    fn failed_charge(&self, address: Option<IpAddr>) -> Charge {
        let policy = &self.failed_credentials.policy;
        let key = match address {
            Some(address) => self.limits.key(NAME, &[b"address", &address::limit_bytes(address)]),
            None => self.limits.key(NAME, &[b"unix"]),
        };
        Charge { policy: Arc::clone(policy), quota: policy.quota, key }
    }
}

/// Returns whether a request needs new work: an unknown token needs its signature checked; a key of
/// another maker is hashed and looked up.
fn needs_work(presented: Presented<'_>, knows_token: bool) -> bool {
    let foreign_key = presented.key.is_some_and(|key| format::check(key) == Form::NotOurs);
    (presented.jwt.is_some() && !knows_token) || foreign_key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::api_key::KeyError;
    use crate::decide::jwt::JwtError;

    #[test]
    fn contract_failed_credentials_near_peers_are_loopback_private_and_link_local() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(address::is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!address::is_near(far.parse().unwrap()), "{far}");
        }
    }

    /// Of our form; whose it is does not matter here.
    const OURS: &str = "gp_key_0000000000000000000000000000000000000000000000000";

    #[test]
    fn r1005_our_own_keys_pass_when_the_budget_is_spent_and_all_else_needs_work() {
        let ask = |jwt, key| needs_work(Presented { jwt, key, ..Presented::default() }, false);
        assert!(!ask(None, None));
        assert!(!ask(None, Some(OURS)));
        assert!(ask(None, Some("legacy-key")));
        assert!(ask(Some("e30.e30.AA"), None));
        assert!(ask(Some("e30.e30.AA"), Some(OURS)));
        let jwt = Some("e30.e30.AA");
        let cached = |key| needs_work(Presented { jwt, key, ..Presented::default() }, true);
        assert!(!cached(None) && !cached(Some(OURS)));
        assert!(cached(Some("legacy-key")));
    }

    #[test]
    fn r1005_only_what_nobody_has_by_accident_is_a_guess() {
        let token = Rejection::Token;
        let counts = |one: &Rejection| one.reason().counts_as_failed_credential();
        for guess in [
            token(JwtError::Malformed("not a token")),
            token(JwtError::SignatureBad),
            Rejection::Key(KeyError::Unknown),
            Rejection::Key(KeyError::Malformed),
        ] {
            assert!(counts(&guess), "{guess}");
        }
        for accident in [
            Rejection::RouteUnknown,
            Rejection::MethodUnknown { allow: "GET".to_owned() },
            Rejection::PathAmbiguous { view: "lower_case" },
            Rejection::CredentialMissing,
            Rejection::RateLimited(Vec::new()),
            Rejection::BodyTooLarge { limit: 1 },
            Rejection::BodyTooSlow,
            Rejection::TargetTooLong { limit: 1 },
            Rejection::HeadersTooLarge { limit: "64 KiB" },
            token(JwtError::AudienceWrong),
            token(JwtError::TooLong(8_192)),
            token(JwtError::Inactive),
            token(JwtError::IdToken),
        ] {
            assert!(!counts(&accident), "{accident}");
        }
    }
}
