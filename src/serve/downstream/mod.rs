//! Everything between a listening socket and an admitted request.
//!
//! Owns listeners, connections and their bounds, and the HTTP exchange. Never decides: it asks the
//! gate.

pub mod connection;
pub mod connections;
pub mod front;
pub mod listen;
pub mod proxy;
