//! The route table: from host, method and path to one route.
//!
//! Owns the order of the look-ups: host and path, then method, then every other reading of the
//! path. Never reads a header and never looks at a credential.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;

use crate::decide::policy::host::split_port;
use crate::decide::policy::index::{Index, Reading, SlotId};
use crate::decide::policy::{Route, conflict};
use crate::decide::request::path::view::{self, Source, TEXTS_MAX, Texts};
use crate::decide::request::path::{CanonicalPath, has_dot_segment, remove_dot_segments};

/// A request without a matching route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMiss {
    /// No pattern matches host and path.
    Unknown,
    /// A pattern matches the path and the host without its port; none matches the port.
    Port {
        /// The host, with the port.
        host: Box<str>,
    },
    /// The most specific host and path have routes, but none for this method.
    Method {
        /// The methods these routes accept, sorted, for the `Allow` field.
        allow: String,
    },
    /// The path has an encoded slash, and no route for it accepts one.
    EncodedSlash,
    /// Another reading of the path matches a route with different access, or one that
    /// enforces where this one observes.
    Ambiguous {
        /// The other reading.
        view: &'static str,
    },
}

/// Two routes that tie, or a host-bound route that requires less than a hostless one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMistake {
    /// Position of the offending route in the table.
    pub route: usize,
    /// Position of the other route.
    pub other: usize,
    /// The mistake and the remedy.
    pub message: String,
}

/// The most bytes that all readings of one path may take together. A usual path has a handful of
/// them; only a long one built entirely of ambiguous parts comes near, and is refused: readings
/// that were not looked up were not checked.
const READING_BYTES_MAX: usize = 64 * 1024;

/// All routes, indexed: immutable, compiled into a snapshot.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    index: Index,
}

impl RouteTable {
    /// Indexes routes and finds conflicts between them.
    ///
    /// # Errors
    /// Every [`RouteMistake`].
    pub fn new(
        routes: Vec<Arc<Route>>,
        insecure_host_selected: bool,
    ) -> Result<Self, Vec<RouteMistake>> {
        let mut index = Index::default();
        for (at, route) in routes.iter().enumerate() {
            if route.hosts.is_empty() {
                index.insert(None, &route.path, at);
            }
            for host in &route.hosts {
                index.insert(Some(host), &route.path, at);
            }
        }
        let mut mistakes = conflict::ties(&routes, &index);
        if !insecure_host_selected {
            mistakes.extend(conflict::weaker_hosts(&routes, &index));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self { routes, index })
    }

    /// The routes in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Finds the route of a request: host and path first, then the method among the routes of
    /// exactly that host and path; then looks up every other reading of the path. `host` is in the
    /// form of [`crate::decide::policy::normalize_host`].
    ///
    /// # Errors
    /// [`RouteMiss`].
    pub fn find(
        &self,
        host: Option<&str>,
        method: &Method,
        path: &CanonicalPath<'_>,
    ) -> Result<&Arc<Route>, RouteMiss> {
        let text = view::upper_hex(path.as_str());
        let slot = self.index.find(host, &text);
        let may_take = |slot| self.routes_of(slot).any(|route| route.insecure_path.encoded_slash);
        if path.has_encoded_slash() && !slot.is_some_and(may_take) {
            return Err(RouteMiss::EncodedSlash);
        }
        let slot = slot.ok_or_else(|| self.unknown(host, &text))?;
        let route = self
            .routes_of(slot)
            .find(|route| route.methods.covers(method))
            .ok_or_else(|| RouteMiss::Method { allow: self.allow(slot) })?;
        if path.has_encoded_slash() && !route.insecure_path.encoded_slash {
            return Err(RouteMiss::EncodedSlash);
        }
        if !path.is_ordinary() || self.index.is_folding() {
            let raw = path.raw_if_different().map(view::upper_hex);
            let mut readings = OtherReadings::new(self, host, method, route);
            readings.refuse_meeting(&text)?;
            raw.map_or(Ok(()), |raw| readings.refuse_meeting(&raw))?;
        }
        Ok(route)
    }

    /// The reason why no slot fits: perhaps the port alone does not.
    fn unknown(&self, host: Option<&str>, text: &str) -> RouteMiss {
        let Some(name) = host.and_then(split_port) else { return RouteMiss::Unknown };
        match self.index.find(Some(name), text) {
            Some(_) => RouteMiss::Port { host: host.unwrap_or_default().into() },
            None => RouteMiss::Unknown,
        }
    }

    fn routes_of(&self, slot: SlotId) -> impl Iterator<Item = &Arc<Route>> {
        self.index.slot(slot).iter().map(|&at| &self.routes[at])
    }

    fn allow(&self, slot: SlotId) -> String {
        let methods: BTreeSet<&str> = self
            .routes_of(slot)
            .flat_map(|route| route.methods.allowed())
            .map(Method::as_str)
            .collect();
        methods.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// The result of looking up one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadingMatch {
    /// No route, or none with this method.
    Nothing,
    /// Routes that admit the same callers to the same kind of target.
    SameAccess,
    /// A route that admits other callers, or an endpoint of the issuer.
    OtherAccess,
}

/// The other readings of one request's path, and their look-ups.
struct OtherReadings<'a> {
    table: &'a RouteTable,
    host: Option<&'a str>,
    method: &'a Method,
    applied: &'a Route,
    bytes_left: usize,
    text: String,
    slots: Vec<SlotId>,
}

impl<'a> OtherReadings<'a> {
    fn new(
        table: &'a RouteTable,
        host: Option<&'a str>,
        method: &'a Method,
        applied: &'a Route,
    ) -> Self {
        let bytes_left = READING_BYTES_MAX;
        Self { table, host, method, applied, bytes_left, text: String::new(), slots: Vec::new() }
    }

    /// Looks up every reading of `path`, except those that cannot differ from another.
    fn refuse_meeting(&mut self, path: &str) -> Result<(), RouteMiss> {
        let permitted = self.applied.insecure_path;
        let mut spared = 0;
        spared |= if permitted.double_slash { view::MERGE } else { 0 };
        spared |= if permitted.semicolon { view::CUT } else { 0 };
        let texts = Texts::of(path);
        // For each text, a bit for each kind of source it was looked up for.
        let mut asked = [0_u32; TEXTS_MAX];
        for source in Source::ALL.into_iter().filter(|one| !(permitted.semicolon && one.cuts())) {
            let number = texts.number(source);
            let bit = 1 << self.table.index.alike(source);
            if asked[number] & bit != 0 {
                continue;
            }
            asked[number] |= bit;
            self.refuse_meeting_from(source, texts.text(number), spared)?;
        }
        Ok(())
    }

    /// Looks up every reading of one text. Where nothing folds the text, only patterns are folded,
    /// and the look-up costs no more than the depth of the tree.
    fn refuse_meeting_from(
        &mut self,
        source: Source,
        text: &str,
        spared: u8,
    ) -> Result<(), RouteMiss> {
        let own = view::marks(text) & !spared;
        let marks = (own | self.table.index.marks()) & !spared;
        let is_plain = !has_dot_segment(text) && !text.starts_with("//");
        for mask in (0..view::MASKS).filter(|mask| mask & !marks == 0) {
            let reading = Reading { source, mask };
            let is_meeting = if is_plain && mask & own == 0 {
                self.meet(text, reading) == ReadingMatch::OtherAccess
            } else {
                self.read(reading, text, mask & own & view::QUERY != 0)?
            };
            if is_meeting {
                return Err(RouteMiss::Ambiguous { view: view::name(source, mask) });
            }
        }
        Ok(())
    }

    /// Returns whether one reading meets other access, with dot segments as they are and removed.
    ///
    /// A reading that climbs, or that `is_cut` short, leaves the route: where it matches no route,
    /// a direct request is denied, and nothing is known above the root.
    fn read(&mut self, reading: Reading, source: &str, is_cut: bool) -> Result<bool, RouteMiss> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(source.len())
            .ok_or(RouteMiss::Ambiguous { view: "too_many_readings" })?;
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        view::fold(source, reading.mask, &mut text);
        let met = self.meet(&text, reading);
        let has_dots = has_dot_segment(&text);
        let mut is_meeting = met == ReadingMatch::OtherAccess;
        is_meeting |= is_cut && !has_dots && met != ReadingMatch::SameAccess;
        is_meeting |= !is_meeting && self.meets_behind_authority(&text, reading)?;
        if has_dots && !is_meeting {
            is_meeting = match remove_dot_segments(&text) {
                None => true,
                Some(removed) => {
                    self.meet(&removed, reading) != ReadingMatch::SameAccess
                        || self.meets_behind_authority(&removed, reading)?
                }
            };
            if let Some(cut) = view::cut_dot_segments(&text, reading.mask) {
                is_meeting |= self.meet(&cut, reading) == ReadingMatch::OtherAccess
                    || self.meets_behind_authority(&cut, reading)?;
            }
        }
        self.text = text;
        Ok(is_meeting)
    }

    /// Returns whether the rest after a first `//host` meets other access.
    fn meets_behind_authority(&mut self, text: &str, reading: Reading) -> Result<bool, RouteMiss> {
        if self.applied.insecure_path.double_slash {
            return Ok(false);
        }
        let Some(path) = view::without_authority(text) else { return Ok(false) };
        let mut merged = String::new();
        view::fold(path, view::MERGE, &mut merged);
        let is_meeting = [path, &*merged].into_iter().any(|path| {
            let removed = has_dot_segment(path).then(|| remove_dot_segments(path));
            self.meet(path, reading) == ReadingMatch::OtherAccess
                || removed.is_some_and(|removed| {
                    removed.is_none_or(|removed| {
                        self.meet(&removed, reading) == ReadingMatch::OtherAccess
                    })
                })
        });
        if is_meeting { Err(RouteMiss::Ambiguous { view: "authority" }) } else { Ok(false) }
    }

    fn meet(&mut self, text: &str, reading: Reading) -> ReadingMatch {
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        self.table.index.find_folded(self.host, text, reading, &mut slots);
        let mut met = slots
            .iter()
            .flat_map(|&slot| self.table.routes_of(slot))
            .filter(|met| met.methods.covers(self.method));
        let meeting = match met.next() {
            None => ReadingMatch::Nothing,
            Some(first) => {
                let differs = |met: &Arc<Route>| {
                    met.access != self.applied.access
                        || met.endpoint() != self.applied.endpoint()
                        || self.applied.is_looser_than(met)
                };
                let is_other = differs(first) || met.any(differs);
                if is_other { ReadingMatch::OtherAccess } else { ReadingMatch::SameAccess }
            }
        };
        self.slots = slots;
        meeting
    }
}

#[cfg(test)]
mod tests;
