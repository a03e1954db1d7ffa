//! State notifications to the service manager: `sd_notify(3)`.
//!
//! Owns the one datagram per state over `NOTIFY_SOCKET`. Never waits for an answer, and a manager
//! that is not there changes nothing.

use std::env;
use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The states of the process that it notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Every listener is open.
    Ready,
    /// The process is stopping.
    Stopping,
}

impl Standing {
    fn message(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Stopping => b"STOPPING=1",
        }
    }
}

/// Notifies the service manager, if `NOTIFY_SOCKET` is set.
pub(crate) fn notify(standing: Standing) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, standing) {
        tracing::warn!(%error, "sd_notify failed");
    }
}

/// `@NAME` is an abstract socket, anything else a path.
fn send(socket: &OsStr, standing: Standing) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name)?,
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A manager that does not read must not block the process.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(standing.message(), &address).map(drop)
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    fn received(listening: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 64];
        let count = listening.recv(&mut bytes).unwrap();
        bytes[..count].to_vec()
    }

    #[test]
    fn contract_lifecycle_states_go_to_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), Standing::Ready).unwrap();
        assert_eq!(received(&listening), b"READY=1");
        let name = format!("gatepost-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listening = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), Standing::Stopping).unwrap();
        assert_eq!(received(&listening), b"STOPPING=1");
    }

    #[test]
    fn a_missing_manager_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        assert!(send(folder.path().join("none").as_os_str(), Standing::Ready).is_err());
        assert!(send(OsStr::new("@gatepost-test-none"), Standing::Ready).is_err());
    }
}
