//! gatepost: an authentication sidecar. Authentication, authorization and rate limiting in front
//! of an existing HTTP API.
//!
//! A pure, synchronous core decides; a thin asynchronous shell moves bytes; one function holds
//! the whole decision from top to bottom: [`decide::gate::Gate::admit`].
//!
//! # Map
//! | layer | owns | never |
//! |---|---|---|
//! | [`base`] | types without domain knowledge: clock, secrets, bytes, header text | knows configuration or logging |
//! | [`decide`] | the decision and its reasons: request parsing, policy, credentials, limits, the gate | waits, reads a clock or a file |
//! | [`issue`] | minting and ending credentials: intents map rows that were read to rows to write | waits, speaks SQL, reads a clock |
//! | [`config`] | text to a configuration, files at their last good version, the snapshot | touches what runs |
//! | `serve` (feature `server`) | sockets, tasks, signals, metrics, logs, the admin listener | decides |
//! | `cli` (feature `server`) | one file per command | logic of its own |
//!
//! A layer uses its own modules and the layers above it in this table; sibling modules have no
//! import circles. `tests/it/tidy.rs` reads the imports and fails on any other edge.
//!
//! # Invariants
//! - Nothing is forwarded without a [`decide::gate::Permit`], and only the gate makes one.
//! - A request loads the snapshot exactly once; what one request sees never mixes two
//!   configurations.
//! - The path that is matched is the path that is forwarded ([`decide::request::path`]).
//! - A key carries its one algorithm; a token's `alg` can only confirm it ([`decide::jwt`]).
//! - No claim is used before the signature is verified.
//! - Identity headers are stripped on every route and set only from a [`decide::principal::Principal`].
//! - A refusal (to the caller) is a [`decide::rejection::Rejection`], a mistake (to the operator) is a
//!   [`config::Mistake`], a fault (ours) is a [`decide::rejection::Fault`]: three types, never mixed.
//! - Secrets have no `Display` and a redacted `Debug`; no credential is kept in evidence, records
//!   or errors.
//! - The core builds without the shell (`--no-default-features`), which is what proves that it
//!   needs no I/O and what the fuzz targets link.
//!
//! # The path of a request
//! `connection` bounds it in time and size, `front` checks the raw head ([`decide::request::framing`]), `proxy`
//! loads the snapshot and asks the gate: canonical path, route, limits by address, credential, verification, access, limits by principal. A
//! permit goes to the upstream with identity set; a rejection becomes an
//! [`decide::rejection::Answer`]. Both end in one `Record` for metrics, access log and `why`.
//!
//! # The path of a reload
//! Start, SIGHUP, a changed file, `POST /reload` and `gatepost check` walk the same corridor:
//! bytes, [`config::Config`], [`config::Materials`], [`config::snapshot::Snapshot::compile`], publish.
//! Each file keeps its last good version; `check` stops before publishing.
//!
//! # Why
//! *Why is the gate synchronous?* A decision that can wait can be made to wait, and two awaits in
//! a decision are two states in which it can be half made. *Why one crate?* At this size a
//! workspace costs more than it orders; the layers are held by a test instead. *Why refuse at
//! start and keep the old state on reload?* At start no caller depends on the process; later every
//! caller does.

#![forbid(unsafe_code)]

pub mod base;
#[cfg(feature = "server")]
pub mod cli;
pub mod config;
pub mod decide;
pub mod issue;
#[cfg(feature = "server")]
mod serve;
