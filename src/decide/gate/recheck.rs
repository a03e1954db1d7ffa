//! Deciding again about a request that was admitted.
//!
//! Owns [`Gate::recheck`], for streams that may outlive their credential. An attacker would use
//! up a limit so that the check ends before the revocation is looked at: limits have no part in it.
//! Never charges anything, and never asks an issuer.

use super::{Evidence, Gate, RequestHead};
use crate::base::clock::Now;
use crate::decide::jwt::Recheck;
use crate::decide::policy::{Requirement, Upgrade};
use crate::decide::rejection::{Reason, Rejection};
use crate::decide::request::credential::{Presented, Reading};

/// The state of the credential of an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rechecked {
    /// It would be admitted now, limits apart.
    Good,
    /// It has expired, and would be admitted otherwise.
    Expired,
}

impl Gate {
    /// Decides whether the credential of a request, which was admitted with `before`, is still
    /// accepted where it asked for. For an opaque token the last answer of its issuer counts.
    ///
    /// # Errors
    /// The [`Rejection`] that a request with this credential would get for another reason than its
    /// age, limits apart.
    pub fn recheck(
        &self,
        head: &RequestHead<'_>,
        now: Now,
        before: &Evidence,
    ) -> Result<Rechecked, Rejection> {
        let target = self.find_target(head)?;
        let route = target.route;
        super::check_certificate(head, route)?;
        let reading = Reading::new(route.passes_authorization, route.upgrade == Upgrade::Websocket);
        let mut evidence = Evidence::new(None);
        let read = self.read_credentials(head, &reading, route, &mut evidence)?;
        let Some((presented, requirement)) = read else { return Ok(Rechecked::Good) };
        let state = self.reestablish(presented, requirement, now, before, &mut evidence)?;
        // A key beside a bearer does not speak for it.
        if presented.jwt.is_some() && evidence.token.is_none() && evidence.pat.is_none() {
            return Err(Rejection::CredentialMissing);
        }
        self.check_place(presented, &evidence)?;
        self.check_revoked(now, &evidence)?;
        self.check_access(requirement, &evidence)?;
        Ok(state)
    }

    /// Verifies what is presented, each by itself. What has expired is as it was before.
    fn reestablish(
        &self,
        presented: Presented<'_>,
        requirement: &Requirement,
        now: Now,
        before: &Evidence,
        evidence: &mut Evidence,
    ) -> Result<Rechecked, Rejection> {
        let mut state = Rechecked::Good;
        let mut is_expired = |rejection: Rejection| match rejection.reason() {
            Reason::TokenExpired | Reason::KeyExpired => {
                state = Rechecked::Expired;
                Ok(())
            }
            _ => Err(rejection),
        };
        if let Err(rejection) = self.recheck_token(presented, before, now, evidence) {
            is_expired(rejection)?;
            evidence.token.clone_from(&before.token);
        }
        let key = Presented { jwt: None, ..presented };
        if let Err(rejection) = self.verify_presented(key, requirement, now, evidence) {
            is_expired(rejection)?;
            evidence.key.clone_from(&before.key);
        }
        let bearer = Presented { key: None, ..presented };
        if let Err(rejection) = self.verify_presented(bearer, requirement, now, evidence) {
            is_expired(rejection)?;
            evidence.token.clone_from(&before.token);
            evidence.pat.clone_from(&before.pat);
        }
        Ok(state)
    }

    /// The token that was verified before. If its issuer has other keys or settings now, the one
    /// that was verified with them, if any: else it is verified.
    fn recheck_token(
        &self,
        presented: Presented<'_>,
        before: &Evidence,
        now: Now,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        let Some(known) = &before.token else { return Ok(()) };
        match self.issuers.recheck_open(known, now.unix) {
            Recheck::Valid | Recheck::Stale => evidence.token = Some(known.clone()),
            Recheck::Outdated => drop(self.recall(presented, now, evidence)?),
            Recheck::Invalid(error) => return Err(error.into()),
        }
        Ok(())
    }
}
