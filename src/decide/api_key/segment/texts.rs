//! Ids, names and subjects of many keys, end to end.
//!
//! Owns the layout. TextChunks are in chunks, so that a million of them are never copied to grow. An
//! entry is `id NUL name NUL subject NUL`: none of the three may contain a control character.

use crate::base::bytes::find;

/// Bytes of a chunk. An address is the number of the chunk times this, and the offset in it.
const CHUNK: usize = 1 << 20;

/// The texts of all keys of a segment.
#[derive(Debug, Default)]
pub(super) struct TextChunks {
    chunks: Vec<String>,
}

/// The texts of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decide::api_key) struct KeyTexts<'a> {
    pub(in crate::decide::api_key) id: &'a str,
    pub(in crate::decide::api_key) name: Option<&'a str>,
    /// `None` is `key:<id>`.
    pub(in crate::decide::api_key) subject: Option<&'a str>,
}

impl TextChunks {
    /// Stores the texts of a key and returns their address; `None` when they cannot be stored.
    pub(super) fn push(&mut self, texts: KeyTexts<'_>) -> Option<u32> {
        let parts = [texts.id, texts.name.unwrap_or(""), texts.subject.unwrap_or("")];
        let bytes = parts.iter().map(|part| part.len() + 1).sum::<usize>();
        if bytes > CHUNK || parts.iter().any(|part| part.contains('\0')) {
            return None;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() + bytes > CHUNK) {
            // The first one grows, because most files are small.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(String::with_capacity(room));
        }
        let number = self.chunks.len() - 1;
        let chunk = self.chunks.last_mut()?;
        let address = u32::try_from(number * CHUNK + chunk.len()).ok()?;
        for part in parts {
            chunk.push_str(part);
            chunk.push('\0');
        }
        Some(address)
    }

    /// The texts at an address that [`Self::push`] returned.
    pub(super) fn read(&self, address: u32) -> KeyTexts<'_> {
        let (chunk, offset) = (address as usize / CHUNK, address as usize % CHUNK);
        let mut rest = &self.chunks[chunk][offset..];
        let mut next = || {
            let end = find(rest.as_bytes(), 0).unwrap_or(rest.len());
            let part = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or("");
            part
        };
        let (id, name, subject) = (next(), next(), next());
        let given = |text: &'_ str| !text.is_empty();
        KeyTexts {
            id,
            name: Some(name).filter(|it| given(it)),
            subject: Some(subject).filter(|it| given(it)),
        }
    }

    /// Releases unused capacity.
    pub(super) fn shrink(&mut self) {
        self.chunks.shrink_to_fit();
        if let Some(last) = self.chunks.last_mut() {
            last.shrink_to_fit();
        }
    }
}
