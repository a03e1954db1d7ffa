//! Ending a connection so that the client sees an error.
//!
//! Owns the reset of TCP. pingora gives the number of a socket and no handle of it; a process may
//! ask the kernel for a second handle of its own descriptor. Never touches another process.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::Client;

impl Client {
    /// Makes the end of the connection a reset. Bytes that are still on their way may be lost. A Unix
    /// socket has no reset, and a sandbox may forbid the handle: then the connection ends as usual.
    pub(in crate::serve::exchange) fn reset(&self) {
        if let Err(error) = reset_on_close(self.stream.id()) {
            tracing::debug!(%error, "a connection ends without a reset");
        }
    }
}

/// With no time to linger, closing a TCP socket resets the connection.
fn reset_on_close(socket: RawFd) -> io::Result<()> {
    let process = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = pidfd_getfd(process, socket, PidfdGetfdFlags::empty())?;
    Ok(set_socket_linger(socket, Some(Duration::ZERO))?)
}
