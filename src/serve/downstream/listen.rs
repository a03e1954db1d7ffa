//! The listeners for requests.
//!
//! Owns asking whether an address can be listened on before anything starts: pingora would retry
//! for half a minute and then go on without it, and would remove whatever file is in the place of
//! a Unix socket. Owns removing our own sockets at the end. Never accepts a connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use thiserror::Error;

use crate::config::{ListenAddress, Listener, ListenerKey};
use crate::decide::request::proxy_protocol::ProxyProtocol;

/// Time limit of one probe for a listener.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// The reason why an address cannot be listened on.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    /// Another process listens there.
    #[error(
        "listener {0}: the address is in use: stop the process that listens there, or set another address"
    )]
    InUse(Place),
    /// A file that is not a socket is in the place of one.
    #[error("listener {0}: there is a file that is not a socket: remove it, or set another path")]
    NotASocket(Place),
    /// The system refuses.
    #[error("listener {0}: {1}")]
    Refused(Place, io::Error),
}

/// An address as the configuration spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// TCP; the port is known even where the configuration left the choice to the system.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A listener as the connections that it accepts see it.
#[derive(Clone, Debug)]
pub(crate) struct Accepting {
    place: Place,
    /// The maximum idle time of a connection.
    pub(crate) keepalive: Duration,
    /// Its TLS settings, where connections begin with a handshake.
    pub(crate) tls: Option<ListenerKey>,
    /// Connections begin with a PROXY header.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

/// The listeners of the process.
#[derive(Clone, Debug)]
pub(crate) struct Listeners(Vec<Accepting>);

impl Listeners {
    /// The listeners, in the order of their places.
    #[must_use]
    pub(crate) fn new(places: &[Place], listeners: &[Listener]) -> Self {
        let keys = ListenerKey::of(listeners).into_iter();
        let listeners = places.iter().zip(keys.zip(listeners)).map(|(place, (key, listener))| {
            let tls = listener.tls.as_ref().map(|_| key);
            let (keepalive, proxy_protocol) = (listener.keepalive, listener.proxy_protocol);
            Accepting { place: place.clone(), keepalive, tls, proxy_protocol }
        });
        Self(listeners.collect())
    }

    /// The one that accepted a connection at `local`. When none is known to have done so: the one
    /// with the shortest idle time, unless one has TLS or PROXY headers, which a connection must not
    /// get around.
    #[must_use]
    pub(crate) fn at(&self, local: Option<&PeerAddress>) -> Option<&Accepting> {
        let listeners = || self.0.iter();
        let found = |same_family| listeners().find(|one| one.place.accepted(local, same_family));
        let shortest = || {
            let is_plain = listeners()
                .all(|listener| listener.tls.is_none() && listener.proxy_protocol.is_none());
            listeners().filter(|_| is_plain).min_by_key(|listener| listener.keepalive)
        };
        found(true).or_else(|| found(false)).or_else(shortest)
    }
}

impl fmt::Display for Accepting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Place {
    /// Asks the system whether this address can be listened on, now.
    ///
    /// # Errors
    /// [`ListenError`], with the address and the remedy.
    pub(crate) fn check(address: &ListenAddress) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Tcp(address) => check_tcp(*address),
            ListenAddress::Unix(path) => check_unix(path),
        }
    }

    /// Returns whether a listener there accepted a connection at `local`. One on every address of
    /// IPv6 may accept IPv4, too.
    fn accepted(&self, local: Option<&PeerAddress>, same_family: bool) -> bool {
        match (self, local) {
            (Self::Tcp(listener), Some(PeerAddress::Inet(local))) => {
                let is_every = listener.ip().is_unspecified()
                    && (!same_family || listener.is_ipv4() == local.is_ipv4());
                let is_host = is_every || listener.ip().to_canonical() == local.ip().to_canonical();
                listener.port() == local.port() && is_host
            }
            (Self::Unix(path), Some(PeerAddress::Unix(local))) => local.as_pathname() == Some(path),
            (Self::Tcp(_) | Self::Unix(_), _) => false,
        }
    }

    /// The listener's configuration for pingora.
    #[must_use]
    pub(crate) fn endpoint(&self) -> ListenerConfig {
        let endpoint = match self {
            Self::Tcp(address) => ListenerConfig::tcp(address.to_string()),
            // For the owner and the group: a process that can connect counts as a local peer.
            Self::Unix(path) => ListenerConfig::uds(path.to_string_lossy())
                .permissions(std::fs::Permissions::from_mode(0o660)),
        };
        // `Connection` reads heads into a buffer of its own.
        let buffers = L4BufferSettings { read: Some(0), write: None };
        endpoint.l4_buffer(buffers)
    }

    /// The name of a Unix socket that is listened on.
    #[must_use]
    pub(crate) fn socket_file(&self) -> Option<SocketFile> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => SocketFile::of(path).ok(),
        }
    }

    /// Returns whether a process listens there.
    #[must_use]
    pub(crate) fn answers(&self) -> bool {
        match self {
            Self::Tcp(address) => {
                TcpStream::connect_timeout(&reachable(*address), PROBE_MAX).is_ok()
            }
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

/// A socket's name in the file system, removed when it is no longer listened on.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: by then the name may be another process's.
    identity: (u64, u64),
}

impl SocketFile {
    /// Remembers a socket that is listened on.
    ///
    /// # Errors
    /// There is no such file.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    /// Its name.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        if std::fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // Gone is what it should be.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// From here, "every address" is the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

fn check_tcp(address: SocketAddr) -> Result<Place, ListenError> {
    let place = Place::Tcp(address);
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(place.clone()),
        _ => ListenError::Refused(place.clone(), error),
    })?;
    let bound = listener.local_addr().map_err(|error| ListenError::Refused(place, error))?;
    Ok(Place::Tcp(bound))
}

/// A socket without a listener was left by a process that died, and may be replaced.
fn check_unix(path: &Path) -> Result<Place, ListenError> {
    let place = Place::Unix(path.to_owned());
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket(place)),
        Ok(_) if place.answers() => return Err(ListenError::InUse(place)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if let Err(error) = std::fs::metadata(folder) {
                return Err(ListenError::Refused(place, error));
            }
        }
        Err(error) => return Err(ListenError::Refused(place, error)),
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_address_in_use_is_told_with_the_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Place::check(&ListenAddress::Tcp(address)).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("in use") && error.contains("stop the process"), "{error}");
        drop(taken);
        assert_eq!(Place::check(&ListenAddress::Tcp(address)).unwrap(), Place::Tcp(address));
    }

    #[test]
    fn a_port_left_to_the_system_is_known_afterwards() {
        let place = Place::check(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        assert!(matches!(place, Place::Tcp(address) if address.port() != 0));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let check = || Place::check(&ListenAddress::Unix(path.clone()));
        assert!(check().is_ok());
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(check(), Err(ListenError::InUse(_))));
        drop(listener);
        assert!(check().is_ok());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(check(), Err(ListenError::NotASocket(_))));
        let missing = ListenAddress::Unix(folder.path().join("no/such"));
        assert!(matches!(Place::check(&missing), Err(ListenError::Refused(..))));
    }
}
