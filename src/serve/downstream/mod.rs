//! Everything between a listening socket and an admitted request.
//!
//! Owns listeners, connections and their bounds, and the HTTP exchange. Never decides: it asks the
//! gate.

pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod front;
pub(crate) mod listen;
pub(crate) mod proxy;
