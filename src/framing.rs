//! Whether a message head can be read in only one way (RFC 9112).
//!
//! Owns the look at the raw bytes of an HTTP/1 head before anything else believes in them: pingora
//! accepts several forms that a balancer in front of us or the upstream behind us may read
//! differently. Never repairs anything: doubt is a refusal and a close.

use thiserror::Error;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FramingError {
    /// A line ends with LF alone, or has a CR in its middle.
    #[error("a line does not end with CR LF")]
    LineEnd,
    /// NUL or another control in the head.
    #[error("a control character")]
    Control,
    /// A line that continues the one before it (obs-fold).
    #[error("a folded line")]
    Folded,
    /// Space before a colon, no colon, or a byte no field name has.
    #[error("a malformed field name")]
    FieldName,
    /// `Content-Length` more than once, as a list, or not a plain number.
    #[error("Content-Length is repeated or not a plain number")]
    Length,
    /// `Transfer-Encoding` that is not exactly one `chunked`, or in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    /// Both lengths.
    #[error("Content-Length and Transfer-Encoding together")]
    BothLengths,
    /// HTTP/1.1 without `Host`, or with more than one.
    #[error("Host is missing or repeated")]
    HostMissing,
    /// A `Host` field or authority that is not a host.
    #[error("Host is not a host")]
    HostInvalid,
    /// The request line is not `method SP target SP version`.
    #[error("a malformed request line")]
    RequestLine,
}
