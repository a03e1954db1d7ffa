//! The number of open downstream connections, in all and by address.
//!
//! Owns the two caps (R-1002) and their count. An attacker would open connections until no other
//! client gets one: beyond a cap a connection is closed at once, before a byte of it is read. Never
//! decides which peers may represent many callers: that is [`crate::decide::request::address`]'s.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::config::ConnectionCaps;
use crate::decide::request::address;
use crate::serve::observe::metrics::ConnectionSeries;

/// The open connections of the process.
#[derive(Debug)]
pub(crate) struct Connections {
    caps: ConnectionCaps,
    open: AtomicUsize,
    /// An entry for each address with an open connection, so never more than `caps.total`.
    by_address: Mutex<HashMap<Vec<u8>, usize>>,
    closed: Notify,
    /// True if what is still open is cut.
    cut: watch::Sender<bool>,
    series: ConnectionSeries,
}

/// Which cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CapReached {
    /// Of all connections.
    Total,
    /// Of the connections of one address.
    Address,
}

impl Connections {
    /// None is open yet.
    #[must_use]
    pub(crate) fn new(caps: ConnectionCaps, series: ConnectionSeries) -> Self {
        Self {
            caps,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            closed: Notify::new(),
            cut: watch::Sender::new(false),
            series,
        }
    }

    /// Counts a connection as long as the guard lives. `address` is `None` for a peer that may
    /// represent many callers: it counts among all connections only.
    ///
    /// # Errors
    /// The cap that is reached. The connection must be closed at once.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
    ) -> Result<OpenConnection, CapReached> {
        let entered = self.count(address);
        match &entered {
            Ok(_) => {
                self.series.open.inc();
                self.series.accepted.inc();
            }
            Err(CapReached::Total) => self.series.refused_total.inc(),
            Err(CapReached::Address) => self.series.refused_address.inc(),
        }
        entered
    }

    fn count(self: &Arc<Self>, address: Option<IpAddr>) -> Result<OpenConnection, CapReached> {
        let next = |open: usize| Some(open + 1).filter(|open| *open <= self.caps.total);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .map_err(|_| CapReached::Total)?;
        let address = address.map(address::limit_bytes);
        if let Some(address) = &address
            && let Err(reached) = self.count_address(address)
        {
            self.give_back();
            return Err(reached);
        }
        Ok(OpenConnection { connections: Arc::clone(self), address })
    }

    fn count_address(&self, address: &[u8]) -> Result<(), CapReached> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        match by_address.get_mut(address) {
            Some(open) if *open >= self.caps.per_address => return Err(CapReached::Address),
            Some(open) => *open += 1,
            None => {
                by_address.insert(address.to_owned(), 1);
            }
        }
        Ok(())
    }

    fn forget_address(&self, address: &[u8]) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        match by_address.get_mut(address) {
            Some(open) if *open > 1 => *open -= 1,
            Some(_) | None => {
                by_address.remove(address);
            }
        }
    }

    fn give_back(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.closed.notify_waiters();
        }
    }

    /// The number of open connections.
    #[must_use]
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Returns whether more than three quarters of the cap are in use.
    #[must_use]
    pub(crate) fn are_scarce(&self) -> bool {
        // In this form a small cap is not scarce from its first connection on.
        self.open().saturating_mul(4) > self.caps.total.saturating_mul(3)
    }

    /// Cuts the exchanges that are still under way: the process ends.
    pub(crate) fn cut_all(&self) {
        self.cut.send_replace(true);
    }

    /// Waits until exchanges are cut.
    pub(crate) async fn cut(&self) {
        // The sender is in `self`, so that it cannot be gone.
        let _ = self.cut.subscribe().wait_for(|is_cut| *is_cut).await;
    }

    /// Waits until none is open.
    pub(crate) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    connections: Arc<Connections>,
    address: Option<Vec<u8>>,
}

impl OpenConnection {
    /// Counts it among those of an address that became known later (PROXY protocol).
    ///
    /// # Errors
    /// The cap of the address is reached. The connection must be closed at once.
    pub(crate) fn count_for(&mut self, address: Option<IpAddr>) -> Result<(), CapReached> {
        let Some(address) = address.filter(|_| self.address.is_none()) else { return Ok(()) };
        let address = address::limit_bytes(address);
        let counted = self.connections.count_address(&address);
        match counted {
            Ok(()) => self.address = Some(address),
            Err(_) => self.connections.series.refused_address.inc(),
        }
        counted
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(address) = &self.address {
            self.connections.forget_address(address);
        }
        self.connections.series.open.dec();
        self.connections.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::observe::metrics::Metrics;

    fn connections(total: usize, per_address: usize) -> (Metrics, Arc<Connections>) {
        let metrics = Metrics::new();
        let caps = ConnectionCaps { total, per_address };
        let connections = Arc::new(Connections::new(caps, metrics.connections()));
        (metrics, connections)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn connections_are_scarce_above_three_quarters_of_any_cap() {
        for (total, enough) in [(1, 0), (3, 2), (4, 3), (10, 7)] {
            let (_metrics, connections) = connections(total, total);
            let open: Vec<_> = (0..enough).map(|_| connections.enter(None).unwrap()).collect();
            assert!(!connections.are_scarce(), "{enough} of {total}");
            let _one_more = connections.enter(None).unwrap();
            assert!(connections.are_scarce(), "{} of {total}", enough + 1);
            drop(open);
        }
    }

    #[test]
    fn r1002_connections_are_capped_in_all_and_by_address() {
        let (metrics, connections) = connections(4, 2);
        let one = connections.enter(address("192.0.2.1")).unwrap();
        let _two = connections.enter(address("::ffff:192.0.2.1")).unwrap();
        for _ in 0..3 {
            let third = connections.enter(address("192.0.2.1"));
            assert_eq!(third.unwrap_err(), CapReached::Address);
        }
        assert_eq!(connections.open(), 2, "what is refused leaves no trace");
        let _near = [None, None].map(|many| connections.enter(many).unwrap());
        assert_eq!(connections.enter(None).unwrap_err(), CapReached::Total);
        assert_eq!(connections.enter(address("192.0.2.2")).unwrap_err(), CapReached::Total);
        drop(one);
        let _again = connections.enter(address("192.0.2.1")).unwrap();
        let series = metrics.connections();
        assert_eq!((series.refused_address.get(), series.refused_total.get()), (3, 2));
        assert_eq!((series.open.get(), series.accepted.get()), (4, 5));
    }

    #[test]
    fn r1002_an_ipv6_caller_is_its_64_and_is_forgotten_with_its_last_connection() {
        let (_metrics, connections) = connections(10, 1);
        let one = connections.enter(address("2001:db8::1")).unwrap();
        let same = connections.enter(address("2001:db8::2"));
        assert_eq!(same.unwrap_err(), CapReached::Address);
        let other = connections.enter(address("2001:db8:0:1::1")).unwrap();
        drop((one, other));
        assert!(connections.by_address.lock().unwrap().is_empty());
        assert_eq!(connections.open(), 0);
    }

    #[tokio::test]
    async fn the_last_connection_ends_the_wait() {
        let (_metrics, connections) = connections(10, 10);
        let first = connections.enter(None).unwrap();
        let second = connections.enter(None).unwrap();
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.all_closed().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        assert_eq!(connections.open(), 0);
    }
}
