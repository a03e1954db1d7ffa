//! What a reload came to, for the log, the metrics and whoever asked for it.

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
    pub(super) fn is_news_after(&self, last: &Self) -> bool {
        self.published
            || self.mistakes != last.mistakes
            || self.restart_needed != last.restart_needed
    }

    /// One line for the reload, one for each mistake.
    pub(super) fn log(&self) {
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
