//! Results of reloads and key set refreshes, for the log, the metrics and the admin listener.
//!
//! Owns their words and the log lines of a reload. Never reloads or fetches.

use crate::base::clock::UnixMillis;
use crate::config::Mistake;

/// The outcome of one reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// When it was done.
    pub time: UnixMillis,
    /// The generation in force now.
    pub generation: u64,
    /// Whether that generation is new.
    pub published: bool,
    /// Why files are in force at an older version than on disk; empty when none is.
    pub mistakes: Vec<Mistake>,
    /// The settings that changed on disk and wait for a restart.
    pub restart_needed: Vec<&'static str>,
}

impl ReloadReport {
    /// Every word [`Self::result`] can say.
    pub const RESULTS: [&'static str; 2] = ["success", "failure"];

    /// Whether it succeeded, as the metric label `result`.
    #[must_use]
    pub fn result(&self) -> &'static str {
        if self.is_success() { "success" } else { "failure" }
    }

    /// Whether every file is in force as it is on disk.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.mistakes.is_empty()
    }
}

impl ReloadReport {
    /// Whether anything came of it that the report before did not say.
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
            tracing::warn!(settings, "changed settings wait for a restart");
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

/// How a refresh ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshResult {
    /// Other keys are in force.
    Changed,
    /// The same keys were confirmed.
    Unchanged,
    /// It failed; the keys are as before.
    Failure,
}

impl RefreshResult {
    /// Every result, for metrics declared in advance.
    pub const ALL: [Self; 3] = [Self::Changed, Self::Unchanged, Self::Failure];

    /// The metric label `result`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failure => "failure",
        }
    }
}

/// Status of a key server, for `/status` and the metrics.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// When the keys in force were fetched or confirmed.
    pub fetched: Option<UnixMillis>,
    /// The last refresh.
    pub last: Option<LastRefresh>,
    /// When the next one is due.
    pub next: Option<UnixMillis>,
    /// How many keys are in force.
    pub keys: usize,
    /// Members of the set that are not used, and why.
    pub skipped: Vec<String>,
}

/// A refresh that is over.
#[derive(Clone, Debug)]
pub struct LastRefresh {
    /// When.
    pub time: UnixMillis,
    /// How it ended.
    pub result: RefreshResult,
    /// Why it failed.
    pub error: Option<String>,
}
