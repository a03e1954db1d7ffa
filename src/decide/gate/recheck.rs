//! Deciding again about a request that was admitted.
//!
//! Owns [`Gate::recheck`], for streams that may outlive their credential. An attacker would use
//! up a limit so that the check ends before the revocation is looked at: limits have no part in it.
//! Never charges anything, and never asks an issuer.

use super::{Evidence, Gate, RequestHead};
use crate::base::clock::Now;
use crate::decide::jwt::{JwtError, Recheck, VerifiedToken};
use crate::decide::policy::Upgrade;
use crate::decide::rejection::Rejection;
use crate::decide::request::credential::Reading;

impl Gate {
    /// Decides whether the credential of a request, which was admitted with `before`, is still
    /// accepted where it asked for. For an opaque token the last answer of its issuer counts, up to
    /// the expiry in it.
    ///
    /// # Errors
    /// The [`Rejection`] that a request with this credential would get, limits apart.
    pub fn recheck(
        &self,
        head: &RequestHead<'_>,
        now: Now,
        before: &Evidence,
    ) -> Result<(), Rejection> {
        let target = self.find_target(head)?;
        let route = target.route;
        let reading = Reading::new(route.passes_authorization, route.upgrade == Upgrade::Websocket);
        let mut evidence = Evidence::new(None);
        let read = self.read_credentials(head, &reading, route, &mut evidence)?;
        let Some((presented, requirement)) = read else { return Ok(()) };
        evidence.token = self.recheck_token(before, now)?;
        self.verify_presented(presented, requirement, now, &mut evidence)?;
        self.check_place(presented, &evidence)?;
        self.check_revoked(now, &evidence)?;
        self.check_access(requirement, &evidence)
    }

    /// The token that was verified before, unless its issuer has other keys now.
    fn recheck_token(
        &self,
        before: &Evidence,
        now: Now,
    ) -> Result<Option<VerifiedToken>, Rejection> {
        let Some(known) = &before.token else { return Ok(None) };
        match self.issuers.recheck(known, now.unix) {
            Recheck::Valid => Ok(Some(known.clone())),
            Recheck::Stale if known.expires() > now.unix => Ok(Some(known.clone())),
            Recheck::Stale => Err(JwtError::Expired(known.expires()).into()),
            Recheck::Outdated => Ok(None),
            Recheck::Invalid(error) => Err(error.into()),
        }
    }

    /// Checks what was established against the revocations alone.
    ///
    /// # Errors
    /// [`Rejection::TokenRevoked`] or [`Rejection::KeyRevoked`].
    pub fn recheck_revoked(&self, now: Now, before: &Evidence) -> Result<(), Rejection> {
        self.check_revoked(now, before)
    }
}
