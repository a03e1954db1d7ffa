//! The process: signals and the service manager.
//!
//! Owns the reception of signals and the notifications to the service manager. Never sees a request.

pub(crate) mod signals;
pub(crate) mod systemd;
