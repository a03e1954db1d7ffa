//! The device authorization grant (RFC 8628).
//!
//! Owns a device code from the request to its one redemption: a person decides once, `slow_down`
//! is never answered after that, and the code is bound to its client. Never sees a code, only
//! digests; the user code's is keyed, because it is short.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::client::{Client, Rules, authorize};
use crate::issue::intent::tokens::{Consent, DEVICE_CODE, Issued, NewRefresh};
use crate::issue::intent::{
    Act, Decision, Intent, Limit, Need, Refusal, Rows, Thing, or_refuse, people, refuse,
};
use crate::issue::rows::{Device, DeviceState, Id, SecretDigest};

/// The most codes of an application that are not expired.
pub const OPEN_MAX: usize = 1_000;
/// The most codes of one address that are not expired.
pub const OPEN_PER_ADDRESS_MAX: usize = 20;
/// RFC 8628 section 3.5: `slow_down` adds five seconds.
const SLOWER: u64 = 5;

/// A device authorization request.
#[derive(Clone, Debug)]
pub struct StartDevice {
    /// The client.
    pub client: Client,
    /// Digest of the device code.
    pub code: SecretDigest,
    /// Keyed digest of the user code.
    pub user_code: SecretDigest,
    /// `scope`.
    pub scope: Option<ScopeSet>,
    /// Seconds until it expires.
    pub lifetime: u64,
    /// Seconds between two questions.
    pub interval: u64,
    /// Address of the device, in the form that limits count by.
    pub address: Option<Box<str>>,
    /// The configuration.
    pub rules: Rules,
}

impl Intent for StartDevice {
    type Answer = ();
    const NAME: &'static str = "start_device";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let application = or_refuse!(authorize(rows, &self.client, DEVICE_CODE, now)?);
        let scopes = self.rules.scopes.requested(self.scope.as_ref(), &application);
        let scopes = or_refuse!(scopes);
        if open(&rows.open("application", &application.id, now)?) >= OPEN_MAX {
            let of = Thing::Application;
            return refuse(Refusal::Limit(Limit { thing: Thing::Device, most: OPEN_MAX, of }));
        }
        if let Some(address) = &self.address
            && open(&rows.open("address", address, now)?) >= OPEN_PER_ADDRESS_MAX
        {
            let (thing, of) = (Thing::Device, Thing::Address);
            return refuse(Refusal::Limit(Limit { thing, most: OPEN_PER_ADDRESS_MAX, of }));
        }
        if !rows.all::<Device>("user_code", &self.user_code)?.is_empty() {
            return refuse(Refusal::Exists(Thing::Device, "user code".into()));
        }
        let device = Device {
            digest: self.code,
            user_code: self.user_code,
            application: application.id,
            scopes,
            state: DeviceState::Pending,
            person: None,
            auth_time: None,
            interval: self.interval,
            polled: None,
            expires: UnixTime(now.0.saturating_add(self.lifetime)),
            grant_id: None,
            address: self.address.clone(),
        };
        Ok(Decision::ok(()).write(&device))
    }
}

/// The number of codes that may still give a token: not those that were used or denied.
fn open(unexpired: &[Device]) -> usize {
    let is_open = |device: &&Device| match device.state {
        DeviceState::Pending | DeviceState::Approved => true,
        DeviceState::Denied | DeviceState::Used => false,
    };
    unexpired.iter().filter(is_open).count()
}

/// A person's decision about a user code.
#[derive(Clone, Debug)]
pub struct DecideDevice {
    /// Keyed digest of the user code.
    pub user_code: SecretDigest,
    /// The person who decides.
    pub person: Id,
    /// Time of their sign-in.
    pub auth_time: UnixTime,
    /// The scopes that they allow; `None` refuses.
    pub allow: Option<ScopeSet>,
}

impl Intent for DecideDevice {
    type Answer = ();
    const NAME: &'static str = "decide_device";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let person = or_refuse!(people::active_id(rows, &self.person)?);
        let found = rows.all::<Device>("user_code", &self.user_code)?.pop();
        let open = |device: &Device| device.state == DeviceState::Pending && now < device.expires;
        let Some(mut device) = found.filter(open) else {
            return refuse(Refusal::Unknown(Thing::Device, "user code".into()));
        };
        let name = match &self.allow {
            Some(scopes) => {
                device.state = DeviceState::Approved;
                device.scopes = device.scopes.intersection(scopes);
                "device.approve"
            }
            None => {
                device.state = DeviceState::Denied;
                "device.deny"
            }
        };
        device.person = Some(person.id.clone());
        device.auth_time = Some(self.auth_time);
        let act = Act::new(name).subject(&person.id).application(&device.application);
        Ok(Decision::ok(()).write(&device).act(act))
    }
}

/// A token request with the grant type of RFC 8628.
#[derive(Clone, Debug)]
pub struct RedeemDevice {
    /// The client.
    pub client: Client,
    /// Digest of the device code.
    pub code: SecretDigest,
    /// The id of the new family.
    pub grant: Id,
    /// Its refresh token.
    pub refresh: NewRefresh,
    /// The configuration.
    pub rules: Rules,
}

impl Intent for RedeemDevice {
    type Answer = Issued;
    const NAME: &'static str = "redeem_device";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Issued>, Need> {
        let application = or_refuse!(authorize(rows, &self.client, DEVICE_CODE, now)?);
        let device = rows.get::<Device>(&self.code)?;
        let Some(mut device) = device.filter(|device| device.application == application.id) else {
            return refuse(Refusal::InvalidGrant("unknown device code"));
        };
        if now >= device.expires {
            return refuse(Refusal::ExpiredToken);
        }
        let person = match (device.state, &device.person) {
            (DeviceState::Pending, _) => return Ok(poll(device, now)),
            (DeviceState::Denied, _) => return refuse(Refusal::AccessDenied),
            (DeviceState::Approved, Some(person)) => people::active_id(rows, person)?,
            (DeviceState::Used, _) | (DeviceState::Approved, None) => {
                return refuse(Refusal::InvalidGrant("device code used before"));
            }
        };
        let Ok(person) = person else {
            return refuse(Refusal::InvalidGrant("the person is disabled"));
        };
        (device.state, device.grant_id) = (DeviceState::Used, Some(self.grant.clone()));
        let consent = Consent {
            application: &application,
            person: &person,
            scopes: &device.scopes,
            auth_time: device.auth_time.unwrap_or(now),
        };
        Ok(consent.found(&self.grant, &self.refresh, &self.rules, now).write(&device))
    }
}

/// No person has decided. A question before the interval has passed makes it longer.
fn poll(mut device: Device, now: UnixTime) -> Decision<Issued> {
    let too_soon =
        device.polled.is_some_and(|polled| now.0 < polled.0.saturating_add(device.interval));
    device.polled = Some(now);
    let refusal = if too_soon {
        device.interval = device.interval.saturating_add(SLOWER);
        Refusal::SlowDown(device.interval)
    } else {
        Refusal::AuthorizationPending
    };
    Decision::refuse(refusal).write(&device)
}
