//! Every metric family there is: name, help, labels, buckets.
//!
//! Owns the contract's table "Metrics". A family is declared here and recorded in
//! [`crate::serve::observe::metrics`]; nothing else makes one. Labels with constant values come
//! before labels with names from the configuration: the registry hashes label values one after the
//! other without a separator, and no constant is the beginning of another.

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// From half a millisecond, below which the network drowns everything, to the patience of a
/// caller.
const REQUEST_BUCKETS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a look-up to an RSA-4096 signature on a busy machine.
const AUTH_BUCKETS_S: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.0025,
    0.01,
    0.1,
];

/// The families.
#[derive(Debug)]
pub(super) struct Families {
    pub requests: IntCounterVec,
    pub rejections: IntCounterVec,
    pub transfers_cut: IntCounterVec,
    pub request_duration: HistogramVec,
    pub auth_duration: HistogramVec,
    pub upstream_failures: IntCounterVec,
    pub keys: KeyFamilies,
    pub rate_limit_decisions: IntCounterVec,
    pub configuration: ConfigurationFamilies,
    pub insecure_settings: IntGauge,
    pub token_cache: TokenCacheFamilies,
    pub revocations: RevocationFamilies,
    pub access_log_dropped: IntCounter,
    pub log_dropped: IntCounter,
    pub floods: FloodFamilies,
    pub tls: TlsFamilies,
    pub issuer: IssuerFamilies,
    pub build_info: IntGaugeVec,
}

/// The bounds on floods.
#[derive(Debug)]
pub(super) struct FloodFamilies {
    pub connections: IntGauge,
    pub connections_accepted: IntCounter,
    pub connections_refused: IntCounterVec,
    pub failed_credentials_throttled: IntCounter,
    pub forwarded_proto_ignored: IntCounter,
}

impl Families {
    /// Declares every family.
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        Self {
            requests: declare.counters(
                "gatepost_requests_total",
                "Requests by how they ended; code is the status the caller saw, none if it was gone, other if unregistered.",
                &["outcome", "code", "route"],
            ),
            rejections: declare.counters(
                "gatepost_rejections_total",
                "Refused requests by reason.",
                &["reason", "route"],
            ),
            transfers_cut: declare.counters(
                "gatepost_transfers_cut_total",
                "Admitted requests whose transfer ended before it was complete, by reason.",
                &["reason", "route"],
            ),
            request_duration: declare.histograms(
                "gatepost_request_duration_seconds",
                "From the first byte of a request's head to the last of its response.",
                &["route"],
                REQUEST_BUCKETS_S,
            ),
            auth_duration: declare.histograms(
                "gatepost_auth_duration_seconds",
                "Spent on deciding a request, by the kind of credential it presented.",
                &["credential"],
                AUTH_BUCKETS_S,
            ),
            upstream_failures: declare.counters(
                "gatepost_upstream_failures_total",
                "Admitted requests that failed upstream or in the proxy.",
                &["kind", "upstream"],
            ),
            rate_limit_decisions: declare.counters(
                "gatepost_rate_limit_decisions_total",
                "How often each limit let a request through or refused it.",
                &["result", "limit"],
            ),
            keys: KeyFamilies::declare(declare),
            configuration: ConfigurationFamilies::declare(declare),
            insecure_settings: declare
                .gauge("gatepost_insecure_settings", "Settings that weaken a safe default."),
            token_cache: TokenCacheFamilies::declare(declare),
            revocations: RevocationFamilies::declare(declare),
            access_log_dropped: declare.counter(
                "gatepost_access_log_dropped_total",
                "Access log lines that could not be written.",
            ),
            log_dropped: declare.counter(
                "gatepost_log_dropped_total",
                "Lines of the process log that could not be written to standard error.",
            ),
            floods: FloodFamilies::declare(declare),
            tls: TlsFamilies::declare(declare),
            issuer: IssuerFamilies::declare(declare),
            build_info: build_info(declare),
        }
    }
}

/// Published configurations and reloads.
#[derive(Debug)]
pub(super) struct ConfigurationFamilies {
    pub config_generation: IntGauge,
    pub config_last_reload_successful: IntGauge,
    pub config_last_reload_success_timestamp: IntGauge,
    pub config_reloads: IntCounterVec,
    pub restart_needed: IntGauge,
}

impl ConfigurationFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            config_generation: declare
                .gauge("gatepost_config_generation", "Counts published configurations, from 1."),
            config_last_reload_successful: declare.gauge(
                "gatepost_config_last_reload_successful",
                "Whether every file in use is at the version on disk.",
            ),
            config_last_reload_success_timestamp: declare.gauge(
                "gatepost_config_last_reload_success_timestamp_seconds",
                "When every file was last found good.",
            ),
            config_reloads: declare.counters(
                "gatepost_config_reloads_total",
                "Reloads by result; after a failure some file is at an older version than on disk.",
                &["result"],
            ),
            restart_needed: declare
                .gauge("gatepost_restart_needed", "1 while a changed setting needs a restart."),
        }
    }
}

/// Tokens that were verified before.
#[derive(Debug)]
pub(super) struct TokenCacheFamilies {
    pub hits: IntCounter,
    pub misses: IntCounter,
    pub entries: IntGauge,
}

impl TokenCacheFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            hits: declare.counter(
                "gatepost_token_cache_hits_total",
                "Tokens that had been verified before.",
            ),
            misses: declare
                .counter("gatepost_token_cache_misses_total", "Tokens that had to be verified."),
            entries: declare
                .gauge("gatepost_token_cache_entries", "Verified tokens that are kept."),
        }
    }
}

/// API keys, and key sets that are fetched.
#[derive(Debug)]
pub(super) struct KeyFamilies {
    pub api_keys: IntGaugeVec,
    pub jwks_age: IntGaugeVec,
    pub jwks_refreshes: IntCounterVec,
    pub jwks_keys: IntGaugeVec,
    pub introspections: IntCounterVec,
}

impl KeyFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            api_keys: declare.gauges("gatepost_api_keys", "API keys by state.", &["state"]),
            jwks_age: declare.gauges(
                "gatepost_jwks_age_seconds",
                "Since the issuer's keys in force were fetched or confirmed; absent while there are none.",
                &["issuer"],
            ),
            jwks_refreshes: declare.counters(
                "gatepost_jwks_refreshes_total",
                "Refreshes of the issuer's keys by result.",
                &["result", "issuer"],
            ),
            jwks_keys: declare.gauges(
                "gatepost_jwks_keys",
                "Members of the issuer's key set that are used, and that are skipped because they are unfit.",
                &["state", "issuer"],
            ),
            introspections: declare.counters(
                "gatepost_introspections_total",
                "Questions to the issuer about opaque tokens by result.",
                &["result", "issuer"],
            ),
        }
    }
}

fn build_info(declare: &Declare<'_>) -> IntGaugeVec {
    let help = "Always 1; the labels say what is running.";
    declare.gauges("gatepost_build_info", help, &["version"])
}

/// Revocations.
#[derive(Debug)]
pub(super) struct RevocationFamilies {
    pub kept: IntGaugeVec,
    pub writes: IntCounterVec,
}

impl RevocationFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            kept: declare.gauges(
                "gatepost_revocations",
                "Revocations that are kept, of the admin listener and of files, by kind.",
                &["kind"],
            ),
            writes: declare.counters(
                "gatepost_revocation_writes_total",
                "Revocations and their deletions by whether they were synced and acknowledged.",
                &["result"],
            ),
        }
    }
}

/// TLS on listeners.
#[derive(Debug)]
pub(super) struct TlsFamilies {
    pub handshakes: IntCounterVec,
    pub certificate_expiry: IntGaugeVec,
    pub proxy_headers: IntCounterVec,
}

impl TlsFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            handshakes: declare.counters(
                "gatepost_tls_handshakes_total",
                "TLS handshakes of clients by how they ended.",
                &["result"],
            ),
            certificate_expiry: declare.gauges(
                "gatepost_certificate_expiry_seconds",
                "When the first certificate of the listener expires, in seconds since 1970.",
                &["listener"],
            ),
            proxy_headers: declare.counters(
                "gatepost_proxy_headers_total",
                "Connections of listeners with proxy_protocol by how their header was read.",
                &["result"],
            ),
        }
    }
}

impl FloodFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            connections: declare
                .gauge("gatepost_connections", "Connections of clients that are open."),
            connections_accepted: declare.counter(
                "gatepost_connections_accepted_total",
                "Connections of clients that were opened and served.",
            ),
            connections_refused: declare.counters(
                "gatepost_connections_refused_total",
                "Connections that were closed at once because a cap was reached.",
                &["reason"],
            ),
            failed_credentials_throttled: declare.counter(
                "gatepost_failed_credentials_throttled_total",
                "Requests whose credential was not looked at: their address had sent too many bad ones.",
            ),
            forwarded_proto_ignored: declare.counter(
                "gatepost_forwarded_proto_ignored_total",
                "X-Forwarded-Proto: https from peers on Unix sockets and private addresses, dropped because trusted_proxies is empty.",
            ),
        }
    }
}

/// A commit takes 0.5 ms on a good disk, and seconds on a bad one.
const STORE_BUCKETS_S: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The families of the issuer.
#[derive(Debug)]
pub(super) struct IssuerFamilies {
    pub tokens_issued: IntCounterVec,
    pub authorizations: IntCounterVec,
    pub sign_ins: IntCounterVec,
    pub credentials: IntGaugeVec,
    pub signing_keys: IntGaugeVec,
    /// Without labels: absent while there is no store.
    pub store_up: IntGaugeVec,
    pub store_duration: HistogramVec,
    pub store_errors: IntCounterVec,
    pub store_lag: IntGaugeVec,
    /// Without labels: absent while there is no store.
    pub clock_steps: IntCounterVec,
}

impl IssuerFamilies {
    fn declare(declare: &Declare<'_>) -> Self {
        Self {
            tokens_issued: declare.counters(
                "gatepost_tokens_issued_total",
                "Token requests by grant and result: ok, or the error code of the answer.",
                &["grant", "result"],
            ),
            authorizations: declare.counters(
                "gatepost_authorizations_total",
                "Authorization requests by result: ok, page for a request that a person is asked about, or the error code.",
                &["result"],
            ),
            sign_ins: declare.counters(
                "gatepost_sign_ins_total",
                "Attempts of people to sign in by method and result: ok, or the error code.",
                &["method", "result"],
            ),
            credentials: declare.gauges(
                "gatepost_credentials",
                "API keys and personal access tokens of the store by state.",
                &["kind", "state"],
            ),
            signing_keys: declare.gauges(
                "gatepost_signing_keys",
                "Signing keys that are published, by state.",
                &["state"],
            ),
            store_up: declare.gauges(
                "gatepost_store_up",
                "1 while the store answers, 0 while it does not.",
                &[],
            ),
            store_duration: declare.histograms(
                "gatepost_store_duration_seconds",
                "Transactions of the store, from the decision to the commit.",
                &["intent"],
                STORE_BUCKETS_S,
            ),
            store_errors: declare.counters(
                "gatepost_store_errors_total",
                "Transactions that were not stored.",
                &["intent"],
            ),
            store_lag: declare.gauges(
                "gatepost_store_lag_seconds",
                "Since the changes of other processes were last read.",
                &[],
            ),
            clock_steps: declare.counters(
                "gatepost_store_clock_steps_total",
                "Steps of the wall clock by more than five minutes.",
                &[],
            ),
        }
    }
}

/// Declares in a registry.
pub(super) struct Declare<'a>(pub(super) &'a Registry);

impl Declare<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels))
    }

    fn add<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        let family =
            family.expect("names, labels and buckets above are constants that a test checks");
        self.0
            .register(Box::new(family.clone()))
            .expect("each name above is declared once, which a test checks");
        family
    }
}
