//! What a reload came to, for the log, the metrics and whoever asked for it.

use crate::config::Mistake;
use crate::time::UnixMillis;

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
    pub const RESULTS: [&'static str; 4] = ["published", "unchanged", "partial", "refused"];

    /// The outcome in one word, as the metric label `result`.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match (self.mistakes.is_empty(), self.published) {
            (true, true) => "published",
            (true, false) => "unchanged",
            (false, true) => "partial",
            (false, false) => "refused",
        }
    }

    /// Whether every file is in force as it is on disk.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.mistakes.is_empty()
    }
}
