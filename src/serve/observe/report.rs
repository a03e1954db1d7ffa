//! Results of reloads and key set refreshes, for the log, the metrics and the admin listener.
//!
//! Owns their words and the log lines of a reload. Never reloads or fetches.

use thiserror::Error;

use crate::base::clock::UnixMillis;
use crate::config::Mistake;

/// The outcome of one reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReloadReport {
    /// The time of the reload.
    pub time: UnixMillis,
    /// The generation in force now.
    pub generation: u64,
    /// True if the reload put that generation into force.
    pub published: bool,
    /// The reasons why files are in force at an older version than on disk.
    pub mistakes: Vec<Mistake>,
    /// The settings that changed on disk and need a restart.
    pub restart_needed: Vec<&'static str>,
}

impl ReloadReport {
    /// Every value of [`Self::result`].
    pub(crate) const RESULTS: [&'static str; 2] = ["success", "failure"];

    /// The metric label `result`.
    #[must_use]
    pub(crate) fn result(&self) -> &'static str {
        if self.is_success() { "success" } else { "failure" }
    }

    /// Returns whether every file is in force as it is on disk.
    #[must_use]
    pub(crate) fn is_success(&self) -> bool {
        self.mistakes.is_empty()
    }
}

impl ReloadReport {
    /// Returns whether it differs from the last report.
    pub(in crate::serve) fn is_news_after(&self, last: &Self) -> bool {
        self.published
            || self.mistakes != last.mistakes
            || self.restart_needed != last.restart_needed
    }

    /// One line for the reload, one for each mistake.
    pub(in crate::serve) fn log(&self) {
        let (generation, published) = (self.generation, self.published);
        for mistake in &self.mistakes {
            tracing::error!("{mistake}");
        }
        if !self.restart_needed.is_empty() {
            let settings = self.restart_needed.join(", ");
            tracing::warn!(settings, "changed settings need a restart");
        }
        if self.is_success() {
            tracing::info!(generation, published, "reloaded");
        } else {
            let mistakes = self.mistakes.len();
            tracing::error!(
                generation,
                published,
                mistakes,
                "reloaded: files with mistakes stay at their last good version"
            );
        }
    }
}

/// The result of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshResult {
    /// Other keys are in force.
    Changed,
    /// The same keys were confirmed.
    Unchanged,
    /// It failed; the keys are as before.
    Failure,
}

impl RefreshResult {
    /// Every result, for metrics declared in advance.
    pub(crate) const ALL: [Self; 3] = [Self::Changed, Self::Unchanged, Self::Failure];

    /// The metric label `result`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failure => "failure",
        }
    }
}

/// Status of a key server, for `/status` and the metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The time the keys in force were fetched or confirmed.
    pub fetched: Option<UnixMillis>,
    /// The last refresh.
    pub last: Option<LastRefresh>,
    /// The time of the next refresh.
    pub next: Option<UnixMillis>,
    /// The number of keys in force.
    pub keys: usize,
    /// The unused members of the set, with reasons.
    pub skipped: Vec<String>,
}

/// A finished refresh.
#[derive(Clone, Debug)]
pub(crate) struct LastRefresh {
    /// The time it ended.
    pub time: UnixMillis,
    /// Its result.
    pub result: RefreshResult,
    /// The error of a failure.
    pub error: Option<String>,
}

/// A refresh that an operator requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refreshed {
    /// Its result.
    pub result: RefreshResult,
    /// The number of keys in force.
    pub keys: usize,
}

/// The reason why a requested refresh did not succeed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum NoRefresh {
    /// No issuer has this name.
    #[error("unknown issuer: no issuer of this name is configured")]
    Unknown,
    /// The keys of the named issuer are not fetched.
    #[error("the keys of this issuer are read from a file: `gatepost reload` reads them again")]
    NotFetched,
    /// Too many requests at a time, or the configuration changed meanwhile.
    #[error("refresh aborted, retry")]
    Aborted,
    /// It failed; the keys in force stay.
    #[error("{0}")]
    Failed(String),
}
