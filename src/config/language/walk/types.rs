//! The types of values: how each is read, its bounds and its JSON Schema.
//!
//! Owns the types that several sections share. Never knows what a key means.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::language::walk::key::{Form, Key, Section, Type};
use crate::config::language::walk::{Mapping, Value};

/// `${NAME}` is accepted in any scalar, for a value of any type.
const EXPANDED: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}";

fn or_expanded(schema: &Json) -> Json {
    json!({ "anyOf": [schema, { "type": "string", "pattern": EXPANDED }] })
}

/// Any scalar is a text: 1.10 stays 1.10.
fn any_scalar() -> Json {
    json!({ "type": ["string", "number", "boolean"] })
}

/// A text that is not empty.
#[derive(Clone, Copy, Debug)]
pub struct Text;

impl Form for Text {
    fn schema(&self) -> Json {
        any_scalar()
    }
}

impl Type for Text {
    type Read = Box<str>;

    fn read(&self, value: &Value<'_>) -> Option<Box<str>> {
        value.text().map(Box::from)
    }
}

/// A text that a function reads; its error is the message.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<T>(pub fn(&str) -> Result<T, String>);

impl<T: Debug> Form for Parsed<T> {
    fn schema(&self) -> Json {
        any_scalar()
    }
}

impl<T: Debug> Type for Parsed<T> {
    type Read = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        value.parse(self.0)
    }
}

/// Values of the type `F` that a function reads.
#[derive(Clone, Copy, Debug)]
pub struct Custom<F, T>(pub F, pub fn(&Value<'_>) -> Option<T>);

impl<F: Form, T: Debug> Form for Custom<F, T> {
    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn bounds(&self) -> Option<String> {
        self.0.bounds()
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        self.0.sections(path, see);
    }
}

impl<F: Form, T: Debug> Type for Custom<F, T> {
    type Read = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        (self.1)(value)
    }
}

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub struct Truth;

impl Form for Truth {
    fn schema(&self) -> Json {
        or_expanded(&json!({ "type": "boolean" }))
    }
}

impl Type for Truth {
    type Read = bool;

    fn read(&self, value: &Value<'_>) -> Option<bool> {
        value.truth()
    }
}

/// A switch that is weaker than the safe default when it is on: it is noted in the report.
#[derive(Clone, Copy, Debug)]
pub struct Insecure;

impl Key<Insecure> {
    /// A switch `insecure_...`, off by default.
    #[must_use]
    pub const fn insecure(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Insecure, about).or("false")
    }
}

impl Form for Insecure {
    fn schema(&self) -> Json {
        Truth.schema()
    }
}

impl Type for Insecure {
    type Read = bool;

    fn read(&self, value: &Value<'_>) -> Option<bool> {
        let is_on = value.truth()?;
        if is_on {
            value.note_insecure();
        }
        Some(is_on)
    }
}

/// A whole number within these bounds.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub u64, pub u64);

impl Form for Number {
    fn schema(&self) -> Json {
        or_expanded(&json!({ "type": "integer", "minimum": self.0, "maximum": self.1 }))
    }

    fn bounds(&self) -> Option<String> {
        Some(format!("{} to {}", self.0, self.1))
    }
}

impl Type for Number {
    type Read = usize;

    fn read(&self, value: &Value<'_>) -> Option<usize> {
        value.number(self.0..=self.1).and_then(|number| usize::try_from(number).ok())
    }
}

/// `250ms`, `30s`, `5m`, `24h`, `90d`, within these bounds.
#[derive(Clone, Copy, Debug)]
pub struct Lasting(pub Duration, pub Duration);

impl Form for Lasting {
    fn schema(&self) -> Json {
        or_expanded(&json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }))
    }

    fn bounds(&self) -> Option<String> {
        Some(format!("{} to {}", duration(self.0), duration(self.1)))
    }
}

impl Type for Lasting {
    type Read = Duration;

    fn read(&self, value: &Value<'_>) -> Option<Duration> {
        value.duration(self.0..=self.1)
    }
}

/// A duration as it is written, in the largest unit that fits.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let fitting =
        units.into_iter().find(|(_, unit)| millis.is_multiple_of(*unit) && millis >= *unit);
    match fitting {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// A number of bytes within these bounds.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64, pub u64);

/// A number of bytes within these bounds, or `off`, which reads as `None`.
#[derive(Clone, Copy, Debug)]
pub struct SizeOrOff(pub u64, pub u64);

impl Form for Size {
    fn schema(&self) -> Json {
        or_expanded(&json!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(k|M|G|KiB|MiB|GiB)?$" },
            ],
        }))
    }

    fn bounds(&self) -> Option<String> {
        match (self.0, self.1) {
            (0, u64::MAX) => None,
            (low, high) => Some(format!("{} to {}", size(low), size(high))),
        }
    }
}

impl Type for Size {
    type Read = u64;

    fn read(&self, value: &Value<'_>) -> Option<u64> {
        value.parse(|text| {
            let bytes = parse_size(text).map_err(|error| match self.bounds() {
                Some(bounds) => format!("{error}; {bounds} is accepted"),
                None => error,
            })?;
            if (self.0..=self.1).contains(&bytes) {
                return Ok(bytes);
            }
            let bounds = self.bounds().unwrap_or_default();
            Err(format!("{text:?} is out of bounds: {bounds} is accepted"))
        })
    }
}

impl Form for SizeOrOff {
    fn schema(&self) -> Json {
        json!({ "anyOf": [or_expanded(&json!({ "enum": ["off"] })), Size(self.0, self.1).schema()] })
    }

    fn bounds(&self) -> Option<String> {
        Size(self.0, self.1).bounds()
    }
}

impl Type for SizeOrOff {
    type Read = Option<u64>;

    fn read(&self, value: &Value<'_>) -> Option<Option<u64>> {
        if value.is_word("off") { Some(None) } else { Size(self.0, self.1).read(value).map(Some) }
    }
}

/// Bytes as they are written, in the largest binary unit that fits.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit) && bytes >= *unit) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Bytes with an optional suffix.
///
/// # Errors
/// A text that is not a size; the message says what is accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is not a size: write a whole number of bytes, with k, M, G (thousands) or \
             KiB, MiB, GiB after it"
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// One of a closed set of words, each with its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Words<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + Debug + Sync> Form for Words<T> {
    fn schema(&self) -> Json {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        or_expanded(&json!({ "enum": words }))
    }
}

impl<T: Copy + Debug + Sync> Type for Words<T> {
    type Read = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        value.word(self.0)
    }
}

/// A list, with the minimum and maximum number of items.
#[derive(Clone, Copy, Debug)]
pub struct List<F>(pub F, pub usize, pub usize);

impl<F: Form> Form for List<F> {
    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.0.schema() })
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        self.0.sections(&format!("{path}[]"), see);
    }
}

impl<T: Type> Type for List<T> {
    type Read = Vec<T::Read>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Read> {
        let items = value.items()?;
        value.check_count(items.len(), &(self.1..=self.2))?;
        Some(items.iter().filter_map(|item| self.0.read(item)).collect())
    }
}

impl<F> List<F> {
    /// The items of a list, for a reader that needs more than their values. A wrong number of them
    /// is recorded.
    #[must_use]
    pub fn items<'v>(&self, value: &'v Value<'_>) -> Vec<Value<'v>> {
        let Some(items) = value.items() else { return Vec::new() };
        let _ = value.check_count(items.len(), &(self.1..=self.2));
        items
    }
}

impl<F> Key<List<F>> {
    /// The items of a list, as [`List::items`].
    #[must_use]
    pub fn items<'v>(&self, value: &'v Value<'_>) -> Vec<Value<'v>> {
        self.form.items(value)
    }
}

/// One value, or a list, with the minimum and maximum number of items.
#[derive(Clone, Copy, Debug)]
pub struct OneOrMany<F>(pub F, pub usize, pub usize);

impl<F> Key<OneOrMany<F>> {
    /// Reads each item with `read`, for a reader that needs more than their values.
    pub fn each<T>(
        &self,
        value: &Value<'_>,
        read: impl FnMut(&Value<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        value.each(self.form.1..=self.form.2, read)
    }
}

impl<F: Form> Form for OneOrMany<F> {
    fn schema(&self) -> Json {
        let one = self.0.schema();
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        self.0.sections(&format!("{path}[]"), see);
    }
}

impl<T: Type> Type for OneOrMany<T> {
    type Read = Vec<T::Read>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Read> {
        value.each(self.1..=self.2, |item| self.0.read(item))
    }
}

/// A mapping with names of the operator's choice, with their minimum and maximum number.
#[derive(Clone, Copy, Debug)]
pub struct Table<F>(pub F, pub usize, pub usize);

impl<F: Form> Form for Table<F> {
    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": self.0.schema() })
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        self.0.sections(&format!("{path}[]"), see);
    }
}

impl<T: Type> Type for Table<T> {
    type Read = Vec<(Box<str>, T::Read)>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Read> {
        let table = value.table()?;
        value.check_count(table.len(), &(self.1..=self.2))?;
        let read = |(name, value): &(&str, Value<'_>)| Some(((*name).into(), self.0.read(value)?));
        Some(table.iter().filter_map(read).collect())
    }
}

impl<F> Key<Table<F>> {
    /// The names and values of a table, for a reader that needs more than the values. A wrong number
    /// of them is recorded.
    #[must_use]
    pub fn table<'v, 'a: 'v>(&self, value: &'v Value<'a>) -> Vec<(&'a str, Value<'v>)> {
        let Some(table) = value.table() else { return Vec::new() };
        let _ = value.check_count(table.len(), &(self.form.1..=self.form.2));
        table
    }
}

/// A mapping with fixed keys, which a function reads.
#[derive(Clone, Copy, Debug)]
pub struct NestedAs<T>(pub &'static Section, pub fn(&Mapping<'_>) -> Option<T>);

impl<T: Debug> Form for NestedAs<T> {
    fn schema(&self) -> Json {
        self.0.schema()
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        see(path, self.0);
    }
}

impl<T: Debug> Type for NestedAs<T> {
    type Read = T;

    fn read(&self, value: &Value<'_>) -> Option<T> {
        (self.1)(&value.section(self.0)?)
    }
}

/// A mapping with fixed keys, for a reader that needs more than it says.
#[derive(Clone, Copy, Debug)]
pub struct Nested(pub &'static Section);

impl Form for Nested {
    fn schema(&self) -> Json {
        self.0.schema()
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        see(path, self.0);
    }
}

/// A value of either type, which a reader tells apart itself.
#[derive(Clone, Copy, Debug)]
pub struct Either<A, B>(pub A, pub B);

impl<A: Form, B: Form> Form for Either<A, B> {
    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), self.1.schema()] })
    }

    #[cfg(test)]
    fn sections(&self, path: &str, see: &mut dyn FnMut(&str, &'static Section)) {
        self.0.sections(path, see);
        self.1.sections(path, see);
    }
}

/// Anything: claims.
#[derive(Clone, Copy, Debug)]
pub struct Any;

impl Form for Any {
    fn schema(&self) -> Json {
        json!({})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_shown_as_they_are_written() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (60, "1m"), (3_600, "1h"), (86_400, "1d")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::from_millis(1_500)), "1500ms");
        for (bytes, text) in [(0, "0"), (1_025, "1025"), (1 << 10, "1KiB"), (64 << 30, "64GiB")] {
            assert_eq!(size(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
    }
}
