//! The `Connection` field of a request (RFC 9110 section 7.6.1).
//!
//! Owns its options. An attacker would nominate a field that gatepost sets or reads, so that the
//! next hop drops it: such a request is refused. Never removes a field.

use super::FramingError;
use super::token::is_token;

/// The most options of one request.
const OPTIONS_MAX: usize = 9;
/// Fields that no client may take away from the next hop.
const PROTECTED: [&[u8]; 7] = [
    b"content-length",
    b"expect",
    b"host",
    b"transfer-encoding",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// The options of all `Connection` fields of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// Some other name: that field concerns this connection only.
    pub nominates: bool,
    count: usize,
}

impl ConnectionOptions {
    pub(super) fn add(&mut self, value: &[u8]) -> Result<(), FramingError> {
        options(value).try_for_each(|option| self.add_option(option))
    }

    fn add_option(&mut self, option: &[u8]) -> Result<(), FramingError> {
        let is = |other: &[u8]| option.eq_ignore_ascii_case(other);
        self.count += 1;
        let is_refused = self.count > OPTIONS_MAX || !is_token(option);
        if is_refused || PROTECTED.iter().any(|name| is(name)) {
            return Err(FramingError::Connection);
        }
        match option.len() {
            5 if is(b"close") => self.close = true,
            10 if is(b"keep-alive") => self.keep_alive = true,
            7 if is(b"upgrade") => self.upgrade = true,
            _ => self.nominates = true,
        }
        Ok(())
    }
}

/// The options of a `Connection` value.
pub(super) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.filter(|option| !option.is_empty())
}
