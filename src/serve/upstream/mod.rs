//! Which address a request is forwarded to.
//!
//! Owns the names of upstreams and what they resolve to: looked up at the start and every few
//! seconds, in the background, so that no request waits for a name that was ever known. Owns every
//! timeout towards an upstream. Never decides whether a request is forwarded.

mod connect;
mod pool;
mod secure;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::decide::policy::upstream::{Timeouts, Upstream, UpstreamAddress};
use crate::decide::rejection::Fault;
use crate::serve::shared::Shared;

pub(crate) use connect::Connector;
pub(crate) use pool::{Pool, Sweeper};
pub(crate) use secure::{UpstreamStream, refused_certificate};

/// Interval between two look-ups of a name.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// The most addresses of one name that are kept.
const ADDRESSES_MAX: usize = 16;
/// The most addresses one request tries.
const TRIES_MAX: usize = 3;

/// The addresses of all upstreams.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    /// By host name. Only names of the current configuration: the configuration bounds it.
    names: ArcSwap<HashMap<Box<str>, Arc<Resolved>>>,
    /// A request met a name that was never looked up.
    wanted: Notify,
    /// A look-up ended.
    learned: Notify,
}

/// The addresses of a name.
#[derive(Debug)]
struct Resolved {
    /// The last good answer; empty when there was none yet.
    addresses: Vec<IpAddr>,
    /// The next address in turn.
    turn: AtomicUsize,
}

/// The tries of one request, and the address of the first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tries {
    first: Option<usize>,
    made: usize,
    possible: usize,
}

impl Tries {
    /// Returns whether there is an address that was not tried.
    #[must_use]
    pub(crate) fn can_go_on(&self) -> bool {
        self.made < self.possible.min(TRIES_MAX)
    }

    /// The next address: round robin over requests, one after the other within a request.
    fn choose(&mut self, resolved: &Resolved) -> Option<IpAddr> {
        let count = resolved.addresses.len();
        let first =
            *self.first.get_or_insert_with(|| resolved.turn.fetch_add(1, Ordering::Relaxed));
        let chosen = resolved.addresses.get(first.wrapping_add(self.made).checked_rem(count)?);
        self.possible = count;
        chosen.copied()
    }
}

impl Upstreams {
    /// The address to send a request to. Waits only for a name that was never looked up, and no longer
    /// than the upstream may take to connect.
    ///
    /// # Errors
    /// [`Fault::UpstreamConnect`] when the name has no address.
    pub(crate) async fn peer(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        tries: &mut Tries,
    ) -> Result<Box<HttpPeer>, Fault> {
        let mut peer = match &upstream.address {
            UpstreamAddress::Unix(path) => {
                HttpPeer::new_uds(path, false, String::new()).map_err(|_| Fault::UpstreamConnect)?
            }
            UpstreamAddress::Tcp { host, port } => {
                let address = self.address(host, timeouts.connect, tries).await?;
                HttpPeer::new(SocketAddr::new(address, *port), false, String::new())
            }
        };
        tries.made += 1;
        configure(&mut peer, timeouts);
        Ok(Box::new(peer))
    }

    async fn address(
        &self,
        host: &str,
        patience: Duration,
        tries: &mut Tries,
    ) -> Result<IpAddr, Fault> {
        if let Ok(address) = host.parse() {
            tries.possible = 1;
            return Ok(address);
        }
        if !self.names.load().contains_key(host) {
            let _ = tokio::time::timeout(patience, self.first_answer(host)).await;
        }
        let names = self.names.load();
        let resolved = names.get(host).ok_or(Fault::UpstreamConnect)?;
        tries.choose(resolved).ok_or(Fault::UpstreamConnect)
    }

    async fn first_answer(&self, host: &str) {
        loop {
            let learned = self.learned.notified();
            if self.names.load().contains_key(host) {
                return;
            }
            self.wanted.notify_one();
            learned.await;
        }
    }

    /// Remembers an answer. A failure keeps the last good one (an upstream outlives its resolver).
    fn learn(&self, host: &str, answer: io::Result<Vec<IpAddr>>) {
        let known = self.names.load().get(host).cloned();
        let known_addresses = known.as_ref().map(|known| known.addresses.as_slice());
        let addresses = match answer {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) | Err(_) if known.is_some() => {
                tracing::debug!(host, "no answer for the name of an upstream: keeping the last");
                return;
            }
            Ok(_) | Err(_) => {
                tracing::warn!(host, "the name of an upstream has no address");
                Vec::new()
            }
        };
        if known_addresses == Some(&addresses) {
            return;
        }
        tracing::info!(host, ?addresses, "the name of an upstream was resolved");
        let turn = known.map_or(0, |known| known.turn.load(Ordering::Relaxed));
        let resolved = Arc::new(Resolved { addresses, turn: AtomicUsize::new(turn) });
        self.change(|names| {
            names.insert(host.into(), Arc::clone(&resolved));
        });
    }

    fn forget_all_but(&self, hosts: &[Box<str>]) {
        if self.names.load().keys().any(|known| !hosts.contains(known)) {
            self.change(|names| names.retain(|known, _| hosts.contains(known)));
        }
    }

    fn change(&self, change: impl Fn(&mut HashMap<Box<str>, Arc<Resolved>>)) {
        self.names.rcu(|names| {
            let mut names = HashMap::clone(names);
            change(&mut names);
            names
        });
        self.learned.notify_waiters();
    }
}

/// No wait is without an end; the exchange itself bounds reads and writes.
fn configure(peer: &mut HttpPeer, timeouts: &Timeouts) {
    let options = &mut peer.options;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
}

/// The task that looks names up.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// The state with the current configuration.
    pub shared: Arc<Shared>,
    /// Receives the addresses.
    pub upstreams: Arc<Upstreams>,
}

type Answers = JoinSet<(Box<str>, io::Result<Vec<IpAddr>>)>;

#[async_trait]
impl BackgroundService for Resolver {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut tick = tokio::time::interval(REFRESH_EVERY);
        let mut answers = Answers::new();
        // A look-up that hangs is not started again: at most one per name is under way.
        let mut under_way: Vec<Box<str>> = Vec::new();
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                _ = tick.tick() => self.ask(&mut answers, &mut under_way, true),
                () = self.upstreams.wanted.notified() => {
                    self.ask(&mut answers, &mut under_way, false);
                }
                Some(answer) = answers.join_next() => {
                    if let Ok((host, answer)) = answer {
                        under_way.retain(|other| *other != host);
                        self.upstreams.learn(&host, answer);
                    }
                }
            }
        }
    }
}

impl Resolver {
    fn ask(&self, answers: &mut Answers, under_way: &mut Vec<Box<str>>, again: bool) {
        let hosts = self.hosts();
        self.upstreams.forget_all_but(&hosts);
        for host in hosts {
            let is_known = self.upstreams.names.load().contains_key(&host);
            if under_way.contains(&host) || (is_known && !again) {
                continue;
            }
            under_way.push(host.clone());
            answers.spawn(look_up(host));
        }
    }

    /// The names in the current configuration; addresses need no look-up.
    fn hosts(&self) -> Vec<Box<str>> {
        let snapshot = self.shared.snapshots.load();
        let mut hosts: Vec<_> = snapshot
            .dynamic
            .upstreams
            .iter()
            .filter_map(|upstream| match &upstream.address {
                UpstreamAddress::Tcp { host, .. } => Some(host.clone()),
                UpstreamAddress::Unix(_) => None,
            })
            .filter(|host| host.parse::<IpAddr>().is_err())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

async fn look_up(host: Box<str>) -> (Box<str>, io::Result<Vec<IpAddr>>) {
    let answer = tokio::net::lookup_host((&*host, 0)).await.map(|found| {
        let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        addresses
    });
    (host, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(host: &str) -> Upstream {
        let address = UpstreamAddress::Tcp { host: host.into(), port: 80 };
        Upstream {
            name: "app".into(),
            index: 0,
            address,
            tls: false,
            timeouts: Timeouts::all(Duration::from_secs(30)),
        }
    }

    async fn peer(upstreams: &Upstreams, host: &str, tries: &mut Tries) -> Result<String, Fault> {
        let upstream = upstream(host);
        let peer = upstreams.peer(&upstream, &upstream.timeouts, tries).await;
        peer.map(|peer| peer._address.to_string())
    }

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
    }

    #[tokio::test]
    async fn requests_take_turns_and_a_retry_goes_to_the_next_address() {
        let upstreams = Upstreams::default();
        upstreams.learn("app", Ok(addresses(&[1, 2])));
        let mut tries = Tries::default();
        assert_eq!(peer(&upstreams, "app", &mut tries).await.unwrap(), "10.0.0.1:80");
        assert!(tries.can_go_on());
        assert_eq!(peer(&upstreams, "app", &mut tries).await.unwrap(), "10.0.0.2:80");
        assert!(!tries.can_go_on());
        assert_eq!(peer(&upstreams, "app", &mut Tries::default()).await.unwrap(), "10.0.0.2:80");
    }

    #[tokio::test]
    async fn a_failed_look_up_keeps_the_last_good_answer() {
        let upstreams = Upstreams::default();
        upstreams.learn("app", Ok(addresses(&[1])));
        upstreams.learn("app", Err(io::ErrorKind::TimedOut.into()));
        upstreams.learn("app", Ok(vec![]));
        assert_eq!(peer(&upstreams, "app", &mut Tries::default()).await.unwrap(), "10.0.0.1:80");
    }

    #[tokio::test]
    async fn a_name_that_never_had_an_address_is_a_fault() {
        let upstreams = Upstreams::default();
        upstreams.learn("app", Err(io::ErrorKind::NotFound.into()));
        let mut tries = Tries::default();
        assert_eq!(peer(&upstreams, "app", &mut tries).await, Err(Fault::UpstreamConnect));
        assert!(!tries.can_go_on());
    }

    #[tokio::test]
    async fn addresses_need_no_look_up_and_have_no_second_try() {
        let mut tries = Tries::default();
        let upstreams = Upstreams::default();
        assert_eq!(peer(&upstreams, "::1", &mut tries).await.unwrap(), "[::1]:80");
        assert!(!tries.can_go_on());
    }

    #[tokio::test]
    async fn a_name_met_for_the_first_time_is_waited_for() {
        let upstreams = Arc::new(Upstreams::default());
        let teacher = Arc::clone(&upstreams);
        let lesson = tokio::spawn(async move {
            teacher.wanted.notified().await;
            teacher.learn("new", Ok(addresses(&[9])));
        });
        assert_eq!(peer(&upstreams, "new", &mut Tries::default()).await.unwrap(), "10.0.0.9:80");
        lesson.await.unwrap();
    }

    #[test]
    fn every_connect_ends() {
        let timeouts = Timeouts::all(Duration::from_secs(1));
        let mut peer = HttpPeer::new("10.0.0.1:80", false, String::new());
        configure(&mut peer, &timeouts);
        let options = &peer.options;
        let waits = [options.connection_timeout, options.total_connection_timeout];
        assert_eq!(waits, [Some(timeouts.connect); 2]);
    }
}
