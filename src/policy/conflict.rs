//! Routes that contradict each other.
//!
//! Owns the two mistakes that only show when all routes are seen together: two routes that tie,
//! and a host-bound route that demands less than a hostless one. The `Host` field is the
//! caller's to choose, so the latter would let a caller pick the weaker demand.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use http::Method;

use crate::policy::index::{Common, HOSTLESS, Index, NodeId, SlotId};
use crate::policy::pattern::Segment;
use crate::policy::{Access, Methods, PathPattern, Route, RouteMistake};
use crate::upstream_settings::UpstreamAddress;

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

/// Host-bound routes that demand less than a hostless route over the same path, method and
/// upstream; one mistake for each such route. Routes of a kind (a tenant each, say) are searched
/// for once when there is nothing to find.
pub(super) fn weaker_hosts(routes: &[Arc<Route>], index: &Index) -> Vec<RouteMistake> {
    let access = number(routes.iter().map(|route| &route.access));
    let upstream = number(routes.iter().map(|route| upstream_key(route)));
    let kind = number(
        routes
            .iter()
            .enumerate()
            .map(|(at, route)| (&route.path, &route.methods, upstream[at], access[at])),
    );
    let mut hostless: Vec<Option<&Access>> = vec![None; routes.len()];
    for (at, route) in routes.iter().enumerate().filter(|(_, route)| route.hosts.is_empty()) {
        hostless[access[at]] = Some(&route.access);
    }
    let mut is_clean = vec![false; routes.len()];
    let mut mistakes = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        if route.hosts.is_empty() || is_clean[kind[at]] {
            continue;
        }
        let demands_less_than: Vec<bool> = hostless
            .iter()
            .map(|other| other.is_some_and(|other| !route.access.demands_at_least(other)))
            .collect();
        let offends = |other: usize| {
            demands_less_than[access[other]]
                && upstream[other] == upstream[at]
                && route.methods.overlap(&routes[other].methods)
        };
        let has_near_miss = Cell::new(false);
        let search = Search {
            routes,
            index,
            bound: route,
            offends: &offends,
            has_near_miss: &has_near_miss,
        };
        let is_possible = demands_less_than.contains(&true);
        let found = is_possible.then(|| search.below(HOSTLESS, &mut Vec::new())).flatten();
        is_clean[kind[at]] = found.is_none() && !has_near_miss.get();
        mistakes.extend(found.map(|other| weaker_host(routes, at, other)));
    }
    mistakes
}

fn weaker_host(routes: &[Arc<Route>], route: usize, other: usize) -> RouteMistake {
    let message = format!(
        "demands less than route {:?} ({}), which takes the same requests of every other host to the same upstream, and callers choose the host they name; demand at least as much, or set `insecure_host_selected: true`",
        routes[other].name,
        routes[other].path.as_str(),
    );
    RouteMistake { route, other, message }
}

/// Where a route's requests go, whatever the upstream is called.
fn upstream_key(route: &Route) -> (&str, Option<u16>) {
    match &route.upstream.address {
        UpstreamAddress::Tcp { host, port } => (host, Some(*port)),
        UpstreamAddress::Unix(path) => (path, None),
    }
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

/// Walks the hostless patterns that have a path in common with a host-bound one.
struct Search<'a> {
    routes: &'a [Arc<Route>],
    index: &'a Index,
    bound: &'a Route,
    /// Whether the bound route would demand less than this hostless one where they meet.
    offends: &'a dyn Fn(usize) -> bool,
    /// Set when something was found but for a more specific pattern of the bound route's host.
    has_near_miss: &'a Cell<bool>,
}

impl<'a> Search<'a> {
    /// `prefix` is what both patterns match up to `node`. The recursion is as deep as the longest
    /// pattern.
    fn below(&self, node: NodeId, prefix: &mut Common<'a>) -> Option<usize> {
        let node = self.index.node(node);
        let own = self.bound.path.segments();
        let is_past_end = prefix.len() >= own.len();
        let deep = node.deep.map(|slot| (slot, true));
        let exact = node.exact.filter(|_| is_past_end).map(|slot| (slot, false));
        let here = deep.into_iter().chain(exact);
        let offender =
            here.filter_map(|(slot, is_deep)| self.offender(slot, prefix, is_deep)).next();
        if offender.is_some() || (is_past_end && !self.bound.path.is_deep()) {
            return offender;
        }
        match own.get(prefix.len()) {
            Some(Segment::Literal(literal)) => {
                let children = node.literals.get(literal).into_iter().chain(&node.any);
                children.copied().find_map(|child| self.step(child, prefix, Some(literal)))
            }
            Some(Segment::Any) | None => {
                let literals = node.literals.iter().map(|(text, &child)| (child, Some(&**text)));
                let any = node.any.map(|child| (child, None));
                literals.chain(any).find_map(|(child, both)| self.step(child, prefix, both))
            }
        }
    }

    fn step(&self, child: NodeId, prefix: &mut Common<'a>, both: Option<&'a str>) -> Option<usize> {
        prefix.push(both);
        let offender = self.below(child, prefix);
        prefix.pop();
        offender
    }

    /// A route of a hostless slot that the bound route demands less than, for a path that both
    /// patterns match and that neither side has a more specific pattern for.
    fn offender(&self, slot: SlotId, prefix: &Common<'a>, is_deep: bool) -> Option<usize> {
        let slots = self.index.slot(slot);
        let offender = slots.iter().copied().find(|&other| (self.offends)(other))?;
        let (common, common_is_deep) = self.common(prefix, is_deep);
        if self.index.cover(HOSTLESS, &common, common_is_deep) != Some(slot) {
            return None;
        }
        let mut roots = self.bound.hosts.iter().filter_map(|host| self.index.root_of(host));
        let wins_bound = roots.any(|root| {
            let slot = self.index.cover(root, &common, common_is_deep);
            slot.is_some_and(|slot| self.has_path(slot, &self.bound.path))
        });
        self.has_near_miss.set(self.has_near_miss.get() || !wins_bound);
        wins_bound.then_some(offender)
    }

    /// The pattern of all paths that the bound pattern and a hostless one both match, which have
    /// `prefix` in common.
    fn common(&self, prefix: &Common<'a>, is_deep: bool) -> (Common<'a>, bool) {
        let own = &self.bound.path;
        let mut common = prefix.clone();
        if is_deep {
            let rest = own.segments().get(prefix.len()..).unwrap_or_default();
            common.extend(rest.iter().map(Segment::literal));
        }
        (common, is_deep && own.is_deep())
    }

    fn has_path(&self, slot: SlotId, path: &PathPattern) -> bool {
        self.index.slot(slot).iter().any(|&route| self.routes[route].path == *path)
    }
}
