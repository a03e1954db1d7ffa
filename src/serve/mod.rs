//! The running process: the only place where things are wired together.
//!
//! Owns the order of the start (configuration, observers, listeners, admin, watcher, proxy), of
//! the end (readiness, listeners, the last connection, the log), and pingora's settings. Never
//! decides anything about a request.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod downstream;
pub(crate) mod exchange;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod introspection;
pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod observe;
mod outbound;
pub(crate) mod process;
mod published;
mod readiness;
pub(crate) mod reload;
pub(crate) mod revocation_log;
pub(crate) mod shared;
pub(crate) mod store;
mod stream;
pub(crate) mod upstream;

use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use pingora::server::configuration::ServerConf;
use pingora::server::{ExecutionPhase, RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;
use tracing::level_filters::LevelFilter;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::config::snapshot::Snapshot;
use crate::config::{ListenAddress, Mistake, Startup};
use crate::decide::live::Size;
use crate::serve::admin::{AdminHandle, Process};
use crate::serve::downstream::connections::Connections;
use crate::serve::downstream::listen::{ListenError, Listeners, Place};
use crate::serve::exchange::Exchange;
use crate::serve::issuer::open::{Opening, StartError};
use crate::serve::issuer::running::RunningIssuer;
use crate::serve::jwks::Followers;
use crate::serve::observe::Observers;
use crate::serve::observe::access_log::AccessLog;
use crate::serve::observe::line::LineFormat;
use crate::serve::observe::log;
use crate::serve::observe::metrics::Metrics;
use crate::serve::observe::why::WhyRing;
use crate::serve::process::signals::Signals;
use crate::serve::process::systemd::{Standing, notify};
use crate::serve::published::Published;
use crate::serve::reload::{Corridor, Opened, Reloader, Sources};
use crate::serve::revocation_log::{LogError, RevocationLog};
use crate::serve::shared::Shared;
use crate::serve::store::Watch;
use crate::serve::store::sqlite::Role;
use crate::serve::upstream::{Connector, Pool, Resolver, Sweeper, Upstreams};

/// The time that exchanges that are cut at the end may take to write their records.
const CUT_MAX: Duration = Duration::from_secs(1);
/// Time limit for opening the listeners.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// Pause between two probes of them.
const OPEN_LOOK: Duration = Duration::from_millis(5);
/// Time limit for writing the last lines of the access log.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The options of `run`.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The configuration.
    pub config: PathBuf,
    /// The log format.
    pub log_format: LineFormat,
    /// The minimum log level.
    pub log_level: LevelFilter,
    /// A new, empty store of the issuer is meant where one is missing.
    pub new_store: bool,
}

/// The reasons why the process did not start, or ended by itself.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// Every mistake in the configuration and the files it names.
    #[error("the configuration has mistakes")]
    Mistakes(Vec<Mistake>),
    /// The log of revocations.
    #[error("revocations: {0}")]
    Revocations(#[source] LogError),
    /// The issuer.
    #[error("{0}")]
    Issuer(#[source] StartError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something the process needs from the system.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// The listeners did not open, or the server ended by itself.
    #[error("{0}")]
    Ended(&'static str),
}

/// Runs until a signal ends the process. Every resource is acquired before the first connection is
/// accepted.
///
/// # Errors
/// [`ServeError`], which has not been logged.
pub(crate) fn run(options: &Options) -> Result<(), ServeError> {
    match log::init(options.log_format, options.log_level) {
        // Set up before, in a process that runs several servers: the first one wins.
        Ok(()) | Err(log::LogError::Taken) => {}
        Err(log::LogError::System(error)) => return Err(ServeError::System("the log", error)),
    }
    let ended = serve(options);
    // The process ends even if they cannot be written.
    let _ = log::flush(FLUSH_MAX);
    ended
}

fn serve(options: &Options) -> Result<(), ServeError> {
    let seed = random_seed().map_err(|error| ServeError::System("randomness", error))?;
    let opened = Corridor::open(&options.config, Sources::of_the_process(), seed)
        .map_err(ServeError::Mistakes)?;
    let Opened { startup, admin_token, snapshot, corridor } = opened;
    let observers = observers(&startup, options.log_format)?;
    log_exempt_peers(&snapshot);
    log_issuer(&startup, &snapshot);
    let clock = Clock::start();
    let revocations = revocations(&startup, &corridor, &observers, clock)?;
    let published = Arc::new(Published::new(snapshot, observers));
    let shared = Arc::new(Shared::new(&published, clock, revocations));
    let reloader = Arc::new(Reloader::new(corridor, published));
    let process = Process { shared: Arc::clone(&shared), reloader };
    let places = places(&startup)?;
    let signals = catch_signals(&startup, &process)?;
    let admin = serve_admin(&startup, admin_token.as_ref(), &process)?;
    let metrics = serve_metrics(&startup, &process)?;
    start_background(&startup, &process)?;
    let issuer = start_issuer(options, &startup, &process, seed)?;
    let _watching = reload::watch(process.reloader)
        .map_err(|error| ServeError::System("watching files", error))?;
    let running = Running::start(&startup, &places, &shared, signals)?;
    let sockets: Vec<_> = places.iter().filter_map(Place::socket_file).collect();
    notify(Standing::Ready);
    let ended = running.until_the_end();
    drop(sockets);
    if let Some(issuer) = issuer {
        issuer.close();
    }
    if !shared.observers.access_log.flush(FLUSH_MAX) {
        tracing::warn!("the last lines of the access log may be lost");
    }
    // Until here, so that a drain can be observed.
    drop((admin, metrics));
    ended
}

/// Opens the store of the issuer before the listeners open: while it is loaded, `/readyz` fails.
fn start_issuer(
    options: &Options,
    startup: &Startup,
    process: &Process,
    seed: [u64; 2],
) -> Result<Option<Arc<RunningIssuer>>, ServeError> {
    let Process { shared, reloader } = process;
    let snapshot = shared.snapshots.load_full();
    let configured = startup.issuer.as_ref().zip(snapshot.dynamic.issuer.as_ref());
    let Some((issuer, settings)) = configured else { return Ok(None) };
    let series = shared.observers.metrics.store();
    let opening = Opening {
        startup: issuer,
        rotation: settings.rotation,
        state_dir: &startup.state_dir,
        insecure_file_modes: snapshot.dynamic.insecure_file_modes,
        clock: shared.clock,
        role: Role::Run,
        watch: Watch { series, audit: Arc::default() },
        new_store: options.new_store,
    };
    let published = reloader.published();
    let running = RunningIssuer::start((issuer, settings), &opening, published, seed);
    let running = running.map_err(|error| match error {
        StartError::Mistakes(mistakes) => ServeError::Mistakes(mistakes),
        other => ServeError::Issuer(other),
    })?;
    if let Err(twins) = reloader.follow_store(running.open.stored(issuer)) {
        running.close();
        return Err(ServeError::Mistakes(twins));
    }
    let Size { credentials, bytes } = running.open.live.load().size();
    tracing::info!(issuer = &*issuer.url, credentials, bytes, "issuer: store loaded");
    let _ = shared.issuer.set(Arc::clone(&running.endpoints));
    let _ = shared.issuer_store.set(Arc::clone(&running));
    Ok(Some(running))
}

/// Logs the peers that budgets by address exempt (the contract, "Failed credentials").
fn log_exempt_peers(snapshot: &Snapshot) {
    if snapshot.gate.trusted_proxies.is_empty() {
        tracing::info!(
            "trusted_proxies is empty: neither failed credentials nor connections are counted by \
             address for peers on Unix sockets, loopback and private addresses"
        );
    }
}

fn observers(startup: &Startup, format: LineFormat) -> Result<Observers, ServeError> {
    let metrics = Metrics::new();
    let dropped = metrics.access_log_dropped();
    let access_log = AccessLog::start(&startup.access_log, format, dropped)
        .map_err(|error| ServeError::System("access log", error))?;
    Ok(Observers { metrics, access_log, why: WhyRing::default() })
}

/// Revocations acknowledged before the start are in force from the first request on.
fn revocations(
    startup: &Startup,
    corridor: &Corridor,
    observers: &Observers,
    clock: Clock,
) -> Result<RevocationLog, ServeError> {
    let (folder, published) = (&startup.state_dir, corridor.revoked());
    let writes = observers.metrics.revocation_writes();
    RevocationLog::open(folder, published, writes, clock.monotonic()).map_err(|error| match error {
        LogError::Damaged(mistake) => ServeError::Mistakes(vec![mistake]),
        LogError::Full | LogError::Taken(_) | LogError::Disk { .. } => {
            ServeError::Revocations(error)
        }
    })
}

/// SIGHUP opens the access log again and reloads.
fn catch_signals(startup: &Startup, process: &Process) -> Result<Signals, ServeError> {
    let Process { shared, reloader } = process.clone();
    let readiness = Arc::clone(&shared.readiness);
    let on_hangup = move || {
        shared.observers.access_log.reopen();
        reloader.reload();
    };
    Signals::catch(readiness, startup.lame_duck, on_hangup)
        .map_err(|error| ServeError::System("signals", error))
}

/// Logs the routes that take credentials of the issuer, and those that lose paths to it.
fn log_issuer(startup: &Startup, snapshot: &Snapshot) {
    let Some(issuer) = &startup.issuer else { return };
    let routes = snapshot.dynamic.routes_of_issuer(startup).join(", ");
    tracing::info!(issuer = &*issuer.url, routes, "routes that accept credentials of the issuer");
    for (route, paths) in snapshot.dynamic.routes.lost_to_issuer() {
        let paths = paths.join(", ");
        tracing::info!(route = &*route.name, paths, "the issuer takes paths of a route");
    }
}

/// One thread for the work beside requests: key refreshes, and clients of removed issuers.
fn start_background(startup: &Startup, process: &Process) -> Result<(), ServeError> {
    let Process { shared, reloader } = process.clone();
    let (introspection, published) = (&shared.introspection, reloader.published());
    let forget =
        introspection::forget_removed_issuers(Arc::clone(introspection), Arc::clone(published));
    let (servers, readiness) = (Arc::clone(&shared.key_servers), Arc::clone(&shared.readiness));
    let followers = Followers::begin(reloader, servers, readiness, &startup.state_dir);
    let start = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = async {
            tokio::spawn(forget);
            followers.run().await;
        };
        thread::Builder::new().name("background".to_owned()).spawn(move || runtime.block_on(run))
    };
    start().map(drop).map_err(|error| ServeError::System("a thread for key servers", error))
}

/// Started before the listeners are open, so that `/readyz` fails until they are.
fn serve_admin(
    startup: &Startup,
    token: Option<&Secret<String>>,
    process: &Process,
) -> Result<Option<AdminHandle>, ServeError> {
    let Some(settings) = &startup.admin else { return Ok(None) };
    let issuer_token = match (&startup.issuer, token) {
        (None, _) => None,
        (Some(_), Some(token)) => Some(token.clone()),
        (Some(_), None) => Some(made_token(startup)?),
    };
    let token = token.cloned();
    let admin = admin::Admin { address: settings.address.clone(), token, issuer_token };
    let handle = admin::serve(admin, process.clone())
        .map_err(|error| ServeError::System("admin listener", error))?;
    log_address(handle.address(), "admin");
    Ok(Some(handle))
}

/// With an issuer a token is demanded in any case.
fn made_token(startup: &Startup) -> Result<Secret<String>, ServeError> {
    let folder = &startup.state_dir;
    let made = std::fs::create_dir_all(folder).and_then(|()| admin::token::ensure(folder));
    made.map_err(|error| ServeError::System("admin token", error))
}

fn serve_metrics(startup: &Startup, process: &Process) -> Result<Option<AdminHandle>, ServeError> {
    let Some(address) = &startup.metrics else { return Ok(None) };
    let handle = admin::serve_metrics(address, process.clone())
        .map_err(|error| ServeError::System("metrics listener", error))?;
    log_address(handle.address(), "metrics");
    Ok(Some(handle))
}

fn log_address(address: &ListenAddress, listener: &str) {
    match address {
        ListenAddress::Tcp(address) => tracing::info!(%address, "{listener}"),
        ListenAddress::Unix(path) => tracing::info!(address = %path.display(), "{listener}"),
    }
}

fn places(startup: &Startup) -> Result<Vec<Place>, ServeError> {
    let listeners = startup.listeners.iter();
    Ok(listeners.map(|listener| Place::check(&listener.address)).collect::<Result<_, _>>()?)
}

fn random_seed() -> io::Result<[u64; 2]> {
    let mut bytes = [[0; 8]; 2];
    aws_lc_rs::rand::fill(bytes.as_flattened_mut())
        .map_err(|_| io::Error::other("the system has none"))?;
    Ok(bytes.map(u64::from_ne_bytes))
}

/// pingora on a thread of its own: it sleeps through the whole grace period even when no connection
/// is left.
struct Running {
    phases: tokio::sync::broadcast::Receiver<ExecutionPhase>,
    connections: Arc<Connections>,
    signals: Signals,
    shutdown_timeout: Duration,
}

impl Running {
    fn start(
        startup: &Startup,
        places: &[Place],
        shared: &Arc<Shared>,
        signals: Signals,
    ) -> Result<Self, ServeError> {
        let series = shared.observers.metrics.connections();
        let connections = Arc::new(Connections::new(startup.connections, series));
        let server = server(startup, places, shared, &connections);
        let phases = server.watch_execution_phase();
        let shutdown_signal = Box::new(signals.clone());
        let (alive, ended) = sync_channel::<()>(0);
        thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || {
                let _alive = alive;
                server.run(RunArgs { shutdown_signal });
            })
            .map_err(|error| ServeError::System("a thread", error))?;
        wait_until_open(places, &ended)?;
        shared.readiness.serve();
        let listeners: Vec<_> = places.iter().map(ToString::to_string).collect();
        let generation = shared.snapshots.load().generation;
        tracing::info!(listeners = listeners.join(", "), generation, "ready");
        Ok(Self { phases, connections, signals, shutdown_timeout: startup.shutdown_timeout })
    }

    fn until_the_end(mut self) -> Result<(), ServeError> {
        loop {
            match self.phases.blocking_recv() {
                Ok(ExecutionPhase::ShutdownGracePeriod) => return self.drain(),
                Ok(ExecutionPhase::ShutdownRuntimes | ExecutionPhase::Terminated) => return Ok(()),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => {
                    return Err(ServeError::Ended("the server stopped unexpectedly"));
                }
            }
        }
    }

    fn drain(mut self) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ServeError::System("a runtime", error))?;
        let drained = self.signals.drained(&self.connections, self.shutdown_timeout);
        if runtime.block_on(drained) {
            tracing::info!("stopped: every request was finished");
        } else {
            let connections = self.connections.open();
            self.connections.cut_all();
            let all_closed = self.connections.all_closed();
            // Each writes its record; one that does not is not waited for.
            let _ = runtime.block_on(async { tokio::time::timeout(CUT_MAX, all_closed).await });
            tracing::warn!(connections, "stopped before every connection was done");
        }
        Ok(())
    }
}

/// Waits until every listener answers.
fn wait_until_open(places: &[Place], ended: &Receiver<()>) -> Result<(), ServeError> {
    let mut looks = OPEN_MAX.as_millis() / OPEN_LOOK.as_millis();
    while !places.iter().all(Place::answers) {
        looks -= 1;
        match ended.recv_timeout(OPEN_LOOK) {
            Err(RecvTimeoutError::Timeout) if looks > 0 => {}
            Ok(()) | Err(_) => return Err(ServeError::Ended("the listeners did not open")),
        }
    }
    Ok(())
}

fn server(
    startup: &Startup,
    places: &[Place],
    shared: &Arc<Shared>,
    connections: &Arc<Connections>,
) -> Server {
    let settings = settings(startup);
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let upstreams = Arc::new(Upstreams::default());
    let resolver = Resolver { shared: Arc::clone(shared), upstreams: Arc::clone(&upstreams) };
    server.add_service(background_service("names of upstreams", resolver));
    let pool = Arc::new(Pool::new(startup.upstream_pool));
    server.add_service(background_service("idle upstream connections", Sweeper(Arc::clone(&pool))));
    let connector = Connector::new(upstreams, pool);
    let listeners = Listeners::new(places, &startup.listeners);
    let exchange = Exchange::new(Arc::clone(shared), Arc::clone(connections), listeners, connector);
    let mut service = Service::new("gatepost".to_owned(), exchange);
    for place in places {
        service.add_listener(place.endpoint());
    }
    server.add_service(service);
    server
}

fn settings(startup: &Startup) -> ServerConf {
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    ServerConf {
        threads: startup.threads.unwrap_or_else(cores),
        // The process exits before it ends.
        grace_period_seconds: Some(startup.shutdown_timeout.as_secs() + 5),
        graceful_shutdown_timeout_seconds: Some(1),
        // Neither is used: no file in a folder that every user can write to.
        pid_file: String::new(),
        upgrade_sock: String::new(),
        ..ServerConf::default()
    }
}
