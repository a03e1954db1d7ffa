//! The device authorization endpoint (RFC 8628 section 3.1).
//!
//! Owns the two codes of a device: one for the device, one that a person types. Never decides
//! anything for a person: that is the page for the user code.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::decide::api_key::format::{SecretKind, generate};
use crate::issue::answer::DeviceAnswer;
use crate::issue::credential::UserCode;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::intent::Refusal;
use crate::issue::intent::device::StartDevice;
use crate::issue::request::scope;
use crate::issue::rows::SecretDigest;
use crate::serve::issuer::respond::json;
use crate::serve::issuer::vault::fill;
use crate::serve::issuer::{
    Answered, Asked, Caller, Failed, Issuer, client, fault, presented, read_form,
};

/// Attempts to find a user code that no other device has: one in 2^34 is taken by each.
const TRIES: usize = 3;

/// `Retry-After` where too many codes are open.
const FULL: Duration = Duration::from_secs(60);

impl Issuer {
    pub(super) async fn device_code(&self, request: &Request<Bytes>, caller: &Caller) -> Answered {
        let form = read_form(request)?;
        let asked = Asked { form: &form, client: presented(request.headers(), &form)?, caller };
        let scope = scope(asked.form)?;
        let settings = self.settings.load_full();
        for _ in 0..TRIES {
            let code = generate(SecretKind::DeviceCode, &mut fill).map_err(|fail| fault(&fail))?;
            let user_code = UserCode::generate(&mut fill).map_err(|fail| fault(&fail))?;
            let device = settings.configured.device;
            let intent = StartDevice {
                client: client(&asked.client),
                code: SecretDigest::of_secret(code.expose()),
                user_code: self.vault.keyed_digest(user_code.letters()),
                scope: scope.clone(),
                lifetime: device.lifetime.as_secs(),
                interval: device.interval.as_secs(),
                address: caller.address.map(counted),
                rules: settings.rules.clone(),
            };
            match self.run(intent, &asked).await?.outcome {
                Ok(()) => {
                    return Ok(answer(&DeviceAnswer {
                        device_code: code,
                        user_code: user_code.shown(),
                        verification_uri: settings.page("device").into(),
                        expires_in: device.lifetime.as_secs(),
                        interval: device.interval.as_secs(),
                    }));
                }
                Err(Refusal::Exists(..)) => {}
                Err(refusal @ Refusal::Limit(_)) => {
                    return Err(OAuthError::from(&refusal).with_retry_after(FULL).into());
                }
                Err(refusal) => return Err(Failed::from(&refusal)),
            }
        }
        Err(OAuthError::new(ErrorCode::ServerError, "no free user code").into())
    }
}

fn answer(answer: &DeviceAnswer) -> Response<Bytes> {
    json(StatusCode::OK, answer.to_json().expose().clone())
}

/// The form of an address that codes are counted by: IPv6 by its network of 64 bits.
fn counted(address: IpAddr) -> Box<str> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string().into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1112_the_addresses_of_one_network_are_one() {
        let counted = |text: &str| counted(text.parse().unwrap());
        assert_eq!(&*counted("192.0.2.1"), "192.0.2.1");
        assert_eq!(&*counted("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(counted("2001:db8:1:2:3::4"), counted("2001:db8:1:2:ffff::1"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
    }
}
