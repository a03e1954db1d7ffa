//! Conflicts between routes.
//!
//! Owns the two mistakes that only the whole list of routes shows: two routes that tie, and a
//! host-bound route that requires less than a hostless one. The `Host` field is chosen by the
//! caller, so the latter would let a caller pick the weaker requirement.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use http::Method;

use crate::decide::policy::index::{Common, HOSTLESS, Index, NodeId, SlotId};
use crate::decide::policy::pattern::Segment;
use crate::decide::policy::upstream::UpstreamAddress;
use crate::decide::policy::{Methods, PathPattern, Route, RouteMistake};

/// Every pair of routes that tie: the same host and path pattern and a common method.
pub(super) fn ties(routes: &[Arc<Route>], index: &Index) -> Vec<RouteMistake> {
    let mut mistakes = Vec::new();
    let mut reported = HashSet::new();
    for slot in index.slots() {
        for (route, other) in ties_of(slot, routes) {
            if reported.insert((route, other)) {
                mistakes.push(RouteMistake {
                    route,
                    other,
                    message: format!(
                        "ties with route {:?}: the same host, path {} and a common method; give them different methods or paths, or remove one",
                        routes[other].name,
                        routes[route].path.as_str(),
                    ),
                });
            }
        }
    }
    mistakes
}

/// The ties of one slot, each later route with the first it ties with.
fn ties_of(slot: &[usize], routes: &[Arc<Route>]) -> Vec<(usize, usize)> {
    let mut ties = Vec::new();
    let mut takes_any: Option<usize> = None;
    let mut takes: HashMap<&Method, usize> = HashMap::new();
    for &route in slot {
        let earlier = match &routes[route].methods {
            Methods::Any => {
                let earlier = slot.first().copied().filter(|&first| first != route);
                takes_any.get_or_insert(route);
                earlier
            }
            Methods::Only(_) => {
                let mut earlier = takes_any;
                for method in routes[route].methods.allowed() {
                    let first = *takes.entry(method).or_insert(route);
                    earlier = earlier.or((first != route).then_some(first));
                }
                earlier
            }
        };
        ties.extend(earlier.map(|earlier| (route, earlier)));
    }
    ties
}

/// Host-bound routes that require less than a hostless route over the same path, method and
/// upstream; one mistake for each such route.
///
/// Patterns are compared once for each distinct pattern of host-bound routes, and requirements once
/// for each kind of route it meets, so that a thousand tenants with `/**` cost little.
pub(super) fn weaker_hosts(routes: &[Arc<Route>], index: &Index) -> Vec<RouteMistake> {
    let path = number(routes.iter().map(|route| &route.path));
    let kind =
        number(routes.iter().map(|route| {
            (upstream_key(route), &route.methods, &route.access, route.insecure_observe)
        }));
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); routes.len()];
    for (at, route) in routes.iter().enumerate() {
        if !route.hosts.is_empty() {
            groups[path[at]].push(at);
        }
    }
    let mut mistakes = Vec::new();
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let meetings = Search::of(&routes[group[0]].path, index);
        let mut kinds: BTreeMap<usize, Vec<(usize, &Overlap<'_>)>> = BTreeMap::new();
        for meeting in &meetings {
            for &other in index.slot(meeting.slot) {
                kinds.entry(kind[other]).or_default().push((other, meeting));
            }
        }
        for &at in group {
            let weaker_than = kinds.values().filter(|met| offends(&routes[at], &routes[met[0].0]));
            let other = weaker_than
                .flatten()
                .filter(|(_, meeting)| wins(&routes[at], meeting, routes, index))
                .map(|(other, _)| *other)
                .min();
            mistakes.extend(other.map(|other| weaker_host(routes, at, other)));
        }
    }
    mistakes.sort_by_key(|mistake| mistake.route);
    mistakes
}

/// Returns whether `bound` requires less than a hostless route, where their paths meet.
fn offends(bound: &Route, hostless: &Route) -> bool {
    upstream_key(bound).is_some()
        && upstream_key(bound) == upstream_key(hostless)
        && bound.methods.overlap(&hostless.methods)
        && (!bound.access.demands_at_least(&hostless.access) || bound.is_looser_than(hostless))
}

/// Returns whether requests for a host of `bound` match its pattern where it meets the other, and
/// not a more specific pattern of that host.
fn wins(bound: &Route, meeting: &Overlap<'_>, routes: &[Arc<Route>], index: &Index) -> bool {
    let mut roots = bound.hosts.iter().filter_map(|host| index.root_of(host));
    roots.any(|root| {
        let slot = index.cover(root, &meeting.common, meeting.is_deep);
        let mut takers = slot.into_iter().flat_map(|slot| index.slot(slot));
        takers.any(|&route| routes[route].path == bound.path)
    })
}

fn weaker_host(routes: &[Arc<Route>], route: usize, other: usize) -> RouteMistake {
    let message = format!(
        "demands less than route {:?} ({}), which takes the same requests of every other host to the same upstream, and callers choose the host they name; demand at least as much, or set `insecure_host_selected: true`",
        routes[other].name,
        routes[other].path.as_str(),
    );
    RouteMistake { route, other, message }
}

/// The upstream of a route's requests, independent of its name.
fn upstream_key(route: &Route) -> Option<(&str, Option<u16>)> {
    Some(match &route.upstream()?.address {
        UpstreamAddress::Tcp { host, port } => (host, Some(*port)),
        UpstreamAddress::Unix(path) => (path, None),
    })
}

/// Numbers for keys, the same for equal ones, below their count.
fn number<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    keys.map(|key| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    })
    .collect()
}

/// A point where a host-bound pattern meets a hostless one that is the most specific there.
struct Overlap<'a> {
    slot: SlotId,
    /// The pattern of all paths that both match.
    common: Common<'a>,
    is_deep: bool,
}

/// Walks the hostless patterns that have a path in common with a host-bound one.
struct Search<'a> {
    own: &'a PathPattern,
    index: &'a Index,
    meetings: Vec<Overlap<'a>>,
}

impl<'a> Search<'a> {
    fn of(own: &'a PathPattern, index: &'a Index) -> Vec<Overlap<'a>> {
        let mut search = Self { own, index, meetings: Vec::new() };
        search.below(HOSTLESS, &mut Vec::new());
        search.meetings
    }

    /// `prefix` is what both patterns match up to `node`. The recursion is as deep as the longest
    /// pattern.
    fn below(&mut self, node: NodeId, prefix: &mut Common<'a>) {
        let node = self.index.node(node);
        let own = self.own.segments();
        let is_past_end = prefix.len() >= own.len();
        if let Some(slot) = node.deep {
            let rest = own.get(prefix.len()..).unwrap_or_default();
            let common = prefix.iter().copied().chain(rest.iter().map(Segment::literal));
            self.meet(slot, common.collect(), self.own.is_deep());
        }
        if let Some(slot) = node.exact.filter(|_| is_past_end) {
            self.meet(slot, prefix.clone(), false);
        }
        if is_past_end && !self.own.is_deep() {
            return;
        }
        match own.get(prefix.len()) {
            Some(Segment::Literal(literal)) => {
                for &child in node.literals.get(literal).into_iter().chain(&node.any) {
                    self.step(child, prefix, Some(literal));
                }
            }
            Some(Segment::Any) | None => {
                for (literal, &child) in &node.literals {
                    self.step(child, prefix, Some(literal));
                }
                if let Some(child) = node.any {
                    self.step(child, prefix, None);
                }
            }
        }
    }

    fn step(&mut self, child: NodeId, prefix: &mut Common<'a>, both: Option<&'a str>) {
        prefix.push(both);
        self.below(child, prefix);
        prefix.pop();
    }

    fn meet(&mut self, slot: SlotId, common: Common<'a>, is_deep: bool) {
        if self.index.cover(HOSTLESS, &common, is_deep) == Some(slot) {
            self.meetings.push(Overlap { slot, common, is_deep });
        }
    }
}
