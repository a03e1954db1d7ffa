//! The QR code of a user code.
//!
//! Owns `device/qr?user_code=CODE`: an SVG of the complete verification URI, for a device that can
//! show an image and has no encoder. Needs no sign-in and reads no store. An attacker would want a
//! QR code from this host that leads elsewhere: only the page of this issuer is encoded, with
//! nothing but a well-formed code.

use fast_qr::convert::Builder as _;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::qr::QRBuilder;

use crate::issue::credential::UserCode;
use crate::issue::form::Form;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Shown, Trouble, plain};
use crate::serve::issuer::pages::browser::Browser;

/// Modules of white around the code (ISO/IEC 18004).
const QUIET: usize = 4;

impl Issuer {
    pub(super) fn device_qr(&self, browser: &Browser<'_>) -> Shown {
        let query = browser.request.uri().query().unwrap_or_default();
        let form = Form::decode(query.as_bytes())?;
        let code = form.value("user_code").and_then(UserCode::parse);
        let code = code.ok_or_else(|| {
            Trouble::stale("The parameter user_code is missing, or is no code of a device.")
        })?;
        let settings = &browser.settings;
        let uri = format!("{}?user_code={}", settings.page("device"), code.shown().expose());
        let qr = QRBuilder::new(uri).build();
        let qr = qr.map_err(|error| Trouble::fault(&format!("{error:?}")))?;
        let svg = SvgBuilder::default().margin(QUIET).to_str(&qr);
        Ok(plain(settings, svg, "image/svg+xml"))
    }
}
