//! A key file of JSON Lines: one key a line, with the fields a key has in YAML.
//!
//! Owns the reading line by line, with one buffer for all of them: a file of a million keys is
//! never in memory as a whole. Blank lines and lines that begin with `#` say nothing. A mistake
//! in one line does not hide those in the others. Never opens a file.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};

use zeroize::Zeroizing;

use crate::config::key_file::json;
use crate::config::key_file::{KEY, SpannedKey, check_unique, read_key, share};
use crate::config::language::node::Place;
use crate::config::language::report::Report;
use crate::config::language::walk::Value;
use crate::decide::api_key::KeyEntry;

/// The most bytes of a file: some million keys with everything a key can say.
pub const FILE_BYTES_MAX: usize = 1 << 30;

/// The most bytes of a line without its end: a key with long claims is far below.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// The maximum nesting of the claims of a key; as in YAML, where a list and a mapping are above.
const DEPTH_MAX: usize = 62;

/// The most sets of scopes that are looked through for one that is the same.
const SHARED_MAX: usize = 1 << 16;

/// Reads every key of a file and hands it to `take` with its place; `take` may refuse it with a
/// mistake. `peppers` are the names that digests may use, `None` any. Mistakes go to `report`.
///
/// # Errors
/// An error of the system.
pub fn read(
    report: &Report,
    file: &mut dyn BufRead,
    peppers: Option<&[&str]>,
    take: &mut dyn FnMut(KeyEntry, Place) -> Result<(), String>,
) -> io::Result<()> {
    let mut shared = HashSet::new();
    let mut lines = Lines { file, buffer: Zeroizing::new(Vec::new()), number: 0 };
    while !report.is_full()
        && let Some(line) = lines.next(report)?
    {
        let Some((mut entry, place)) = key(report, line, peppers) else { continue };
        if shared.len() < SHARED_MAX || shared.contains(&entry.scopes) {
            share(&mut shared, &mut entry.scopes);
        }
        if let Err(message) = take(entry, place) {
            report.add(place, "", message);
        }
    }
    Ok(())
}

/// The key of a line: its text and number.
fn key(
    report: &Report,
    (text, number): (&str, u32),
    peppers: Option<&[&str]>,
) -> Option<(KeyEntry, Place)> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let node = json::parse(report, number, text, DEPTH_MAX)?;
    let value = Value::root(report, &node);
    if !value.is_mapping() {
        value.mistake("is not an object; write one key a line: {\"id\": \"...\", ...}");
        return None;
    }
    Some((read_key(&value.section(&KEY)?, peppers)?, node.place))
}

/// All keys of a file that is in memory, each id and digest once.
pub(super) fn read_all(report: &Report, bytes: &[u8], peppers: Option<&[&str]>) -> Vec<SpannedKey> {
    if bytes.len() > FILE_BYTES_MAX {
        report.add(Place::default(), "", too_large());
        return Vec::new();
    }
    let mut keys = Vec::new();
    let mut take = |entry, Place { line, column }: Place| {
        keys.push(SpannedKey { entry, line: line.into(), column: column.into() });
        Ok(())
    };
    if let Err(error) = read(report, &mut &*bytes, peppers, &mut take) {
        report.add(Place::default(), "", error.to_string());
    }
    check_unique(report, keys.iter().map(|key| (String::new(), key)));
    keys
}

/// The message about a file over [`FILE_BYTES_MAX`].
#[must_use]
pub fn too_large() -> String {
    format!("the file has more than {FILE_BYTES_MAX} bytes, which are accepted")
}

/// The lines of a file, one at a time.
struct Lines<'f> {
    file: &'f mut dyn BufRead,
    buffer: Zeroizing<Vec<u8>>,
    number: u32,
}

impl Lines<'_> {
    /// The next line that says something, and its number.
    fn next(&mut self, report: &Report) -> io::Result<Option<(&str, u32)>> {
        loop {
            if !self.read()? {
                return Ok(None);
            }
            if self.buffer.len() > LINE_BYTES_MAX && self.buffer.last() != Some(&b'\n') {
                report.add(
                    self.place(LINE_BYTES_MAX),
                    "",
                    format!("the line has more than {LINE_BYTES_MAX} bytes, which are accepted"),
                );
                self.skip()?;
            } else if let Err(error) = std::str::from_utf8(&self.buffer) {
                let good = &self.buffer[..error.valid_up_to()];
                let column = String::from_utf8_lossy(good).chars().count();
                report.add(self.place(column), "", "not UTF-8 text");
            } else if says_something(&self.buffer) {
                break;
            }
            if report.is_full() {
                return Ok(None);
            }
        }
        // It was looked at above, and a loop cannot return what it borrows.
        Ok(std::str::from_utf8(&self.buffer).ok().map(|text| (text, self.number)))
    }

    /// Reads a line, or its beginning if it is too long. Whether there was one.
    fn read(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        if Read::take(&mut *self.file, most).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(false);
        }
        self.number = self.number.saturating_add(1);
        // A byte order mark counts for no column.
        if self.number == 1 && self.buffer.starts_with("\u{feff}".as_bytes()) {
            self.buffer.drain(.."\u{feff}".len());
        }
        Ok(true)
    }

    /// Passes over the rest of a line.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let read = self.file.fill_buf()?;
            let end = read.iter().position(|&byte| byte == b'\n');
            let (length, done) = (end.map_or(read.len(), |at| at + 1), end.is_some());
            self.file.consume(length);
            if done || length == 0 {
                return Ok(());
            }
        }
    }

    fn place(&self, column: usize) -> Place {
        Place { line: self.number, column: u32::try_from(column + 1).unwrap_or(u32::MAX) }
    }
}

/// True if a line is neither blank nor a comment.
pub(crate) fn says_something(line: &[u8]) -> bool {
    !line.starts_with(b"#") && !line.iter().all(|byte| b" \t\r\n".contains(byte))
}

#[cfg(test)]
mod tests;
