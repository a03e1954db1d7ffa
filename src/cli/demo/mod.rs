//! `gatepost demo`: everything in one process on loopback.
//!
//! Owns a private folder with a generated configuration, keys and tokens, an echo upstream, and
//! the lines to copy. The sidecar itself is the one `run` starts. Never listens beyond loopback,
//! and removes its folder when it ends.

mod credentials;
mod echo;

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::TcpSocket;

use crate::cli::{Exit, Failure, Logging, Outcome, print};
use crate::serve;
use credentials::Credentials;

/// The preferred ports; a free one replaces a port in use.
const PUBLIC_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

pub(super) fn run(logging: Logging) -> Outcome {
    let folder = Folder::create().map_err(|error| fault("a temporary folder", &error))?;
    let credentials = Credentials::generate()?;
    let hold = |port| hold_port(port).map_err(|error| fault("a port on loopback", &error));
    let ((_public_port, public), (_admin_port, admin)) = (hold(PUBLIC_PORT)?, hold(ADMIN_PORT)?);
    let upstream = echo::start(public, introduction(&folder, &credentials, public, admin))
        .map_err(|error| fault("the echo upstream", &error))?;
    let config = folder
        .write_all(&[
            ("gatepost.yaml", &configuration(public, admin, upstream)),
            ("issuer.jwks.json", &credentials.key_set),
            ("keys.yaml", &credentials.key_file),
            ("token", &credentials.token),
            ("token-without-scope", &credentials.token_without_scope),
            ("api-key", credentials.api_key.expose()),
        ])
        .map_err(|error| fault("the demo's files", &error))?;
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

/// A folder with mode 0700, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let mut name = [0_u8; 8];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| io::Error::other("no random bytes"))?;
        let name = format!("gatepost-demo-{:016x}", u64::from_le_bytes(name));
        let path = std::env::temp_dir().join(name);
        // Not recursive: an existing folder may belong to another user.
        DirBuilder::new().mode(0o700).create(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        Ok(Self(path))
    }

    /// Writes the files with mode 0600, and returns the path of the first.
    fn write_all(&self, files: &[(&str, &str)]) -> io::Result<PathBuf> {
        for (name, content) in files {
            let path = self.0.join(name);
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(content.as_bytes())?;
        }
        Ok(self.0.join(files[0].0))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Remains lie in the temporary folder; their keys are worthless without this process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn configuration(public: SocketAddr, admin: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "\
listeners: [{{ address: \"{public}\" }}]
admin: {{ address: \"{admin}\" }}
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

/// The text printed once the sidecar listens: the expected status, then a command. Each command is
/// complete on its own line in any shell: credentials are literal (they are worthless beyond this
/// process), and no line ends with a comment, which an interactive zsh passes to curl.
fn introduction(
    folder: &Folder,
    credentials: &Credentials,
    public: SocketAddr,
    admin: SocketAddr,
) -> String {
    let dir = folder.path().display();
    let config = shell_word(&folder.path().join("gatepost.yaml").display().to_string());
    let program = std::env::current_exe();
    let program = program.map_or_else(|_| "gatepost".into(), |path| path.display().to_string());
    let gatepost = shell_word(&program);
    let requests = requests(credentials, public);
    let (until, key) = (credentials.expires, credentials.api_key.expose());
    format!(
        r#"
gatepost demo: an API behind a sidecar on http://{public}
Configuration, keys and tokens (valid until {until}) are in {dir} and are removed on exit.

{requests}
Why a request was refused (by its request id), the decision step by step, and the running state:
  {gatepost} why "$(curl -s http://{public}/api/orders | sed 's/.*"request_id":"\([^"]*\)".*/\1/')" --config {config}
  {gatepost} explain --config {config} --method GET --path /api/orders --header 'X-API-Key: {key}'
  {gatepost} status --config {config}

Metrics:
  curl http://{admin}/metrics

Press Ctrl-C to stop.
"#
    )
}

/// The expected status of each request, and the command that sends it.
fn requests(credentials: &Credentials, public: SocketAddr) -> String {
    let bearer = |token: &str| format!(" -H 'Authorization: Bearer {token}'");
    let key = format!(" -H 'X-API-Key: {}'", credentials.api_key.expose());
    let lines = [
        ("200, anonymous route", "/public/hello", String::new()),
        ("401, no credential", "/api/orders", String::new()),
        ("401, invalid token", "/api/orders", bearer("nonsense")),
        ("200, valid token", "/api/orders", bearer(&credentials.token)),
        (
            "403, valid token without the scope",
            "/api/orders",
            bearer(&credentials.token_without_scope),
        ),
        ("200, API key", "/api/orders", key.clone()),
        ("200 200 429, three requests on a limit of two a minute", "/limited/[1-3]", key),
    ];
    let line = |(expected, path, header): (&str, &str, String)| {
        // The bodies end without a line feed: curl writes it.
        format!("{expected}:\n  curl -i -w '\\n' 'http://{public}{path}'{header}\n")
    };
    lines.into_iter().map(line).collect()
}

/// `text` as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
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
    fn the_demo_folder_is_private_and_goes_away() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        let file = folder.write_all(&[("a", "b")]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(shell_word("/tmp/gatepost-1/a.yaml"), "/tmp/gatepost-1/a.yaml");
        assert_eq!(shell_word("/my files/it's"), r"'/my files/it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

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
