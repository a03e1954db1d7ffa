//! A request as it arrived: its framing, path, addresses, credentials and request id.
//!
//! Owns the strict reading of everything a client sends. Never decides who may pass.

pub mod address;
pub mod cors;
pub mod credential;
pub mod framing;
pub mod own_cookie;
pub mod path;
pub mod proxy_protocol;
pub mod request_id;
