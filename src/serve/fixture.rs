//! A small configuration in memory, loaded as `run` loads it, for the tests of the shell.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use prometheus::IntCounter;

use crate::base::clock::{Clock, Monotonic, Now, UnixMillis, UnixTime};
use crate::config::files::disk::{Content, Disk};
use crate::config::snapshot::Snapshot;
use crate::decide::gate::{Charging, Decision, RequestHead, Verdict};
use crate::decide::rejection::Rejection;
use crate::decide::request::address::Peer;
use crate::serve::admin::Process;
use crate::serve::observe::Observers;
use crate::serve::observe::access_log::AccessLog;
use crate::serve::observe::metrics::Metrics;
use crate::serve::observe::record::{Outcome, Record};
use crate::serve::observe::why::WhyRing;
use crate::serve::published::Published;
use crate::serve::reload::{Corridor, Opened, Reloader, Sources};
use crate::serve::revocation_log::RevocationLog;
use crate::serve::shared::Shared;

/// A key that verifies, and must never be written anywhere.
pub(crate) const KEY: &str = "canary-key-0123456789-0123456789";

/// A bearer token that does not verify, and must never be written anywhere either.
pub(crate) const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.Y2FuYXJ5.Y2FuYXJ5LXNpZ25hdHVyZQ";

/// The HMAC secret of the issuer.
pub(crate) const SECRET: &str = "canary-hmac-secret-canary-hmac-secret-0123456789";

/// The token of the admin listener.
pub(crate) const ADMIN_TOKEN: &str = "canary-admin-token-0123456789";

pub(crate) const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
admin: { address: 127.0.0.1:9090 }
upstreams:
  app: { url: 'http://127.0.0.1:3000' }
issuers:
  - issuer: https://login.example.com
    name: corp
    audiences: [orders]
    algorithms: [HS256]
    keys: { secret_file: hs.key }
api_keys: { header: X-API-Key, files: [keys.yaml] }
limits:
  tight: { rate: 1/h, burst: 1, by: principal }
defaults: { upstream: app }
routes:
  - { path: /open/**, name: open, access: anonymous }
  - { path: /api/**, name: api, access: { scopes: [read] } }
  - { path: /admin/**, name: admin, access: { scopes: [admin] } }
  - { path: /tight, name: tight, access: { scopes: [read] }, limits: [tight] }
";

/// Files by name, shared with the test that changes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<HashMap<PathBuf, Vec<u8>>>>);

impl MemoryDisk {
    /// With everything that [`CONFIG`] names.
    pub(crate) fn filled() -> Self {
        let disk = Self::default();
        disk.write("gatepost.yaml", CONFIG);
        disk.write("hs.key", SECRET);
        disk.write("keys.yaml", &keys_yaml(&["read"], "k1"));
        disk
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        self.0.lock().unwrap().insert(folder().join(name), text.as_bytes().to_vec());
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(&folder().join(name));
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path, _: usize) -> io::Result<Content> {
        let files = self.0.lock().unwrap();
        let bytes = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Content { bytes: bytes.clone(), mode: Some(0o600) })
    }
}

fn folder() -> &'static Path {
    Path::new("/etc/gatepost")
}

/// A key file in which [`KEY`] has these scopes.
pub(crate) fn keys_yaml(scopes: &[&str], id: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, KEY.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let scopes = scopes.join(", ");
    format!(
        "keys:\n  - {{ id: {id}, digest: 'sha256:{hex}', subject: alice, scopes: [{scopes}] }}\n"
    )
}

/// Loads it.
pub(crate) fn open(disk: &MemoryDisk) -> Opened {
    let sources = Sources { disk: Box::new(disk.clone()), environment: Box::new(|_| None) };
    match Corridor::open(&folder().join("gatepost.yaml"), sources, [1, 2]) {
        Ok(opened) => opened,
        Err(mistakes) => {
            let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{}", mistakes.join("\n"))
        }
    }
}

/// A process without listeners. Its log of revocations cannot be written.
pub(crate) fn process(disk: &MemoryDisk) -> Process {
    let Opened { snapshot, corridor, .. } = open(disk);
    let published = Arc::new(Published::new(snapshot, observers()));
    let folder = Path::new("/dev/null/nowhere");
    let writes = published.observers.metrics.revocation_writes();
    let revoked = corridor.revoked();
    let revocations = RevocationLog::open(folder, revoked, writes, NOW.monotonic).unwrap();
    let shared = Arc::new(Shared::new(&published, Clock::start(), revocations));
    Process { reloader: Arc::new(Reloader::new(corridor, published)), shared }
}

/// The reloader of such a process.
pub(crate) fn reloader(disk: &MemoryDisk) -> Arc<Reloader> {
    process(disk).reloader
}

/// Metrics and `why`, without an access log.
pub(crate) fn observers() -> Observers {
    let metrics = Metrics::new();
    let access_log = AccessLog::off(metrics.access_log_dropped());
    Observers { metrics, access_log, why: WhyRing::default() }
}

/// The instant of every decision in these tests.
pub(crate) const NOW: Now =
    Now { unix: UnixTime(1_800_000_000), monotonic: Monotonic(3_600_000_000_000) };

/// The decision about `GET path` with these fields.
pub(crate) fn decide(snapshot: &Snapshot, path: &str, fields: &[(&str, &str)]) -> Decision {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let head = RequestHead {
        method: &Method::GET,
        host: Some(b"api.example.com"),
        path: path.as_bytes(),
        headers: &headers,
        peer: Peer::Ip([192, 0, 2, 7].into()),
        certificate: None,
    };
    snapshot.gate.admit(&head, NOW, Charging::Charge)
}

/// The refusal in a decision, if it is one.
pub(crate) fn rejection(decision: &Decision) -> Option<&Rejection> {
    match &decision.verdict {
        Verdict::Permit(_) | Verdict::Preflight(_) | Verdict::Need(_) => None,
        Verdict::Reject(rejection) | Verdict::Observe(_, rejection) => Some(rejection),
    }
}

/// The record of a decision that was carried out.
pub(crate) fn record<'a>(decision: &'a Decision, path: &'a str) -> Record<'a> {
    let rejection = rejection(decision);
    Record {
        time: UnixMillis(1_800_000_000_123),
        request_id: "r-1",
        peer_request_id: None,
        method: "GET",
        path,
        host: "api.example.com",
        outcome: rejection.map_or(Outcome::Admitted, |one| Outcome::Refused(one.reason())),
        rejection,
        status: if rejection.is_some() { 403 } else { 200 },
        evidence: &decision.evidence,
        total: Duration::from_micros(1_500),
        deciding: Duration::from_micros(12),
        upstream: rejection.is_none().then(|| Duration::from_micros(900)),
        bytes_in: 3,
        bytes_out: 5,
        generation: 1,
    }
}

/// A counter that no registry has.
pub(crate) fn counter() -> IntCounter {
    IntCounter::new("lines_total", "Lines.").unwrap()
}
