//! The statements of one transaction.
//!
//! Owns their order: what intents read, the rows of each at a savepoint of its own, and the numbers
//! and lines of the audit log, last. Never answers an intent.

use crate::base::clock::UnixTime;
use crate::issue::intent::{Need, Rows};
use crate::issue::rows::{Audit, Value};
use crate::serve::store::Failure;
use crate::serve::store::backend::{Backend, Changed};
use crate::serve::store::job::{Draft, Job};
use crate::serve::store::writer::Writer;

/// The most queries of one intent: a faulty intent would ask forever. As many are kept for the next
/// intents of the transaction.
const QUERIES_MAX: usize = 64;
/// The longest value of a column.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// An intent of a transaction that is not committed yet.
pub(super) struct Done {
    pub(super) number: u64,
    pub(super) draft: Draft,
}

impl<B: Backend> Writer<B> {
    pub(super) async fn try_all(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<(UnixTime, Vec<Result<Done, Failure>>), Failure> {
        let (number, last) = self.backend.begin().await?;
        if number != self.seen {
            // Another process was faster: its changes come first.
            self.catch_up(number).await?;
        }
        let at = self.clock.transaction(last);
        let mut results = Vec::with_capacity(jobs.len());
        // Read within this transaction, and true until something is written in it.
        let mut rows = Rows::default();
        for job in jobs.iter_mut() {
            if rows.queries() >= QUERIES_MAX {
                rows = Rows::default();
            }
            let result = match self.decide(job.as_mut(), at, &mut rows).await {
                Ok(draft) if draft.has_no_rows() => Ok(Done { number: 0, draft }),
                Ok(draft) => {
                    rows = Rows::default();
                    self.write_at_mark(job.as_ref(), draft, at).await
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = &result
                && !is_alone(failure)
            {
                return Err(failure.clone());
            }
            results.push(result);
        }
        self.write_acts(jobs, &mut results, at).await?;
        let writes = results.iter().any(|result| result.as_ref().is_ok_and(|done| done.number > 0));
        if writes {
            self.backend.commit().await?;
        } else {
            self.backend.rollback().await;
        }
        Ok((at, results))
    }

    /// Numbers and lines of intents that write no row, such as the issue of a token: all of them
    /// together, because each statement costs as much as a token.
    async fn write_acts(
        &mut self,
        jobs: &[Box<dyn Job>],
        results: &mut [Result<Done, Failure>],
        at: UnixTime,
    ) -> Result<(), Failure> {
        let acts = jobs.iter().zip(results).filter_map(|(job, result)| {
            let done = result.as_mut().ok()?;
            (done.number == 0 && !done.draft.acts.is_empty()).then_some((job, done))
        });
        let acts: Vec<_> = acts.collect();
        if acts.is_empty() {
            return Ok(());
        }
        let count = acts.len() as u64;
        let first = self.backend.numbers(count, at).await? - count + 1;
        let mut lines = Vec::with_capacity(acts.len());
        for (number, (job, done)) in (first..).zip(acts) {
            done.number = number;
            lines.extend(audit_lines(job.as_ref(), &done.draft, (number, at)));
        }
        self.backend.audit(&lines).await
    }

    /// Writes the rows of one intent. Where it fails alone, nothing of it is left.
    async fn write_at_mark(
        &mut self,
        job: &dyn Job,
        draft: Draft,
        at: UnixTime,
    ) -> Result<Done, Failure> {
        self.backend.mark().await?;
        let result = self.write_rows(job, draft, at).await;
        if result.as_ref().is_err_and(is_alone) {
            self.backend.rollback_to_mark().await?;
        }
        if result.as_ref().err().is_none_or(is_alone) {
            self.backend.release_mark().await?;
        }
        result
    }

    async fn write_rows(
        &mut self,
        job: &dyn Job,
        mut draft: Draft,
        at: UnixTime,
    ) -> Result<Done, Failure> {
        let mut ended = Vec::new();
        for end in &draft.ends {
            ended.extend(self.backend.end_all(end, at).await?);
        }
        for write in &draft.writes {
            if write.values.iter().any(is_too_long) {
                return Err(Failure::Rows("a value exceeds 1 MiB".into()));
            }
            self.backend.write(write).await?;
        }
        draft.writes.append(&mut ended);
        let number = self.backend.numbers(1, at).await?;
        self.backend.audit(&audit_lines(job, &draft, (number, at))).await?;
        let followed = draft.writes.iter().filter(|write| write.table.is_followed());
        for (position, write) in (0..).zip(followed) {
            let write = write.clone();
            self.backend.log(&Changed { number, position, at, write }).await?;
        }
        Ok(Done { number, draft })
    }

    /// Asks the intent until it has all rows that it needs.
    pub(super) async fn decide(
        &mut self,
        job: &mut dyn Job,
        at: UnixTime,
        rows: &mut Rows,
    ) -> Result<Draft, Failure> {
        for _ in 0..QUERIES_MAX {
            match job.decide(rows, at) {
                Ok(draft) => return Ok(draft),
                Err(Need::Rows(query)) => {
                    let found = self.backend.find(&query).await?;
                    rows.insert(query, found);
                }
                Err(Need::Damaged(row)) => return Err(row.into()),
                Err(need @ Need::TooMany(_)) => return Err(Failure::Rows(need.to_string().into())),
            }
        }
        Err(Failure::Rows(format!("{} asks for the same rows again", job.name()).into()))
    }
}

/// The lines of an intent in the audit log.
fn audit_lines(job: &dyn Job, draft: &Draft, (number, at): (u64, UnixTime)) -> Vec<Audit> {
    let acts = (0..).zip(draft.acts.iter().cloned());
    acts.map(|(position, act)| job.line(act, (number, position, at))).collect()
}

/// Longer values have smuggled SQL past a driver whose lengths overflowed (RUSTSEC-2024-0363).
fn is_too_long(value: &Value) -> bool {
    let bytes = match value {
        Value::Null | Value::Int(_) => 0,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    };
    bytes > VALUE_BYTES_MAX
}

/// Errors of one intent, which leave the others of its transaction alone.
pub(super) fn is_alone(failure: &Failure) -> bool {
    matches!(failure, Failure::Constraint(_) | Failure::Damaged(_) | Failure::Rows(_))
}
