//! Retention of the audit log.
//!
//! Owns the estimate of its size and the deletion of its oldest lines. Summing millions of lines takes
//! a second, in which no intent is committed: each sweep counts the next lines alone, so that after a
//! start it takes a while until the size is known, and lines go later. Never deletes what is young and
//! fits.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row as _, query};

use crate::base::clock::UnixTime;

/// Lines that one sweep deletes for each of the two reasons.
const DELETED_MAX: i64 = 5_000;

/// Lines that one sweep counts, up to the end of a transaction.
const COUNTED_MAX: i64 = 50_000;

/// The texts of a line, and what numbers and the index take.
macro_rules! line_bytes {
    () => {
        "(60 + length(act) + length(actor) + 2 * coalesce(length(subject), 0) \
          + coalesce(length(application), 0) + coalesce(length(credential), 0) \
          + coalesce(length(address), 0) + coalesce(length(request), 0))"
    };
}

/// The time of a line is never earlier than that of the one before: the oldest are enough.
const BY_AGE: &str = concat!(
    "DELETE FROM audit WHERE (number, position) IN \
     (SELECT number, position FROM (SELECT number, position, at FROM audit \
     ORDER BY number, position LIMIT $2) WHERE at < $1) RETURNING number, ",
    line_bytes!()
);

const OLDEST: &str = concat!(
    "DELETE FROM audit WHERE (number, position) IN \
     (SELECT number, position FROM audit ORDER BY number, position LIMIT $1) RETURNING number, ",
    line_bytes!()
);

const NEXT: &str = concat!(
    "SELECT coalesce(max(number), $1), count(*), coalesce(sum(",
    line_bytes!(),
    "), 0) FROM audit WHERE number > $1 AND number <= (SELECT coalesce(max(number), $1) FROM \
     (SELECT number FROM audit WHERE number > $1 ORDER BY number LIMIT $2))"
);

/// The lines that were counted.
#[derive(Debug, Default)]
pub(super) struct AuditSize {
    /// Those of transactions up to this number.
    counted_to: i64,
    lines: i64,
    bytes: i64,
}

impl AuditSize {
    /// Deletes lines from before an instant, and the oldest beyond a size. Returns their number.
    pub(super) async fn sweep(
        &mut self,
        connection: &mut SqliteConnection,
        before: UnixTime,
        most: u64,
    ) -> Result<u64, sqlx::Error> {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let by_age = query(BY_AGE).bind(number(before.0)).bind(DELETED_MAX);
        let rows = by_age.fetch_all(&mut *connection).await?;
        let mut deleted = self.forget(&rows)?;
        self.count(connection).await?;
        let beyond = self.bytes.saturating_sub(number(most));
        if beyond > 0 {
            let each = (self.bytes / self.lines.max(1)).max(1);
            let lines = (beyond + each - 1) / each;
            let oldest = query(OLDEST).bind(lines.min(DELETED_MAX));
            let rows = oldest.fetch_all(&mut *connection).await?;
            deleted += self.forget(&rows)?;
        }
        Ok(deleted)
    }

    /// Counts the next lines.
    async fn count(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let next = query(NEXT).bind(self.counted_to).bind(COUNTED_MAX);
        let row = next.fetch_one(connection).await?;
        self.counted_to = row.try_get(0)?;
        self.lines += row.try_get::<i64, _>(1)?;
        self.bytes += row.try_get::<i64, _>(2)?;
        Ok(())
    }

    /// Takes deleted lines out of the count.
    fn forget(&mut self, rows: &[SqliteRow]) -> Result<u64, sqlx::Error> {
        for row in rows {
            let number: i64 = row.try_get(0)?;
            if number <= self.counted_to {
                self.lines -= 1;
                self.bytes -= row.try_get::<i64, _>(1)?;
            }
        }
        Ok(rows.len() as u64)
    }
}
