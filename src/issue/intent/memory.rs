//! A store in memory, for tests and fuzz targets.
//!
//! Owns running an intent on plain tables. Never used by a server: nothing is kept.

use std::collections::HashMap;

use crate::base::clock::UnixTime;
use crate::issue::intent::{Act, EndAll, Intent, Need, Query, Refusal, Rows};
use crate::issue::rows::{Column, Row, Table, Value};

/// All rows.
#[derive(Debug, Default)]
pub struct Memory {
    tables: HashMap<Table, Vec<Vec<Value>>>,
    /// Every act so far.
    pub acts: Vec<Act>,
}

impl Memory {
    /// Runs an intent as one transaction.
    ///
    /// # Panics
    /// A row is damaged, or an intent asks for the same rows twice.
    pub fn run<I: Intent>(&mut self, intent: &I, now: UnixTime) -> Result<I::Answer, Refusal> {
        let mut rows = Rows::default();
        // Every round reads one more query; no intent has that many.
        for _ in 0..100 {
            match intent.decide(&rows, now) {
                Ok(decision) => {
                    for end in decision.ends {
                        self.end_all(&end, now);
                    }
                    for write in decision.writes {
                        self.put(write.table, write.values);
                    }
                    self.acts.extend(decision.acts);
                    return decision.outcome;
                }
                Err(Need::Rows(query)) => {
                    let found = self.find(&query);
                    rows.insert(query, found);
                }
                Err(other) => panic!("{}: {other}", I::NAME),
            }
        }
        panic!("{} asks for the same rows again", I::NAME);
    }

    /// Every row of a table.
    ///
    /// # Panics
    /// A row is damaged.
    #[must_use]
    pub fn all<R: Row>(&self) -> Vec<R> {
        let rows = self.tables.get(&R::TABLE).into_iter().flatten();
        rows.map(|row| R::of(row.clone()).expect("what was written reads")).collect()
    }

    /// Writes a row as a test wants it.
    pub fn insert<R: Row>(&mut self, row: &R) {
        self.put(R::TABLE, row.values());
    }

    fn put(&mut self, table: Table, values: Vec<Value>) {
        let rows = self.tables.entry(table).or_default();
        match rows.iter_mut().find(|row| row[0] == values[0]) {
            Some(row) => *row = values,
            None => rows.push(values),
        }
    }

    fn end_all(&mut self, end: &EndAll, now: UnixTime) {
        let columns = end.table.columns();
        let place = |column: &str| columns.iter().position(|name| *name == column);
        let ended = place("ended").expect("a table whose rows end");
        let is_hit = |row: &[Value]| {
            let same = |(column, value): &(&str, Value)| {
                place(column).is_some_and(|place| row[place] == *value)
            };
            row[ended] == Value::Null && end.of.iter().all(same)
        };
        for row in self.tables.entry(end.table).or_default() {
            if is_hit(row) {
                row[ended] = now.to_value();
            }
        }
    }

    pub(super) fn find(&self, query: &Query) -> Vec<Vec<Value>> {
        let columns = query.table.columns();
        let column = columns.iter().position(|name| *name == query.column);
        let column = column.expect("a column of the table");
        let ended = columns.iter().position(|name| *name == "ended");
        let is_over = |row: &[Value]| ended.is_some_and(|ended| row[ended] != Value::Null);
        let rows = self.tables.get(&query.table).into_iter().flatten();
        let expires = columns.iter().position(|name| *name == "expires");
        let is_open = |row: &[Value]| match (query.open, expires.map(|at| &row[at])) {
            (Some(now), Some(Value::Int(end))) => u64::try_from(*end).is_ok_and(|end| end > now.0),
            (Some(_) | None, _) => true,
        };
        let rows = rows.filter(|row| row[column] == query.value && !(query.live && is_over(row)));
        let rows = rows.filter(|row| is_open(row));
        rows.cloned().collect()
    }
}
