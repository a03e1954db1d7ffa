//! `end_streams` of a route.
//!
//! Owns its entries. Never ends a stream: that is the task of the exchange.

use std::time::Duration;

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Lasting, NestedAs, Truth};
use crate::decide::policy::EndStreams;

/// `end_streams`.
pub(super) static END_STREAMS: Key<NestedAs<EndStreams>> = Key::new(
    "end_streams",
    NestedAs(&SECTION, end_streams),
    "upgraded connections and event streams end with their credential; absent means that they go on",
);

static SECTION: Section = Section::new("end_streams", &[&AFTER_EXPIRY, &ON_REVOCATION]);

static AFTER_EXPIRY: Key<Lasting> = Key::new(
    "after_expiry",
    Lasting(Duration::ZERO, Duration::from_hours(24 * 366)),
    "the time that a stream goes on after its credential has expired",
)
.or("30s");

static ON_REVOCATION: Key<Truth> = Key::new(
    "on_revocation",
    Truth,
    "end a stream whose credential would be refused now for another reason than its age",
)
.or("true");

fn end_streams(section: &Mapping<'_>) -> Option<EndStreams> {
    Some(EndStreams {
        after_expiry: section.read(&AFTER_EXPIRY)?,
        on_revocation: section.read(&ON_REVOCATION)?,
    })
}
