//! The series of one route, of one limit and of one upstream, found without asking the registry.
//!
//! Owns handles: the registry hashes labels and takes a lock for each look-up, so each series is
//! looked up once, when it is first needed, and kept. A route without requests has no series.

use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{Histogram, IntCounter};

use crate::decide::rejection::{Fault, Reason};
use crate::issue::error::ErrorCode;
use crate::serve::observe::metrics::code;
use crate::serve::observe::metrics::families::Families;
use crate::serve::observe::record::{Cut, Outcome, Record};

/// The series of one route.
#[derive(Debug)]
pub(super) struct RouteSeries {
    route: Arc<str>,
    requests: [OnceLock<Box<[OnceLock<IntCounter>]>>; Outcome::WORDS.len()],
    rejections: OnceLock<Box<[OnceLock<IntCounter>]>>,
    cuts: [OnceLock<IntCounter>; Cut::ALL.len()],
    duration: OnceLock<Histogram>,
}

impl RouteSeries {
    pub(super) fn new(route: Arc<str>) -> Self {
        Self {
            route,
            requests: Default::default(),
            rejections: OnceLock::new(),
            cuts: Default::default(),
            duration: OnceLock::new(),
        }
    }

    pub(super) fn record(&self, families: &Families, record: &Record<'_>) {
        self.request(families, record.outcome, record.status).inc();
        if let Outcome::Refused(reason) | Outcome::WouldRefuse(reason) = record.outcome {
            self.rejection(families, reason).inc();
        }
        if let Outcome::IssuerRefused(code) = record.outcome {
            // A slow path: each of these requests ran an endpoint.
            families.rejections.with_label_values(&[code.reason(), &self.route]).inc();
        }
        if let Outcome::Cut(cut) = record.outcome {
            self.cut(families, cut).inc();
        }
        self.duration(families).observe(record.total.as_secs_f64());
    }

    fn request(&self, families: &Families, outcome: Outcome, status: u16) -> &IntCounter {
        let codes = self.requests[outcome.index()].get_or_init(|| cells(code::COUNT));
        let index = code::index(status);
        codes[index].get_or_init(|| {
            let code = code::label(index);
            families.requests.with_label_values(&[outcome.as_str(), &code, &self.route])
        })
    }

    fn rejection(&self, families: &Families, reason: Reason) -> &IntCounter {
        let reasons = self.rejections.get_or_init(|| cells(Reason::ALL.len()));
        // The list has every reason in the order of its declaration.
        reasons[reason as usize]
            .get_or_init(|| families.rejections.with_label_values(&[reason.as_str(), &self.route]))
    }

    fn cut(&self, families: &Families, cut: Cut) -> &IntCounter {
        self.cuts[cut as usize]
            .get_or_init(|| families.transfers_cut.with_label_values(&[cut.as_str(), &self.route]))
    }

    fn duration(&self, families: &Families) -> &Histogram {
        self.duration.get_or_init(|| families.request_duration.with_label_values(&[&*self.route]))
    }

    /// Takes every series of the route out of the registry.
    pub(super) fn forget(&self, families: &Families) {
        for outcome in Outcome::WORDS {
            for index in 0..code::COUNT {
                forget(&families.requests, &[outcome, &code::label(index), &self.route]);
            }
        }
        for reason in Reason::ALL {
            forget(&families.rejections, &[reason.as_str(), &self.route]);
        }
        for code in ErrorCode::ALL {
            forget(&families.rejections, &[code.reason(), &self.route]);
        }
        for cut in Cut::ALL {
            forget(&families.transfers_cut, &[cut.as_str(), &self.route]);
        }
        forget(&families.request_duration, &[&self.route]);
    }
}

/// The series of one limit.
#[derive(Debug)]
pub(super) struct LimitSeries {
    limit: Arc<str>,
    decisions: [OnceLock<IntCounter>; 2],
}

impl LimitSeries {
    const RESULTS: [&'static str; 2] = ["refused", "allowed"];

    pub(super) fn new(limit: Arc<str>) -> Self {
        Self { limit, decisions: Default::default() }
    }

    pub(super) fn record(&self, families: &Families, allowed: bool) {
        let index = usize::from(allowed);
        let series = self.decisions[index].get_or_init(|| {
            families.rate_limit_decisions.with_label_values(&[Self::RESULTS[index], &self.limit])
        });
        series.inc();
    }

    pub(super) fn forget(&self, families: &Families) {
        for result in Self::RESULTS {
            forget(&families.rate_limit_decisions, &[result, &self.limit]);
        }
    }
}

/// The series of one upstream.
#[derive(Debug)]
pub(super) struct UpstreamSeries {
    upstream: Arc<str>,
    failures: [OnceLock<IntCounter>; Fault::ALL.len()],
}

impl UpstreamSeries {
    pub(super) fn new(upstream: Arc<str>) -> Self {
        Self { upstream, failures: Default::default() }
    }

    pub(super) fn record(&self, families: &Families, fault: Fault) {
        let series = self.failures[fault.index()].get_or_init(|| {
            families.upstream_failures.with_label_values(&[fault.as_str(), &self.upstream])
        });
        series.inc();
    }

    pub(super) fn forget(&self, families: &Families) {
        for fault in Fault::ALL {
            forget(&families.upstream_failures, &[fault.as_str(), &self.upstream]);
        }
    }
}

fn cells(count: usize) -> Box<[OnceLock<IntCounter>]> {
    std::iter::repeat_with(OnceLock::new).take(count).collect()
}

fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, labels: &[&str])
where
    MetricVec<B>: Collector,
{
    // An error says that there is no such series, which is what is wanted.
    let _ = family.remove_label_values(labels);
}
