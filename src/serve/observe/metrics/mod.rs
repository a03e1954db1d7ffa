//! Counts and durations for Prometheus (the contract, "Metrics").
//!
//! Owns the registry and which facts of a request feed which series. Labels come only from closed
//! sets: the routes, limits and upstreams of the configuration and constants.
//! Never a path, subject, key or token.

mod code;
mod families;
mod issuer;
mod key_server;
mod route;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use prometheus::{Encoder, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use crate::base::clock::UnixTime;
use crate::config::snapshot::Snapshot;
use crate::decide::gate::Evidence;
use crate::decide::rejection::{Fault, Rejection};
use crate::decide::request::credential::CredentialKind;
use crate::decide::revocation::Kind;
use crate::serve::observe::metrics::families::{Declare, Families};
use crate::serve::observe::metrics::route::{LimitSeries, RouteSeries, UpstreamSeries};
use crate::serve::observe::record::{Cut, Outcome, Record};
use crate::serve::observe::report::ReloadReport;
use crate::serve::revocation_log::WriteSeries;

pub(crate) use key_server::IntrospectionResult;

/// The `route` of a request without a route.
const ROUTE_NONE: &str = "none";

/// The `route` of a request whose route left the configuration while it ran.
const ROUTE_REMOVED: &str = "removed";

/// The states of an API key, in the order of [`crate::decide::api_key::KeyRing::count`].
const KEY_STATES: [&str; 4] = ["active", "disabled", "expired", "not_yet_valid"];

/// The `credential` of `gatepost_auth_duration_seconds` when nothing was presented.
const CREDENTIAL_NONE: &str = "anonymous";

type Named<T> = std::collections::HashMap<Arc<str>, Arc<T>, RandomState>;

/// All metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    families: Families,
    series: ArcSwap<Series>,
    /// Requests without a route, and with a removed one. Always among the series, too, should
    /// the operator give a route one of these names.
    none: Arc<RouteSeries>,
    removed: Arc<RouteSeries>,
    /// Token, key, nothing presented.
    deciding: [Histogram; 3],
    has_ignored_proto: AtomicBool,
    /// The listeners with a series of `gatepost_certificate_expiry_seconds`.
    expiry: Mutex<Vec<String>>,
}

/// The series of [`crate::serve::downstream::connections`].
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSeries {
    /// Open now.
    pub open: IntGauge,
    /// Let in since the start.
    pub accepted: IntCounter,
    /// Refused because of all connections.
    pub refused_total: IntCounter,
    /// Refused because of those of one address.
    pub refused_address: IntCounter,
}

/// The series of what is configured now.
#[derive(Debug, Default)]
struct Series {
    routes: Named<RouteSeries>,
    limits: Named<LimitSeries>,
    upstreams: Named<UpstreamSeries>,
    /// The issuers that are asked about opaque tokens.
    asked: Named<Arc<str>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Declares every metric in a registry of its own.
    #[must_use]
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let families = Families::declare(&Declare(&registry));
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for result in ReloadReport::RESULTS {
            // Zero from the start, so that the first failure is an increase.
            families.configuration.config_reloads.with_label_values(&[result]).reset();
        }
        let kinds =
            [CredentialKind::Jwt.as_str(), CredentialKind::ApiKey.as_str(), CREDENTIAL_NONE];
        let deciding = kinds.map(|kind| families.auth_duration.with_label_values(&[kind]));
        Self {
            registry,
            families,
            series: ArcSwap::default(),
            none: Arc::new(RouteSeries::new(ROUTE_NONE.into())),
            removed: Arc::new(RouteSeries::new(ROUTE_REMOVED.into())),
            deciding,
            has_ignored_proto: AtomicBool::new(false),
            expiry: Mutex::default(),
        }
    }

    /// Counts one request.
    pub(crate) fn record(&self, record: &Record<'_>) {
        let families = &self.families;
        let evidence = record.evidence;
        let series = self.series.load();
        let route = match &evidence.route {
            Some(route) => series.routes.get(&route.name).map_or(&*self.removed, Arc::as_ref),
            None => &*self.none,
        };
        route.record(families, record);
        self.deciding(evidence).observe(record.deciding.as_secs_f64());
        for standing in &evidence.standings {
            if let Some(limit) = series.limits.get(&standing.policy.name) {
                limit.record(families, standing.allowed);
            }
        }
        let cache_families = &families.token_cache;
        match evidence.recalled {
            Some(true) => cache_families.hits.inc(),
            Some(false) => cache_families.misses.inc(),
            None => {}
        }
        if let Some(Rejection::FailedCredentialsSpent(_)) = record.rejection {
            let families = &families.floods;
            families.failed_credentials_throttled.inc();
        }
        let upstream_fault = match record.outcome {
            Outcome::Fault(fault) => Some(fault),
            Outcome::Cut(Cut::UpstreamGone) => Some(Fault::UpstreamBroken),
            Outcome::Cut(_)
            | Outcome::Admitted
            | Outcome::Refused(_)
            | Outcome::IssuerRefused(_)
            | Outcome::WouldRefuse(_) => None,
        };
        if let (Some(fault), Some(route)) = (upstream_fault, &evidence.route)
            && let Some(upstream) = route.upstream()
            && let Some(upstream) = series.upstreams.get(&upstream.name)
        {
            upstream.record(families, fault);
        }
    }

    /// Counts an `X-Forwarded-Proto: https` that was dropped while no proxy is trusted. Whether it is
    /// the first one.
    pub(crate) fn forwarded_proto_ignored(&self) -> bool {
        let families = &self.families.floods;
        families.forwarded_proto_ignored.inc();
        !self.has_ignored_proto.swap(true, Ordering::Relaxed)
    }

    /// The counter of access log lines that were lost; the log counts in it.
    #[must_use]
    pub(crate) fn access_log_dropped(&self) -> IntCounter {
        self.families.access_log_dropped.clone()
    }

    /// The counters of writes to the log of revocations, at zero from the first call on.
    #[must_use]
    pub(crate) fn revocation_writes(&self) -> WriteSeries {
        let families = &self.families.revocations;
        let writes = |result| families.writes.with_label_values(&[result]);
        WriteSeries { ok: writes("ok"), failed: writes("failed") }
    }

    /// The series of connections, at zero from the first call on.
    #[must_use]
    pub(crate) fn connections(&self) -> ConnectionSeries {
        let families = &self.families.floods;
        let refused = |reason| families.connections_refused.with_label_values(&[reason]);
        ConnectionSeries {
            open: families.connections.clone(),
            accepted: families.connections_accepted.clone(),
            refused_total: refused("total"),
            refused_address: refused("address"),
        }
    }

    /// Counts a TLS handshake.
    pub(crate) fn handshake(&self, result: &'static str) {
        let families = &self.families.tls;
        families.handshakes.with_label_values(&[result]).inc();
    }

    /// Counts a connection that begins with a PROXY header, or should.
    pub(crate) fn proxy_header(&self, result: &'static str) {
        let families = &self.families.tls;
        families.proxy_headers.with_label_values(&[result]).inc();
    }

    /// Sets one series for each address: of several listeners with one address (a free port each) the
    /// certificate that expires first counts. A series that is in use never disappears meanwhile.
    fn publish_expiry(&self, snapshot: &Snapshot) {
        let mut expiry: BTreeMap<String, u64> = BTreeMap::new();
        for (listener, tls) in &snapshot.materials.tls {
            let first = expiry.entry(listener.to_string()).or_insert(u64::MAX);
            *first = (*first).min(tls.expires().0);
        }
        let families = &self.families.tls;
        let gauges = &families.certificate_expiry;
        let mut known = self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.iter().filter(|known| !expiry.contains_key(*known)) {
            // Removed by an earlier snapshot, it is gone as well.
            let _ = gauges.remove_label_values(&[gone]);
        }
        for (listener, expires) in &expiry {
            gauges.with_label_values(&[listener]).set(signed(*expires));
        }
        *known = expiry.into_keys().collect();
    }

    /// Makes room for what a new snapshot has and forgets the series of what it no longer has.
    pub(crate) fn publish(&self, snapshot: &Snapshot) {
        let old = self.series.load_full();
        let dynamic = &snapshot.dynamic;
        let names = dynamic.routes.routes().iter().map(|route| &route.name);
        let mut routes = renew(&old.routes, names, RouteSeries::new);
        routes.insert(ROUTE_NONE.into(), Arc::clone(&self.none));
        routes.insert(ROUTE_REMOVED.into(), Arc::clone(&self.removed));
        let names = dynamic.limits.iter().map(|limit| &limit.name);
        let limits = renew(&old.limits, names, LimitSeries::new);
        let names = dynamic.upstreams.iter().map(|upstream| &upstream.name);
        let upstreams = renew(&old.upstreams, names, UpstreamSeries::new);
        let asked = dynamic.issuers.iter().filter(|issuer| issuer.introspection.is_some());
        let asked = asked.map(|issuer| &issuer.settings.name);
        let asked = renew(&old.asked, asked, |issuer| self.expect_introspection(issuer));
        let new = Arc::new(Series { routes, limits, upstreams, asked });
        self.series.store(Arc::clone(&new));
        gone(&old.routes, &new.routes).for_each(|series| series.forget(&self.families));
        gone(&old.limits, &new.limits).for_each(|series| series.forget(&self.families));
        gone(&old.asked, &new.asked).for_each(|issuer| self.forget_introspection(issuer));
        gone(&old.upstreams, &new.upstreams).for_each(|series| series.forget(&self.families));
        let families = &self.families.configuration;
        families.config_generation.set(signed(snapshot.generation));
        self.publish_expiry(snapshot);
        let families = &self.families;
        families.insecure_settings.set(signed(dynamic.insecure.len() as u64));
    }

    /// Counts a reload.
    pub(crate) fn reloaded(&self, report: &ReloadReport) {
        let families = &self.families.configuration;
        families.config_reloads.with_label_values(&[report.result()]).inc();
    }

    /// Takes over how the files in force stand to those on disk.
    pub(crate) fn standing(&self, report: &ReloadReport) {
        let families = &self.families.configuration;
        families.config_last_reload_successful.set(i64::from(report.is_success()));
        if report.is_success() {
            families.config_last_reload_success_timestamp.set(signed(report.time.seconds().0));
        }
        families.restart_needed.set(i64::from(!report.restart_needed.is_empty()));
    }

    /// The text a scrape gets. What changes with time alone is counted now.
    #[must_use]
    pub(crate) fn render(&self, snapshot: &Snapshot, now: UnixTime) -> Vec<u8> {
        let counts = snapshot.gate.keys.count(now);
        let families = &self.families.keys;
        for (state, count) in KEY_STATES.iter().zip(counts) {
            families.api_keys.with_label_values(&[state]).set(signed(count as u64));
        }
        for (kind, count) in Kind::ALL.iter().zip(snapshot.gate.revocations.counts()) {
            let families = &self.families.revocations;
            families.kept.with_label_values(&[kind.as_str()]).set(signed(count as u64));
        }
        let cache_families = &self.families.token_cache;
        cache_families.entries.set(signed(snapshot.gate.tokens.entries() as u64));
        // Counted where no metrics are at hand.
        let log_dropped = &self.families.log_dropped;
        log_dropped.inc_by(crate::serve::observe::log::dropped().saturating_sub(log_dropped.get()));
        self.text()
    }

    /// The media type of [`Self::render`].
    pub(crate) const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to a Vec cannot fail, and the registry only has families with series.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    fn deciding(&self, evidence: &Evidence) -> &Histogram {
        let [token, key, nothing] = &self.deciding;
        match (evidence.presented_jwt, evidence.presented_key) {
            (true, _) => token,
            (false, true) => key,
            (false, false) => nothing,
        }
    }
}

fn renew<'a, T>(
    old: &Named<T>,
    names: impl Iterator<Item = &'a Arc<str>>,
    new: impl Fn(Arc<str>) -> T,
) -> Named<T> {
    let mut named = Named::default();
    for name in names {
        named.entry(Arc::clone(name)).or_insert_with(|| {
            old.get(name).map_or_else(|| Arc::new(new(Arc::clone(name))), Arc::clone)
        });
    }
    named
}

fn gone<'a, T>(old: &'a Named<T>, new: &'a Named<T>) -> impl Iterator<Item = &'a Arc<T>> {
    old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(_, series)| series)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
