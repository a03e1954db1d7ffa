//! The patterns of all routes as one tree per host.
//!
//! Owns matching: which pattern is the most specific for a host and a path, as the path is
//! written and under another reading. Never looks at methods or access.
//!
//! A tree has one node per distinct pattern prefix and a search visits each node at most once,
//! so a look-up costs the segments of the path, not the number of routes, unless patterns make
//! it branch (`/*/b` beside `/a/c`).

use std::collections::HashMap;
use std::iter;

use foldhash::fast::FixedState;

use crate::decide::policy::host::split_port;
use crate::decide::policy::pattern::Segment;
use crate::decide::policy::{HostPattern, PathPattern};
use crate::decide::request::path::view::{self, SOURCES, Source, Texts};

/// The keys are the operator's, so clients cannot make them collide; requests only look up.
type Map<V> = HashMap<Box<str>, V, FixedState>;

/// Index of a [`Node`].
pub(super) type NodeId = usize;

/// Index of a slot: one path pattern of one host, with all routes that have it.
pub(super) type SlotId = usize;

/// The segments of a pattern; `None` is `*`.
pub(super) type Common<'a> = Vec<Option<&'a str>>;

/// One way to read a path: a source and the transformations of its segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) source: Source,
    pub(super) mask: u8,
}

/// A set of [`Reading`]s: for each source one bit per mask.
#[derive(Clone, Copy, Debug, Default)]
struct Readings([u32; SOURCES]);

impl Readings {
    fn insert(&mut self, reading: Reading) {
        self.0[reading.source as usize] |= 1 << reading.mask;
    }

    fn contains(&self, reading: Reading) -> bool {
        self.0[reading.source as usize] >> reading.mask & 1 != 0
    }
}

/// One prefix of path patterns.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) literals: Map<NodeId>,
    pub(super) any: Option<NodeId>,
    /// The pattern that ends here.
    pub(super) exact: Option<SlotId>,
    /// The pattern that ends here with `/**`.
    pub(super) deep: Option<SlotId>,
    /// Children whose literal differs under some reading, by the literal under each.
    folded: Map<Vec<(Readings, NodeId)>>,
    /// True if the literal of this node is the same under every reading.
    is_plain: bool,
}

/// All patterns.
#[derive(Debug)]
pub(super) struct Index {
    exact_hosts: Map<NodeId>,
    /// Wildcard hosts, without their `*.`.
    parent_hosts: Map<NodeId>,
    nodes: Vec<Node>,
    slots: Vec<Vec<usize>>,
    /// The bits that can change any literal: a union of [`view`] bits.
    marks: u8,
    /// For each source the first from which every literal has the same text.
    first_alike: [u8; SOURCES],
    /// True if any literal differs under some reading.
    is_folding: bool,
}

/// The root of the patterns for every host.
pub(super) const HOSTLESS: NodeId = 0;

impl Default for Index {
    fn default() -> Self {
        Self {
            exact_hosts: Map::default(),
            parent_hosts: Map::default(),
            nodes: vec![Node::default()],
            slots: Vec::new(),
            marks: 0,
            first_alike: [0; SOURCES],
            is_folding: false,
        }
    }
}

impl Index {
    /// Adds `route` under a pattern of a host; `None` is every host.
    pub(super) fn insert(&mut self, host: Option<&HostPattern>, path: &PathPattern, route: usize) {
        let mut node = host.map_or(HOSTLESS, |host| self.host_root(host.as_str()));
        for segment in path.segments() {
            node = match segment {
                Segment::Literal(literal) => self.literal_child(node, literal),
                Segment::Any => self.any_child(node),
            };
        }
        let end = &mut self.nodes[node];
        let slot = if path.is_deep() { &mut end.deep } else { &mut end.exact };
        let slot = *slot.get_or_insert(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(Vec::new());
        }
        if self.slots[slot].last() != Some(&route) {
            self.slots[slot].push(route);
        }
    }

    /// The routes of a slot, in the order of the configuration.
    pub(super) fn slot(&self, slot: SlotId) -> &[usize] {
        &self.slots[slot]
    }

    pub(super) fn slots(&self) -> &[Vec<usize>] {
        &self.slots
    }

    pub(super) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node]
    }

    /// The bits that can change a literal of any pattern.
    pub(super) fn marks(&self) -> u8 {
        self.marks
    }

    /// A number below [`SOURCES`], equal for sources from which every literal has the same text.
    pub(super) fn alike(&self, source: Source) -> usize {
        usize::from(self.first_alike[source as usize])
    }

    /// Returns whether any pattern differs under some reading, so that even a path that has only
    /// one reading may match others.
    pub(super) fn is_folding(&self) -> bool {
        self.is_folding
    }

    /// The slot of the most specific host, then path. A host in normal form.
    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<SlotId> {
        for (root, is_other_port) in self.roots(host) {
            if let Some(slot) = self.descend(root, segments(path)) {
                return (!is_other_port).then_some(slot);
            }
        }
        None
    }

    /// The slots that `path`, the text of a reading, may match when every pattern is read that way:
    /// those of the most specific host that has any. Patterns that become equal are all reported.
    pub(super) fn find_folded(
        &self,
        host: Option<&str>,
        path: &str,
        reading: Reading,
        found: &mut Vec<SlotId>,
    ) {
        for (root, _) in self.roots(host) {
            if self.descend_folded(root, segments(path), reading, found) {
                return;
            }
        }
    }

    /// The root of a host pattern in normal form.
    pub(super) fn root_of(&self, host: &HostPattern) -> Option<NodeId> {
        match host.as_str().strip_prefix("*.") {
            Some(parent) => self.parent_hosts.get(parent).copied(),
            None => self.exact_hosts.get(host.as_str()).copied(),
        }
    }

    /// The most specific pattern below `root` that matches every path of a pattern.
    pub(super) fn cover(
        &self,
        root: NodeId,
        pattern: &[Option<&str>],
        is_deep: bool,
    ) -> Option<SlotId> {
        let node = &self.nodes[root];
        let Some((first, rest)) = pattern.split_first() else {
            return if is_deep { node.deep } else { node.exact.or(node.deep) };
        };
        let literal = first.and_then(|literal| node.literals.get(literal).copied());
        iter::chain(literal, node.any)
            .find_map(|child| self.cover(child, rest, is_deep))
            .or(node.deep)
    }

    /// Roots from the most to the least specific; `true` for those of the host without its port,
    /// which report that the host is bound but not on that port.
    fn roots<'t>(&'t self, host: Option<&'t str>) -> impl Iterator<Item = (NodeId, bool)> + 't {
        let bare = host.and_then(split_port);
        let bound = host.into_iter().flat_map(|host| self.bound_roots(host));
        let other_port = bare.into_iter().flat_map(|host| self.bound_roots(host));
        bound
            .map(|root| (root, false))
            .chain(other_port.map(|root| (root, true)))
            .chain(iter::once((HOSTLESS, false)))
    }

    fn bound_roots<'t>(&'t self, host: &'t str) -> impl Iterator<Item = NodeId> + 't {
        // Labels are at most 127, since the name is at most 253 bytes.
        let parents = host.match_indices('.').filter(|_| !self.parent_hosts.is_empty());
        let parents = parents.filter_map(|(at, _)| self.parent_hosts.get(&host[at + 1..]));
        self.exact_hosts.get(host).into_iter().chain(parents).copied()
    }

    /// Recursion is as deep as the longest pattern.
    fn descend(&self, node: NodeId, rest: Option<&str>) -> Option<SlotId> {
        let node = &self.nodes[node];
        let Some(rest) = rest else { return node.exact.or(node.deep) };
        let (segment, tail) = next_segment(rest);
        if let Some(slot) = node.literals.get(segment).and_then(|&next| self.descend(next, tail)) {
            return Some(slot);
        }
        let any = node.any.filter(|_| !segment.is_empty());
        any.and_then(|next| self.descend(next, tail)).or(node.deep)
    }

    fn descend_folded(
        &self,
        node: NodeId,
        rest: Option<&str>,
        reading: Reading,
        found: &mut Vec<SlotId>,
    ) -> bool {
        let node = &self.nodes[node];
        let Some(rest) = rest else {
            found.extend(node.exact.or(node.deep));
            return node.exact.or(node.deep).is_some();
        };
        let (segment, tail) = next_segment(rest);
        let plain = node.literals.get(segment).filter(|&&child| self.nodes[child].is_plain);
        let folded = node.folded.get(segment).into_iter().flatten();
        let folded = folded.filter(|(readings, _)| readings.contains(reading));
        let mut is_found = false;
        for &child in plain.into_iter().chain(folded.map(|(_, child)| child)) {
            is_found |= self.descend_folded(child, tail, reading, found);
        }
        if !is_found && !segment.is_empty() {
            is_found =
                node.any.is_some_and(|child| self.descend_folded(child, tail, reading, found));
        }
        if !is_found {
            found.extend(node.deep);
        }
        is_found || node.deep.is_some()
    }

    fn host_root(&mut self, host: &str) -> NodeId {
        let fresh = self.nodes.len();
        let (roots, key) = match host.strip_prefix("*.") {
            Some(parent) => (&mut self.parent_hosts, parent),
            None => (&mut self.exact_hosts, host),
        };
        let root = *roots.entry(key.into()).or_insert(fresh);
        self.ensure(root)
    }

    fn any_child(&mut self, parent: NodeId) -> NodeId {
        let fresh = self.nodes.len();
        let child = *self.nodes[parent].any.get_or_insert(fresh);
        self.ensure(child)
    }

    fn literal_child(&mut self, parent: NodeId, literal: &str) -> NodeId {
        if let Some(&child) = self.nodes[parent].literals.get(literal) {
            return child;
        }
        let fresh = self.nodes.len();
        self.nodes[parent].literals.insert(literal.into(), fresh);
        let child = self.ensure(fresh);
        let texts = Texts::of(literal);
        let is_plain = texts.iter().count() == 1 && view::segment_marks(literal) == 0;
        self.nodes[child].is_plain = is_plain;
        if !is_plain {
            self.is_folding = true;
            self.tell_apart(&texts);
            let (folded, marks) = readings_of(&texts);
            self.marks |= marks;
            for (text, readings) in folded {
                self.nodes[parent].folded.entry(text.into()).or_default().push((readings, child));
            }
        }
        child
    }

    /// Sources remain alike only where this literal has the same text, too.
    fn tell_apart(&mut self, texts: &Texts<'_>) {
        let before = self.first_alike;
        for (at, source) in Source::ALL.into_iter().enumerate() {
            let is_alike = |other: &Source| {
                before[*other as usize] == before[at]
                    && texts.number(*other) == texts.number(source)
            };
            let first = Source::ALL.into_iter().find(is_alike).unwrap_or(source);
            self.first_alike[at] = first as u8;
        }
    }

    fn ensure(&mut self, node: NodeId) -> NodeId {
        if node == self.nodes.len() {
            self.nodes.push(Node::default());
        }
        node
    }
}

/// The texts of a literal under every reading, each text once, and the bits that change it.
fn readings_of(literal: &Texts<'_>) -> (Vec<(String, Readings)>, u8) {
    let mut texts: Vec<(String, Readings)> = Vec::new();
    let mut all_marks = 0;
    for (number, read) in literal.iter() {
        let marks = view::segment_marks(read);
        all_marks |= marks;
        let mut at = [usize::MAX; view::MASKS as usize];
        for mask in 0..view::MASKS {
            // Bits that do not change this text: the same as without them.
            let own = usize::from(mask & marks);
            if usize::from(mask) == own {
                let mut text = String::with_capacity(read.len());
                view::fold_segment(read, mask, &mut text);
                at[own] = texts.iter().position(|(known, _)| *known == text).unwrap_or(texts.len());
                if at[own] == texts.len() {
                    texts.push((text, Readings::default()));
                }
            }
            for source in Source::ALL.into_iter().filter(|one| literal.number(*one) == number) {
                texts[at[own]].1.insert(Reading { source, mask });
            }
        }
    }
    (texts, all_marks)
}

/// The segments of a path that begins with `/`, less one trailing slash: `None` for `/` itself.
fn segments(path: &str) -> Option<&str> {
    let body = path.strip_prefix('/').filter(|body| !body.is_empty())?;
    Some(body.strip_suffix('/').unwrap_or(body))
}

fn next_segment(rest: &str) -> (&str, Option<&str>) {
    rest.split_once('/').map_or((rest, None), |(segment, tail)| (segment, Some(tail)))
}
