//! placeholder

pub mod address;
pub mod api_key;
pub mod config;
pub mod cors;
pub mod credential;
pub mod field_name;
pub mod framing;
pub mod gate;
pub mod header_text;
pub mod identity;
pub mod jwt;
pub mod path;
pub mod policy;
pub mod principal;
pub mod rate_limit;
pub mod record;
pub mod rejection;
pub mod scope;
pub mod secret;
pub mod snapshot;
pub mod time;
pub mod upstream_settings;
