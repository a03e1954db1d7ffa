//! The positions of the entries of a key file, line by line.
//!
//! Owns the text surgery: which lines an entry takes, where a field of it is, where a new one
//! goes. Knows block lists with entries in block or flow form, which is how key files are written
//! and how we write them; anything else is left to the operator's hand. Never prints an entry.

use std::ops::Range;

use crate::config::key_file::SpannedKey;
use crate::config::key_file::edit::EditError;
use crate::config::key_file::edit::flow;

/// The lines of a key file and where its entries begin.
#[derive(Debug)]
pub(super) struct Layout<'t> {
    text: &'t str,
    /// Every line with its end, and where it begins.
    lines: Vec<Line<'t>>,
    /// Line index and column index (in bytes) of each entry's mapping.
    items: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Line<'t> {
    start: usize,
    /// Without the line end.
    text: &'t str,
    end: usize,
}

impl Line<'_> {
    fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start_matches([' ', '\t']).len()
    }

    fn is_blank_or_comment(&self) -> bool {
        let rest = self.text.trim_start();
        rest.is_empty() || rest.starts_with('#')
    }
}

impl<'t> Layout<'t> {
    /// Finds lines and entries.
    pub(super) fn new(text: &'t str, keys: &[SpannedKey]) -> Result<Self, EditError> {
        let mut lines = Vec::new();
        let mut start = 0;
        for whole in text.split_inclusive('\n') {
            let end = start + whole.len();
            let line = whole.strip_suffix('\n').unwrap_or(whole);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.contains('\r') {
                return Err(layout(lines.len(), "a carriage return inside a line"));
            }
            lines.push(Line { start, text: line, end });
            start = end;
        }
        let mut items = Vec::with_capacity(keys.len());
        for key in keys {
            items.push(position(&lines, key).ok_or_else(|| layout(0, "an entry out of place"))?);
        }
        Ok(Self { text, lines, items })
    }

    /// Adds an entry behind the last one.
    pub(super) fn append(&self, fields: &[(&str, String)]) -> Result<String, EditError> {
        let Some(last) = self.items.len().checked_sub(1) else {
            return self.append_first(fields);
        };
        let dash = self.dash(last)?;
        let indent = &self.lines[dash].text[..self.lines[dash].indent()];
        let line = self.last_content(self.region(last)?);
        Ok(self.insert_after(line, &entry(indent, fields)))
    }

    /// Sets a field of an entry whose value is one plain word.
    pub(super) fn set(&self, index: usize, field: &str, value: &str) -> Result<String, EditError> {
        let (line, column) = self.items[index];
        if self.lines[line].text[column..].starts_with('{') {
            return self.set_in_flow(self.lines[line].start + column, field, value);
        }
        let region = self.region(index)?;
        if let Some(found) = self.find_field(index, region.clone(), field) {
            let span = self.value_on_line(found)?;
            return Ok(self.replace(span, value));
        }
        let indent = " ".repeat(column);
        let line = self.last_content(region);
        Ok(self.insert_after(line, &[format!("{indent}{field}: {value}")]))
    }

    /// Removes an entry. Comments before and behind it stay: whose they are, only people know.
    pub(super) fn remove(&self, index: usize) -> Result<String, EditError> {
        let region = self.region(index)?;
        let first = self.lines[region.start].start;
        let end = self.lines[self.last_content(region)].end;
        let mut text = String::with_capacity(self.text.len());
        if self.items.len() == 1 {
            // An empty block list is no list at all.
            let (line, colon) = self.keys_line(first)?;
            let after = self.lines[line].start + colon + 1;
            text.push_str(&self.text[..after]);
            text.push_str(" []");
            text.push_str(&self.text[after..first]);
        } else {
            text.push_str(&self.text[..first]);
        }
        text.push_str(&self.text[end..]);
        Ok(text)
    }

    /// Turns `keys: []` into a block list of one.
    fn append_first(&self, fields: &[(&str, String)]) -> Result<String, EditError> {
        let (line, colon) = self.keys_line(self.text.len())?;
        let Line { start, text, .. } = self.lines[line];
        let after = &text[colon + 1..];
        let brackets = after.trim_start().strip_prefix('[').map(str::trim_start);
        let rest = brackets
            .and_then(|inside| inside.strip_prefix(']'))
            .filter(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with('#'))
            .ok_or_else(|| layout(line, "the empty list is not written as `keys: []`"))?;
        let indent = format!("{}  ", &text[..self.lines[line].indent()]);
        let mut edited = format!("{}{rest}", &self.text[..=start + colon]);
        edited.push_str(self.line_end(line));
        for new in entry(&indent, fields) {
            edited.push_str(&new);
            edited.push_str(self.line_end(line));
        }
        edited.push_str(&self.text[self.lines[line].end..]);
        Ok(edited)
    }

    /// The lines an entry may take: from its dash up to the next entry's.
    fn region(&self, index: usize) -> Result<Range<usize>, EditError> {
        let start = self.dash(index)?;
        let end = if index + 1 < self.items.len() {
            self.dash(index + 1)?
        } else {
            let marker = |line: &&Line<'_>| line.text.starts_with("...");
            let rest = &self.lines[start..];
            start + rest.iter().position(|line| marker(&line)).unwrap_or(rest.len())
        };
        Ok(start..end)
    }

    /// The line with an entry's dash: its own, or one above it.
    fn dash(&self, index: usize) -> Result<usize, EditError> {
        let (line, column) = self.items[index];
        let is_dash = |text: &str| text.trim_matches([' ', '\t']) == "-";
        let before = &self.lines[line].text[..column];
        if is_dash(before) {
            return Ok(line);
        }
        let not_a_list = || layout(line, "the keys are not one item a line after `- `");
        if !before.trim_start().is_empty() {
            return Err(not_a_list());
        }
        let above = self.lines[..line].iter().rposition(|line| !line.is_blank_or_comment());
        above
            .filter(|above| {
                let text = self.lines[*above].text;
                is_dash(text.split_once(" #").map_or(text, |(before, _)| before))
            })
            .ok_or_else(not_a_list)
    }

    /// The last line of a region that is more than a comment. What looks like a comment inside
    /// a block scalar belongs to the scalar.
    fn last_content(&self, region: Range<usize>) -> usize {
        let mut last = region.start;
        let mut scalar_indent = None;
        for index in region {
            let line = &self.lines[index];
            let inside = scalar_indent.is_some_and(|indent| line.indent() > indent);
            if line.text.trim().is_empty() || (line.is_blank_or_comment() && !inside) {
                continue;
            }
            last = index;
            if !inside {
                scalar_indent = opens_block_scalar(line.text).then(|| key_column(line.text));
            }
        }
        last
    }

    /// The line of a block entry that has this field.
    fn find_field(&self, index: usize, region: Range<usize>, field: &str) -> Option<usize> {
        let (first, column) = self.items[index];
        let mut lines = first..region.end;
        lines.find(|line| {
            let text = self.lines[*line].text;
            let at_column = *line == first || self.lines[*line].indent() == column;
            at_column && text.get(column..).is_some_and(|text| key_length(text, field).is_some())
        })
    }

    /// The position of the value of the field on this line.
    fn value_on_line(&self, line: usize) -> Result<Range<usize>, EditError> {
        let Line { start, text, .. } = self.lines[line];
        let colon = text.find(':').unwrap_or(text.len());
        let value = text[colon..].trim_start_matches(':').trim_start();
        let length = flow::scalar_on_line(value)
            .ok_or_else(|| layout(line, "the value is not one word behind its key"))?;
        let at = start + text.len() - value.len();
        Ok(at..at + length)
    }

    fn set_in_flow(&self, open: usize, field: &str, value: &str) -> Result<String, EditError> {
        let line = self.lines.partition_point(|line| line.end <= open);
        let not_closed = || layout(line, "an entry in braces that cannot be followed");
        let mapping = flow::scan(self.text, open).ok_or_else(not_closed)?;
        let same = |key: &str| key.trim_matches(['"', '\'']) == field;
        let found = mapping.pairs.iter().find(|(key, _)| same(&self.text[key.clone()]));
        if let Some((_, old)) = found {
            return Ok(self.replace(old.clone(), value));
        }
        let comma = if mapping.trailing_comma { "" } else { "," };
        let at = mapping.end_of_content;
        Ok(self.replace(at..at, &format!("{comma} {field}: {value}")))
    }

    /// The line with the key `keys` before this byte, and its colon.
    fn keys_line(&self, before: usize) -> Result<(usize, usize), EditError> {
        let lines = self.lines.iter().take_while(|line| line.start < before).enumerate();
        let found = lines.filter_map(|(index, line)| {
            let indent = line.indent();
            Some((index, indent + key_length(&line.text[indent..], "keys")?))
        });
        found.last().ok_or_else(|| layout(0, "`keys:` does not begin a line"))
    }

    fn insert_after(&self, line: usize, new: &[String]) -> String {
        let at = self.lines[line].end;
        let mut text = self.text[..at].to_owned();
        if !text.ends_with('\n') {
            text.push_str(self.line_end(line));
        }
        for new in new {
            text.push_str(new);
            text.push_str(self.line_end(line));
        }
        text.push_str(&self.text[at..]);
        text
    }

    fn replace(&self, span: Range<usize>, with: &str) -> String {
        format!("{}{with}{}", &self.text[..span.start], &self.text[span.end..])
    }

    /// The line end new lines get: that of this line, or of the first if this is the last.
    fn line_end(&self, line: usize) -> &'t str {
        let end_of = |line: &Line<'_>| &self.text[line.start + line.text.len()..line.end];
        let ends = [self.lines.get(line), self.lines.first()];
        ends.into_iter().flatten().map(end_of).find(|end| !end.is_empty()).unwrap_or("\n")
    }
}

/// The lines of a new entry.
fn entry(indent: &str, fields: &[(&str, String)]) -> Vec<String> {
    let dash = |index| if index == 0 { '-' } else { ' ' };
    let lines = fields.iter().enumerate();
    lines.map(|(index, (name, value))| format!("{indent}{} {name}: {value}", dash(index))).collect()
}

/// Line and byte column of an entry, from its line and character column.
fn position(lines: &[Line<'_>], key: &SpannedKey) -> Option<(usize, usize)> {
    let index = usize::try_from(key.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(key.column).ok()?.checked_sub(1)?;
    let text = lines.get(index)?.text;
    let (byte, _) = text.char_indices().nth(column)?;
    Some((index, byte))
}

/// The length of the key at the beginning of `text`, quotes and spaces included, when it is `field`
/// and a colon follows.
fn key_length(text: &str, field: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let rest = match quote {
        None => text.strip_prefix(field)?,
        Some(quote) => text[1..].strip_prefix(field)?.strip_prefix(quote)?,
    };
    let colon = rest.trim_start_matches([' ', '\t']);
    let after = colon.strip_prefix(':')?;
    let ends = after.is_empty() || after.starts_with([' ', '\t']);
    ends.then_some(text.len() - colon.len())
}

/// The position of the key of a line: after the dash, if there is one.
fn key_column(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t', '-']).len()
}

/// True if a line ends in `|` or `>`, with or without indicators and a comment.
fn opens_block_scalar(text: &str) -> bool {
    let text = text.split_once(" #").map_or(text, |(before, _)| before).trim_end();
    let header = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    header.ends_with(": |") || header.ends_with(": >")
}

fn layout(line: usize, what: &'static str) -> EditError {
    EditError::Layout { line: line + 1, what }
}
