//! Minting and ending credentials: the issuer's rules as pure functions.
//!
//! Owns the rows of the store and the intents that read and write them. Never waits, never speaks
//! SQL or HTTP, never reads the clock; a secret is an argument and is kept as a digest only.

pub mod access_token;
pub mod answer;
pub mod application;
pub mod authorization;
pub mod client_auth;
pub mod consent;
pub mod credential;
pub mod error;
pub mod external;
pub mod form;
pub mod intent;
pub mod metadata;
pub mod origin;
pub mod password;
pub mod person;
pub mod redirect;
pub mod request;
pub mod rows;
pub mod safe_store;
pub mod signing_key;
