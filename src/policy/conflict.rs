//! Routes that contradict each other.
//!
//! Owns the two mistakes that only show when all routes are seen together: two routes that tie,
//! and a host-bound route that demands less than a hostless one. The `Host` field is the
//! caller's to choose, so the latter would let a caller pick the weaker demand.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use crate::policy::index::{Common, HOSTLESS, Index, NodeId, SlotId};
use crate::policy::pattern::Segment;
use crate::policy::{Methods, PathPattern, Route, RouteMistake};

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
/// upstream; one mistake for each such route.
pub(super) fn weaker_hosts(routes: &[Arc<Route>], index: &Index) -> Vec<RouteMistake> {
    let mut mistakes = Vec::new();
    for (at, route) in routes.iter().enumerate().filter(|(_, route)| !route.hosts.is_empty()) {
        let search = Search { routes, index, bound: route };
        let Some(other) = search.below(HOSTLESS, &mut Vec::new()) else { continue };
        mistakes.push(RouteMistake {
            route: at,
            other,
            message: format!(
                "demands less than route {:?} ({}), which takes the same requests of every other host to the same upstream, and callers choose the host they name; demand at least as much, or set `insecure_host_selected: true`",
                routes[other].name,
                routes[other].path.as_str(),
            ),
        });
    }
    mistakes
}

/// Walks the hostless patterns that have a path in common with a host-bound one.
struct Search<'a> {
    routes: &'a [Arc<Route>],
    index: &'a Index,
    bound: &'a Route,
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
        let offends = |other: &&usize| {
            let other = &self.routes[**other];
            let is_same_upstream = other.upstream.address == self.bound.upstream.address;
            is_same_upstream
                && !self.bound.access.demands_at_least(&other.access)
                && self.bound.methods.overlap(&other.methods)
        };
        let offender = self.index.slot(slot).iter().find(offends).copied()?;
        let (common, common_is_deep) = self.common(prefix, is_deep);
        let wins_hostless = self.index.cover(HOSTLESS, &common, common_is_deep) == Some(slot);
        let wins_bound =
            self.bound.hosts.iter().filter_map(|host| self.index.root_of(host)).any(|root| {
                let slot = self.index.cover(root, &common, common_is_deep);
                slot.is_some_and(|slot| self.has_path(slot, &self.bound.path))
            });
        (wins_hostless && wins_bound).then_some(offender)
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
