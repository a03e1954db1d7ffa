//! placeholder
pub mod address;
pub mod api_key;
pub mod config;
pub mod credential;
pub mod field_name;
pub mod header_text;
pub mod identity;
pub mod jwt;
pub mod path;
pub mod policy;
pub mod principal;
pub mod rate_limit;
pub mod scope;
pub mod secret;
pub mod time;
pub mod upstream_settings;
