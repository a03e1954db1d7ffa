//! The style sheet and the script of the pages.
//!
//! Owns their delivery. The pages work without the script.

use bytes::Bytes;
use http::Response;

use crate::serve::issuer::pages::answer::plain;
use crate::serve::issuer::settings::Settings;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

pub(super) fn style(settings: &Settings) -> Response<Bytes> {
    plain(settings, STYLE, "text/css; charset=utf-8")
}

pub(super) fn script(settings: &Settings) -> Response<Bytes> {
    plain(settings, SCRIPT, "text/javascript; charset=utf-8")
}
