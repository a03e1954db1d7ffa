//! Pages of a table, for commands and the admin listener.
//!
//! Owns the statement of a [`Listing`]. Names of columns come from the program; values are bound.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, query};

use crate::issue::rows::{Column, Value};
use crate::serve::store::sqlite::connection::{bind, failure, is, values};
use crate::serve::store::{Failure, LISTED_MAX, Listing, Standing};

pub(super) async fn list(
    connection: &mut SqliteConnection,
    asked: &Listing,
) -> Result<Vec<Vec<Value>>, Failure> {
    let (sql, bound) = statement(asked);
    let rows = bound.into_iter().fold(query(AssertSqlSafe(sql)), bind).fetch_all(connection).await;
    rows.map_err(failure)?.iter().map(values).collect()
}

/// The text, and the values of its parameters in order.
fn statement(asked: &Listing) -> (String, Vec<Value>) {
    let columns = asked.table.columns();
    let mut bound = Vec::new();
    let mut conditions = Vec::new();
    if asked.live && columns.contains(&"ended") {
        conditions.push("ended IS NULL".to_owned());
    }
    for (column, value) in &asked.of {
        bound.push(value.clone());
        conditions.push(is(column, value, bound.len()));
    }
    if let Some((column, since)) = asked.since {
        bound.push(since.to_value());
        conditions.push(format!("{column} >= ${}", bound.len()));
    }
    let expires = columns.contains(&"expires");
    match asked.standing {
        None => {}
        Some(Standing::Disabled) => conditions.push("disabled IS NOT NULL".to_owned()),
        Some(Standing::Active(_)) if !expires => conditions.push("disabled IS NULL".to_owned()),
        Some(Standing::Active(now)) => {
            bound.push(now.to_value());
            let later = format!("(expires IS NULL OR expires > ${})", bound.len());
            conditions.push(format!("disabled IS NULL AND {later}"));
        }
        Some(Standing::Expired(_)) if !expires => conditions.push("false".to_owned()),
        Some(Standing::Expired(now)) => {
            bound.push(now.to_value());
            conditions.push(format!("expires <= ${}", bound.len()));
        }
    }
    let keys = columns[..asked.after.len().max(1)].join(", ");
    if !asked.after.is_empty() {
        let first = bound.len() + 1;
        bound.extend(asked.after.iter().cloned());
        let places: Vec<_> = (first..=bound.len()).map(|place| format!("${place}")).collect();
        conditions.push(format!("({keys}) > ({})", places.join(", ")));
    }
    let holds = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    let (table, columns) = (asked.table.name(), columns.join(", "));
    let limit = asked.limit.min(LISTED_MAX + 1);
    (format!("SELECT {columns} FROM {table} WHERE {holds} ORDER BY {keys} LIMIT {limit}"), bound)
}
