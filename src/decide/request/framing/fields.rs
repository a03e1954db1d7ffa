//! Field lines of a head, and the fields that frame its body.
//!
//! Owns what a field line is (RFC 9112 section 5) and how long the body of a request is (section
//! 6.3). Never keeps a value.

use super::connection::ConnectionOptions;
use super::target::Version;
use super::token::{is_token, no_control};
use super::{BodyLength, FramingError};

/// Splits a field line that only has one reading into name and value.
///
/// # Errors
/// [`FramingError`].
pub(in crate::decide) fn check_field_line(line: &[u8]) -> Result<(&[u8], &[u8]), FramingError> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(FramingError::Folded);
    }
    no_control(line, |byte| byte == b'\t')?;
    let colon = line.iter().position(|byte| *byte == b':').ok_or(FramingError::FieldName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if is_token(name) { Ok((name, value)) } else { Err(FramingError::FieldName) }
}

/// The framing fields of a head.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    pub(super) count: usize,
    pub(super) connection: ConnectionOptions,
    pub(super) expects: bool,
    pub(super) upgrade: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(super) fn add(&mut self, line: &'a [u8]) -> Result<(), FramingError> {
        let (name, value) = check_field_line(line)?;
        self.count += 1;
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"host") => self.add_host(value.trim_ascii())?,
            6 if is(b"expect") => self.expects = true,
            7 if is(b"upgrade") => self.upgrade = Some(value.trim_ascii()),
            10 if is(b"connection") => self.connection.add(value)?,
            14 if is(b"content-length") => self.add_length(value)?,
            17 if is(b"transfer-encoding") => self.add_coding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn add_host(&mut self, value: &'a [u8]) -> Result<(), FramingError> {
        if value.iter().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'@' | b',')) {
            return Err(FramingError::HostInvalid);
        }
        match self.host.replace(value) {
            Some(_) => Err(FramingError::HostMissing),
            None => Ok(()),
        }
    }

    /// Digits, within blanks (RFC 9110 section 5.5): whatever else a reader may trim or add up is
    /// refused, equal duplicates too.
    fn add_length(&mut self, value: &[u8]) -> Result<(), FramingError> {
        let digits = value.trim_ascii();
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FramingError::Length);
        }
        let text = std::str::from_utf8(digits).map_err(|_| FramingError::Length)?;
        let length = text.parse().map_err(|_| FramingError::Length)?;
        match self.length.replace(length) {
            Some(_) => Err(FramingError::Length),
            None => Ok(()),
        }
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), FramingError> {
        let coding = value.strip_prefix(b" ").unwrap_or(value);
        if self.chunked || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(FramingError::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    pub(super) fn body(&self, version: Version) -> Result<BodyLength, FramingError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(FramingError::BothLengths),
            (None, true) if version == Version::Http10 => Err(FramingError::TransferEncoding),
            (None, true) => Ok(BodyLength::Chunked),
            (Some(length), false) => Ok(BodyLength::Known(length)),
            (None, false) => Ok(BodyLength::Known(0)),
        }
    }
}
