//! Listening sockets and the count of the connections they accept.
//!
//! Owns listeners, and the bounds of connections. Never reads from a connection: that is
//! [`crate::serve::exchange`]'s.

pub(crate) mod connections;
pub(crate) mod listen;
