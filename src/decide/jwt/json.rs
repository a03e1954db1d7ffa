//! Strict JSON objects: what a lenient reader would let differ from reader to reader is refused.
//!
//! Owns duplicate names (also spelled with `\u` escapes), depth, the number of members, and
//! nothing after the end (RFC 8725 section 2.4, RFC 7515 section 4). An attacker would give two
//! `alg` or two `sub` and hope that we read one and the upstream the other (R-310, R-314). Never
//! knows what a name means.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Real tokens nest two or three levels; a reader further down may recurse.
const DEPTH_MAX: u8 = 32;

/// Names and array items together, by where the object comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A token of at most 8 KiB: the largest group lists of known issuers fit.
    Token,
    /// A key file of the operator: a hundred keys with certificates fit.
    KeyFile,
}

impl Origin {
    const fn members_max(self) -> u32 {
        match self {
            Self::Token => 1024,
            Self::KeyFile => 16 * 1024,
        }
    }
}

/// The reason why a text is not a JSON object we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFault {
    /// Not JSON, not UTF-8, or something after the end.
    Syntax,
    /// JSON, but not an object.
    NotAnObject,
    /// A name that occurs twice in one object.
    DuplicateName,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// More members than [`Origin`] allows.
    TooManyMembers,
}

/// A [`JsonFault`] and the line it was seen on, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonError {
    pub(super) fault: JsonFault,
    pub(super) line: usize,
}

/// Reads exactly one object.
pub(super) fn parse_object(bytes: &[u8], origin: Origin) -> Result<Map<String, Value>, JsonError> {
    let budget = Budget { members: Cell::new(origin.members_max()), fault: Cell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let object = reader.deserialize_map(Object(Node { budget: &budget, depth: 1 }));
    object.and_then(|object| reader.end().map(|()| object)).map_err(|error| {
        let other = if error.is_data() { JsonFault::NotAnObject } else { JsonFault::Syntax };
        JsonError { fault: budget.fault.get().unwrap_or(other), line: error.line() }
    })
}

/// The budget left for one text, and the error that ended it: serde errors carry text only.
struct Budget {
    members: Cell<u32>,
    fault: Cell<Option<JsonFault>>,
}

impl Budget {
    fn fail<T, E: Error>(&self, fault: JsonFault) -> Result<T, E> {
        self.fault.set(Some(fault));
        Err(E::custom("refused"))
    }

    fn spend<E: Error>(&self) -> Result<(), E> {
        match self.members.get().checked_sub(1) {
            Some(left) => {
                self.members.set(left);
                Ok(())
            }
            None => self.fail(JsonFault::TooManyMembers),
        }
    }
}

#[derive(Clone, Copy)]
struct Node<'b> {
    budget: &'b Budget,
    /// The number of objects and arrays around this value.
    depth: u8,
}

impl Node<'_> {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return self.budget.fail(JsonFault::TooDeep);
        }
        Ok(Self { budget: self.budget, depth: self.depth + 1 })
    }

    fn members<'de, A: MapAccess<'de>>(self, mut from: A) -> Result<Map<String, Value>, A::Error> {
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            self.budget.spend()?;
            match members.entry(name) {
                Entry::Occupied(_) => return self.budget.fail(JsonFault::DuplicateName),
                Entry::Vacant(free) => {
                    free.insert(from.next_value_seed(self)?);
                }
            }
        }
        Ok(members)
    }
}

struct Object<'b>(Node<'b>);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Self::Value, A::Error> {
        self.0.members(from)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        match Number::from_f64(number) {
            Some(number) => Ok(Value::Number(number)),
            None => self.budget.fail(JsonFault::Syntax),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(inside)? {
            self.budget.spend()?;
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        self.inside()?.members(from).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), JsonFault>) {
        let read = parse_object(text.as_bytes(), Origin::Token);
        assert_eq!(read.map(|_| ()).map_err(|error| error.fault), expected, "{text:.200}");
    }

    #[test]
    fn r314_a_key_file_may_have_more_members_than_a_token() {
        let text = format!("{{\"k\":[{}0]}}", "0,".repeat(5_000));
        assert!(parse_object(text.as_bytes(), Origin::KeyFile).is_ok());
        let refused = parse_object(text.as_bytes(), Origin::Token).unwrap_err();
        assert_eq!(refused.fault, JsonFault::TooManyMembers);
    }

    #[test]
    fn r310_a_name_may_occur_once_in_each_object() {
        check(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#, Ok(()));
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[[{"a":1,"\u0061":2}]]}"#,
            r#"{"":1,"":1}"#,
        ] {
            check(text, Err(JsonFault::DuplicateName));
        }
    }

    /// A negative number read as `null` would fail a condition that it should meet.
    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text =
            r#"{"a":-1,"b":18446744073709551615,"c":-1.5e-3,"d":[null,true,false,"\u00e9",{}]}"#;
        let read = parse_object(text.as_bytes(), Origin::Token).unwrap();
        assert_eq!(Value::Object(read), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn r314_depth_and_members_are_bounded() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        check(&nested(31), Ok(()));
        check(&nested(32), Err(JsonFault::TooDeep));
        check(&nested(10_000), Err(JsonFault::TooDeep));
        let wide = |items: usize| format!("{{\"a\":[{}]}}", vec!["1"; items].join(","));
        check(&wide(1023), Ok(()));
        check(&wide(1024), Err(JsonFault::TooManyMembers));
    }

    #[test]
    fn r310_only_one_whole_object_is_read() {
        for text in
            ["", " ", "{", "{}{}", "{} x", "{'a':1}", "{\"a\":1,}", "{\"a\":01}", "\u{feff}{}"]
        {
            check(text, Err(JsonFault::Syntax));
        }
        for text in ["{\"a\":\"\\ud800\"}", "{\"a\":1e400}", "{\"a\":NaN}", "{\"a\":\"\n\"}"] {
            check(text, Err(JsonFault::Syntax));
        }
        for text in ["null", "[]", "1", "\"{}\"", "true"] {
            check(text, Err(JsonFault::NotAnObject));
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}", Origin::Token).is_err());
    }
}
