//! The base: credentials packed, found by digest.
//!
//! Owns the in-memory form of a million credentials: 60 bytes each, the ids end to end, a hash
//! table of positions, owners and scope sets shared. Immutable except for the times of last use.
//! Never knows which of its credentials a recent change has overridden.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use subtle::ConstantTimeEq;

use crate::base::clock::UnixTime;
use crate::decide::api_key::segment::TagHash;
use crate::decide::live::{Credential, Imported, Kind, Method, State};
use crate::decide::scope::ScopeSet;

/// The most credentials of one segment: far below the limits of the integers in here.
pub const CREDENTIALS_MAX: usize = 1 << 24;

/// Bytes of a chunk of ids; an address is the number of the chunk times this, and the offset.
const CHUNK: usize = 1 << 20;

/// One credential, packed.
struct Packed {
    digest: [u8; 32],
    /// Seconds since the epoch; `u64::MAX` is never.
    expires: [u8; 8],
    /// Address of its id.
    id: u32,
    owner: u32,
    scopes: u32,
    /// Seconds since the epoch; 0 is never.
    last_use: AtomicU32,
    id_bytes: u8,
    kind: Kind,
    state: State,
    method: Method,
}

/// Credentials by digest.
#[derive(Default)]
pub(super) struct Segment {
    packed: Vec<Packed>,
    ids: Vec<String>,
    owners: Vec<Arc<str>>,
    scopes: Vec<Arc<ScopeSet>>,
    /// Positions, by [`TagHash`].
    index: HashTable<u32>,
    /// The methods of keys of other makers.
    imported: Imported,
}

/// The memory of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Credentials.
    pub credentials: usize,
    /// Bytes, without those of the allocator.
    pub bytes: usize,
}

/// A credential of a segment.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    segment: &'a Segment,
    packed: &'a Packed,
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.packed.len()
    }

    pub(super) fn imported(&self) -> Imported {
        self.imported
    }

    /// Response times reveal nothing about the digests: positions depend on a random key of the
    /// process, and bytes are compared in constant time.
    pub(super) fn find(&self, digest: &[u8; 32]) -> Option<View<'_>> {
        if self.packed.is_empty() {
            return None;
        }
        let same = |slot: &u32| bool::from(self.packed[*slot as usize].digest.ct_eq(digest));
        let slot = *self.index.find(TagHash::of(digest).get(), same)?;
        Some(View { segment: self, packed: &self.packed[slot as usize] })
    }

    pub(super) fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.packed.iter().map(|packed| View { segment: self, packed })
    }

    pub(super) fn size(&self) -> Size {
        let texts: usize = self.ids.iter().map(String::capacity).sum();
        // What an `Arc<str>` and a scope set take beside their pointers, roughly.
        let owners: usize = self.owners.iter().map(|owner| owner.len() + 32).sum();
        let bytes = self.packed.capacity() * size_of::<Packed>()
            + texts
            + owners
            + self.scopes.len() * 64
            + self.index.capacity() * 8 / 7 * (size_of::<u32>() + 1);
        Size { credentials: self.packed.len(), bytes }
    }
}

impl<'a> View<'a> {
    pub(super) fn id(self) -> &'a str {
        let (address, bytes) = (self.packed.id as usize, usize::from(self.packed.id_bytes));
        &self.segment.ids[address / CHUNK][address % CHUNK..][..bytes]
    }

    pub(super) fn owner(self) -> &'a str {
        &self.segment.owners[self.packed.owner as usize]
    }

    pub(super) fn scopes(self) -> &'a Arc<ScopeSet> {
        &self.segment.scopes[self.packed.scopes as usize]
    }

    pub(super) fn digest(self) -> &'a [u8; 32] {
        &self.packed.digest
    }

    pub(super) fn expires(self) -> Option<UnixTime> {
        let seconds = u64::from_le_bytes(self.packed.expires);
        (seconds != u64::MAX).then_some(UnixTime(seconds))
    }

    pub(super) fn kind(self) -> Kind {
        self.packed.kind
    }

    pub(super) fn state(self) -> State {
        self.packed.state
    }

    pub(super) fn last_use(self) -> &'a AtomicU32 {
        &self.packed.last_use
    }

    pub(super) fn unpack(self) -> Credential {
        Credential {
            id: self.id().into(),
            kind: self.kind(),
            owner: self.owner().into(),
            digest: *self.digest(),
            method: self.packed.method,
            scopes: ScopeSet::clone(self.scopes()),
            expires: self.expires(),
            state: self.state(),
        }
    }
}

/// A segment under construction.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "it is never kept")]
pub struct SegmentBuilder {
    segment: Segment,
    owners: HashMap<Arc<str>, u32, RandomState>,
    scopes: HashMap<Arc<ScopeSet>, u32, RandomState>,
}

impl SegmentBuilder {
    /// Reserves room for this many: growing would take twice the memory.
    #[must_use]
    pub fn with_capacity(credentials: usize) -> Self {
        let mut builder = Self::default();
        let credentials = credentials.min(CREDENTIALS_MAX);
        builder.segment.packed.reserve_exact(credentials);
        builder.segment.index = HashTable::with_capacity(credentials);
        builder
    }

    /// Adds a credential; one with a digest that is there is not added. Returns whether it was.
    pub fn push(&mut self, one: &Credential, last_use: u32) -> bool {
        let slot = self.segment.packed.len();
        if slot >= CREDENTIALS_MAX || self.segment.find(&one.digest).is_some() {
            return false;
        }
        let (Ok(slot), Some((id, id_bytes))) = (u32::try_from(slot), self.id(&one.id)) else {
            return false;
        };
        let owner = self.owner(&one.owner);
        let scopes = self.shared_scopes(&one.scopes);
        self.segment.packed.push(Packed {
            digest: one.digest,
            expires: one.expires.map_or(u64::MAX, |at| at.0).to_le_bytes(),
            id,
            owner,
            scopes,
            last_use: AtomicU32::new(last_use),
            id_bytes,
            kind: one.kind,
            state: one.state,
            method: one.method,
        });
        self.segment.imported.add(one.kind, one.method);
        let packed = &self.segment.packed;
        let hash = |slot: &u32| TagHash::of(&packed[*slot as usize].digest).get();
        self.segment.index.insert_unique(hash(&slot), slot, hash);
        true
    }

    /// The address and the length of an id; at most 255 bytes.
    fn id(&mut self, id: &str) -> Option<(u32, u8)> {
        let bytes = u8::try_from(id.len()).ok()?;
        let ids = &mut self.segment.ids;
        if ids.last().is_none_or(|chunk| chunk.len() + id.len() > CHUNK) {
            // The first one grows, because most stores are small.
            ids.push(String::with_capacity(if ids.is_empty() { 0 } else { CHUNK }));
        }
        let number = ids.len() - 1;
        let chunk = ids.last_mut()?;
        let address = u32::try_from(number * CHUNK + chunk.len()).ok()?;
        chunk.push_str(id);
        Some((address, bytes))
    }

    fn owner(&mut self, owner: &str) -> u32 {
        if let Some(known) = self.owners.get(owner) {
            return *known;
        }
        let (next, owner) = (self.segment.owners.len() as u32, Arc::from(owner));
        self.segment.owners.push(Arc::clone(&owner));
        self.owners.insert(owner, next);
        next
    }

    fn shared_scopes(&mut self, scopes: &ScopeSet) -> u32 {
        if let Some(known) = self.scopes.get(scopes) {
            return *known;
        }
        let (next, scopes) = (self.segment.scopes.len() as u32, Arc::new(scopes.clone()));
        self.segment.scopes.push(Arc::clone(&scopes));
        self.scopes.insert(scopes, next);
        next
    }

    pub(super) fn finish(mut self) -> Segment {
        let segment = &mut self.segment;
        segment.owners.shrink_to_fit();
        segment.scopes.shrink_to_fit();
        if let Some(last) = segment.ids.last_mut() {
            last.shrink_to_fit();
        }
        self.segment
    }
}

/// Records a use. Reads first: otherwise all cores would contend for the cache line of a busy
/// credential. A clock that steps back undoes no use.
pub(super) fn touch(last_use: &AtomicU32, now: UnixTime) {
    let seconds = u32::try_from(now.0).unwrap_or(u32::MAX);
    if last_use.load(Ordering::Relaxed) < seconds {
        last_use.fetch_max(seconds, Ordering::Relaxed);
    }
}
