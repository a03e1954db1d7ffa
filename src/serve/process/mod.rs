//! The process: signals and the service manager.
//!
//! Owns how the process is asked to end and what the service manager is told. Never sees a request.

pub(crate) mod signals;
pub(crate) mod systemd;
