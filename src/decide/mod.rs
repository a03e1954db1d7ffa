//! The deciding core: authentication, authorization and rate limiting of one request.
//!
//! Owns reading a request, verifying its credential, authorizing it and limiting its rate. The
//! whole decision is [`gate::Gate::admit`]. Never waits, never reads a clock or a file: time,
//! randomness and peers are arguments.

pub mod api_key;
pub mod forward;
pub mod gate;
pub mod identity;
pub mod jwt;
pub mod live;
pub mod policy;
pub mod principal;
pub mod rate_limit;
pub mod rejection;
pub mod request;
pub mod response;
pub mod revocation;
pub mod scope;
pub mod token_cache;
