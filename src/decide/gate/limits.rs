//! The callers that a request is charged to.
//!
//! Owns the mapping from a limit's `by` to a key in the table, and the fallback for a missing
//! value: the principal, then the address, never unlimited (contract, "Limits").

use std::net::IpAddr;
use std::sync::Arc;

use crate::decide::gate::{Ask, Charging, Evidence, Gate};
use crate::decide::policy::Route;
use crate::decide::principal::Principal;
use crate::decide::rate_limit::{Charge, LimitBy, LimitKey, LimitPolicy};
use crate::decide::rejection::Rejection;
use crate::decide::request::address;

impl Gate {
    /// Charges the limits that need no credential: by address and by route. They are charged for
    /// requests that fail later, too.
    pub(super) fn charge_peer(
        &self,
        ask: Ask<'_>,
        route: &Route,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        let charges = route.limits.iter().filter(|policy| needs_no_credential(&policy.by));
        let charges: Vec<Charge> =
            charges.map(|policy| self.charge_for(policy, route, None, evidence.address)).collect();
        self.settle(ask, &charges, evidence)
    }

    /// Charges the limits of the established principals. With a token and a key, the limits of both
    /// apply.
    pub(super) fn charge_principal(
        &self,
        ask: Ask<'_>,
        route: &Route,
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        let mut charges = Vec::with_capacity(route.limits.len());
        for policy in route.limits.iter().filter(|policy| !needs_no_credential(&policy.by)) {
            if let Some(token) = &evidence.token {
                let caller = Some(&**token.principal());
                charges.push(self.charge_for(policy, route, caller, evidence.address));
            }
            for key in evidence.pat.iter().chain(&evidence.key) {
                let caller = Some(&**key.principal());
                let mut charge = self.charge_for(policy, route, caller, evidence.address);
                charge.quota = key.quota(&policy.name).unwrap_or(charge.quota);
                charges.push(charge);
            }
            if evidence.principal().is_none() {
                charges.push(self.charge_for(policy, route, None, evidence.address));
            }
        }
        self.settle(ask, &charges, evidence)
    }

    fn settle(
        &self,
        ask: Ask<'_>,
        charges: &[Charge],
        evidence: &mut Evidence,
    ) -> Result<(), Rejection> {
        if charges.is_empty() {
            return Ok(());
        }
        let standings = match ask.charging {
            Charging::Charge => self.limits.charge(charges, ask.now.monotonic),
            Charging::Peek => self.limits.peek(charges, ask.now.monotonic),
        };
        let allowed = standings.iter().all(|standing| standing.allowed);
        if evidence.standings.is_empty() {
            evidence.standings = standings;
        } else {
            evidence.standings.extend(standings);
        }
        if allowed { Ok(()) } else { Err(Rejection::RateLimited(evidence.standings.clone())) }
    }

    fn charge_for(
        &self,
        policy: &Arc<LimitPolicy>,
        route: &Route,
        principal: Option<&Principal>,
        address: Option<IpAddr>,
    ) -> Charge {
        let key = self.caller(policy, route, principal, address);
        Charge { policy: Arc::clone(policy), quota: policy.quota, key }
    }

    fn caller(
        &self,
        policy: &LimitPolicy,
        route: &Route,
        principal: Option<&Principal>,
        address: Option<IpAddr>,
    ) -> LimitKey {
        let key = |parts: &[&[u8]]| self.limits.key(&policy.name, parts);
        let Some(who) = principal else {
            return match &policy.by {
                LimitBy::Route => key(&[b"route", route.name.as_bytes()]),
                LimitBy::Address
                | LimitBy::Principal
                | LimitBy::Credential
                | LimitBy::Client
                | LimitBy::Claim(_) => match address {
                    Some(address) => key(&[b"address", &address::limit_bytes(address)]),
                    // Unix peers without forwarded addresses share one bucket, never unlimited.
                    None => key(&[b"unix"]),
                },
            };
        };
        let by_principal =
            || key(&[b"principal", who.issuer().as_bytes(), who.subject().as_bytes()]);
        match &policy.by {
            LimitBy::Credential => who.credential_id().map_or_else(by_principal, |id| {
                key(&[b"credential", who.issuer().as_bytes(), id.as_bytes()])
            }),
            LimitBy::Client => who.client_id().map_or_else(by_principal, |id| {
                key(&[b"client", who.issuer().as_bytes(), id.as_bytes()])
            }),
            LimitBy::Claim(name) => {
                let texts = who.claims().texts(name);
                if texts.is_empty() {
                    return by_principal();
                }
                // With the issuer: a tenant of the same name at another issuer is another tenant.
                let mut parts: Vec<&[u8]> = vec![b"claim", who.issuer().as_bytes()];
                parts.extend(texts.iter().map(String::as_bytes));
                key(&parts)
            }
            LimitBy::Principal | LimitBy::Address | LimitBy::Route => by_principal(),
        }
    }
}

fn needs_no_credential(by: &LimitBy) -> bool {
    match by {
        LimitBy::Address | LimitBy::Route => true,
        LimitBy::Principal | LimitBy::Credential | LimitBy::Client | LimitBy::Claim(_) => false,
    }
}
