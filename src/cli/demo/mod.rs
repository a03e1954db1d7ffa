//! `gatepost demo`: everything in one process on loopback.
//!
//! Owns a private folder with a generated configuration, keys and tokens, the store of an issuer, an
//! echo upstream, and the lines to copy. The sidecar itself is the one `run` starts. Never listens
//! beyond loopback, and removes its folder when it ends.

mod credentials;
mod echo;
mod flows;
mod folder;
mod issuer;
mod lines;
mod shell;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::cli::{Exit, Failure, Logging, Outcome, print};
use crate::serve;
use credentials::Credentials;
use echo::Echo;
use folder::Folder;
use issuer::Issued;
use lines::Demo;

/// The preferred ports; a free one replaces a port in use.
const PUBLIC_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

pub(super) fn run(logging: Logging) -> Outcome {
    let folder = Folder::create().map_err(|error| fault("a temporary folder", &error))?;
    let credentials = Credentials::generate()?;
    let hold = |port| hold_port(port).map_err(|error| fault("a port on loopback", &error));
    let ((_public_port, public), (_admin_port, admin)) = (hold(PUBLIC_PORT)?, hold(ADMIN_PORT)?);
    let echo = Echo::bind().map_err(|error| fault("the echo upstream", &error))?;
    let config = folder
        .write_all(&[
            ("gatepost.yaml", &configuration(public, admin, echo.address())),
            ("issuer.jwks.json", &credentials.key_set),
            ("keys.yaml", &credentials.key_file),
            ("token", &credentials.token),
            ("token-without-scope", &credentials.token_without_scope),
            ("api-key", credentials.api_key.expose()),
        ])
        .map_err(|error| fault("the demo's files", &error))?;
    let issued = Issued::create(&config)?;
    let (folder_path, issued, credentials) = (folder.path(), &issued, &credentials);
    let demo = Demo { folder: folder_path, credentials, issued, public, admin };
    echo.start(public, demo.introduction()).map_err(|error| fault("the echo upstream", &error))?;
    serve::run(&logging.serve(config))?;
    Ok(Exit::Success)
}

fn fault(what: &str, error: &io::Error) -> Failure {
    Failure::fault(format!("{what}: {error}"))
}

/// Binds the usual port, or one that the kernel picks, and keeps it bound until dropped: the kernel
/// picks it for no other socket before the server listens on it. A socket with `SO_REUSEADDR` that
/// does not listen lets the server bind the same address.
fn hold_port(usual: u16) -> io::Result<(TcpSocket, SocketAddr)> {
    let bind = |port| {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        Ok(socket)
    };
    let socket = bind(usual).or_else(|_: io::Error| bind(0))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn configuration(public: SocketAddr, admin: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "\
listeners: [{{ address: \"{public}\" }}]
admin: {{ address: \"{admin}\" }}
state_dir: state
issuer: {{ url: \"http://{public}\" }}
upstreams:
  echo: {{ url: \"http://{upstream}\" }}
issuers:
  - issuer: {issuer}
    name: demo
    audiences: [{audience}]
    algorithms: [ES256]
    keys: {{ file: issuer.jwks.json }}
api_keys: {{ header: X-API-Key, files: [keys.yaml] }}
limits:
  per-caller: {{ rate: 100/s, burst: 200, by: principal }}
  two-a-minute: {{ rate: 2/m, burst: 2, by: principal }}
defaults: {{ upstream: echo }}
routes:
  - {{ path: /public/**, access: anonymous }}
  - {{ path: /api/**, methods: [GET], access: {{ scopes: [read] }}, limits: [per-caller] }}
  - {{ path: /api/**, methods: [POST, PUT, PATCH, DELETE], access: {{ scopes: [write] }} }}
  - {{ path: /limited/**, access: {{ scopes: [read] }}, limits: [two-a-minute] }}
",
        issuer = credentials::ISSUER,
        audience = credentials::AUDIENCE,
    )
}

/// Called by the echo upstream when the sidecar answers.
fn announce(introduction: &str) {
    // The demo also runs with standard output closed.
    let _ = print(introduction);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_port_in_use_is_left_alone() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ((_first, first), (_second, second)) =
            (hold_port(port).unwrap(), hold_port(port).unwrap());
        assert_ne!(first.port(), port);
        assert_ne!(second.port(), port);
        assert_ne!(first, second);
    }

    #[test]
    fn a_held_port_is_bound_and_can_be_listened_on() {
        let (_held, address) = hold_port(0).unwrap();
        assert!(TcpSocket::new_v4().unwrap().bind(address).is_err());
        assert!(TcpStream::connect(address).is_err());
        let _listener = TcpListener::bind(address).unwrap();
        TcpStream::connect(address).unwrap();
    }
}
