//! Foundations without a domain: the clock, secrets, digests, bytes and header text.
//!
//! Owns types that every other layer may use. Never knows configuration, logging or a request.

pub mod bytes;
pub mod clock;
pub(crate) mod der;
pub mod field_name;
pub mod header_text;
pub mod secret;
pub mod sha256;
pub mod x509;
