//! gatepost: an authentication sidecar. It stands in front of an HTTP API that already exists and
//! decides every request: who is this, may they, how often.
//!
//! A pure, synchronous core decides; a thin asynchronous shell moves bytes; one function holds
//! the whole decision from top to bottom: [`gate::Gate::admit`].
//!
//! # Map
//! | layer | modules | never |
//! |---|---|---|
//! | vocabulary | [`time`], [`secret`], [`scope`], [`credential`], [`principal`], [`header_text`], [`field_name`], [`octets`], [`decimal`] | knows configuration or logging |
//! | deciding | [`framing`], [`path`], [`address`], [`cors`], [`policy`], [`jwt`], [`token_cache`], [`api_key`], [`revocation`], [`rate_limit`], [`identity`], [`upstream_settings`] | waits, reads a clock or a file |
//! | the gate | [`gate`], [`rejection`], [`record`] | knows a connection |
//! | composing | [`config`], [`snapshot`] | touches what runs |
//! | shell (feature `server`) | `front`, `connection`, `connections`, `proxy`, `upstream`, `reload`, `jwks`, `introspection`, `revocation_log`, `admin`, `metrics`, `access_log`, `why`, `notify`, `server` | decides |
//!
//! Arrows point down this table only; `tests/it/tidy.rs` reads the `use` lines and fails on any
//! other edge.
//!
//! # Invariants
//! - Nothing is forwarded without a [`gate::Permit`], and only the gate makes one.
//! - A request loads the snapshot exactly once; what one request sees never mixes two
//!   configurations.
//! - The path that is matched is the path that is forwarded ([`path`]).
//! - A key carries its one algorithm; a token's `alg` can only confirm it ([`jwt`]).
//! - No claim is believed before the signature holds.
//! - Identity headers are stripped on every route and set only from a [`principal::Principal`].
//! - A refusal (to the caller) is a [`rejection::Rejection`], a mistake (to the operator) is a
//!   [`config::Mistake`], a fault (ours) is a [`rejection::Fault`]: three types, never mixed.
//! - Secrets have no `Display` and a redacted `Debug`; no credential is kept in evidence, records
//!   or errors.
//! - The core builds without the shell (`--no-default-features`), which is what proves that it
//!   needs no I/O and what the fuzz targets link.
//!
//! # The path of a request
//! `connection` bounds it in time and size, `front` checks the raw head ([`framing`]), `proxy`
//! loads the snapshot and asks the gate: canonical path, route, limits by address, credential, verification, access, limits by principal. A
//! permit goes to the upstream with identity set; a rejection becomes an
//! [`rejection::Answer`]. Both end in one [`record::Record`] for metrics, access log and `why`.
//!
//! # The path of a reload
//! Start, SIGHUP, a changed file, `POST /reload` and `gatepost check` walk the same corridor:
//! bytes, [`config::Config`], [`config::Materials`], [`snapshot::Snapshot::compile`], publish.
//! Each file keeps its last good version; `check` stops before publishing.
//!
//! # Why
//! *Why is the gate synchronous?* A decision that can wait can be made to wait, and two awaits in
//! a decision are two states in which it can be half made. *Why one crate?* At this size a
//! workspace costs more than it orders; the layers are held by a test instead. *Why refuse at
//! start and keep the old state on reload?* At start nobody depends on us yet; later everybody
//! does.

#![forbid(unsafe_code)]

pub mod address;
pub mod api_key;
#[cfg(feature = "server")]
pub mod cli;
pub mod config;
pub mod cors;
pub mod credential;
pub mod decimal;
pub mod field_name;
pub mod framing;
pub mod gate;
pub mod header_text;
pub mod identity;
pub mod jwt;
pub mod octets;
pub mod path;
pub mod policy;
pub mod principal;
pub mod rate_limit;
pub mod record;
pub mod rejection;
pub mod request_id;
pub mod revocation;
pub mod scope;
pub mod secret;
#[cfg(feature = "server")]
pub mod server;
pub mod snapshot;
pub mod time;
pub mod token_cache;
pub mod upstream_settings;

#[cfg(feature = "server")]
pub mod access_log;
#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
pub mod connection;
#[cfg(feature = "server")]
pub mod connections;
#[cfg(feature = "server")]
pub mod front;
#[cfg(feature = "server")]
pub mod introspection;
#[cfg(feature = "server")]
pub mod jwks;
#[cfg(feature = "server")]
pub mod lifecycle;
#[cfg(feature = "server")]
pub mod listen;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
pub mod log_text;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod notify;
#[cfg(feature = "server")]
pub mod observers;
#[cfg(feature = "server")]
pub mod proxy;
#[cfg(feature = "server")]
pub mod reload;
#[cfg(feature = "server")]
pub mod revocation_log;
#[cfg(feature = "server")]
pub mod state;
#[cfg(feature = "server")]
pub mod upstream;
#[cfg(feature = "server")]
pub mod why;
