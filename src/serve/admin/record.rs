//! Changes of the log of revocations in the audit log of the issuer.
//!
//! Owns the line of a change, and its way to a store that does not answer: the change is in force
//! and synced before, so the line waits. At most [`WAITING_MAX`] lines wait; a restart forgets
//! them, and the log of revocations still has the entry. Never delays a revocation.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::revocation::{Entry, Kind};
use crate::issue::intent::Act;
use crate::issue::intent::revoke::RecordRevocation;
use crate::issue::rows::Id;
use crate::serve::shared::Shared;
use crate::serve::store::{Caller, Failure};

/// The most lines that wait for the store.
const WAITING_MAX: usize = 1_000;
/// Between two tries.
const RETRY: Duration = Duration::from_secs(5);
/// The answer to a change waits at most this long for its line.
const ANSWER: Duration = Duration::from_secs(2);

static WAITING: Semaphore = Semaphore::const_new(WAITING_MAX);

/// The line of a change. What another issuer gave has no names in the audit log but that of the
/// entry.
pub(super) fn act(act: &'static str, entry: &Entry, issuer: Option<&str>) -> Act {
    let target = entry.target().as_ref();
    let is_own = target.issuer == API_KEY_ISSUER || issuer == Some(target.issuer);
    let (act, named) = (Act::new(act), Id::from(target.value));
    match target.kind {
        _ if !is_own || target.value.is_empty() => {
            act.credential(&Id::from(&*entry.id().to_string()))
        }
        Kind::Subject | Kind::IssuedBefore => act.subject(&named),
        Kind::Client => act.application(&named),
        Kind::Jti | Kind::Kid | Kind::Key => act.credential(&named),
    }
}

/// Writes the line of a change, now or later. The nodes on which the change is known to be in
/// force: all, or this one while the store does not answer; `None` without an issuer.
pub(super) async fn record(shared: &Arc<Shared>, act: Act, caller: Caller) -> Option<&'static str> {
    shared.snapshots.load().dynamic.issuer.as_ref()?;
    let Ok(permit) = WAITING.try_acquire() else {
        tracing::error!(
            "{WAITING_MAX} lines wait for the store: a revocation is not in the audit log"
        );
        return Some("this");
    };
    let (done, first) = oneshot::channel();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        store(&shared, RecordRevocation(act), caller, done).await;
        drop(permit);
    });
    let is_stored = tokio::time::timeout(ANSWER, first).await;
    Some(if matches!(is_stored, Ok(Ok(true))) { "all" } else { "this" })
}

/// Tries until the line is stored; tells how the first try went.
async fn store(
    shared: &Shared,
    line: RecordRevocation,
    caller: Caller,
    first: oneshot::Sender<bool>,
) {
    let mut first = Some(first);
    loop {
        let stored = match shared.issuer_store.get() {
            Some(running) => running.open.store.run(line.clone(), caller.clone()).await,
            None => Err(Failure::Closed.into()),
        };
        if let Some(first) = first.take() {
            // The answer may be sent already.
            let _ = first.send(stored.is_ok());
            if let Err(error) = &stored {
                tracing::warn!(%error, "a revocation is in force, and in the audit log once the store answers");
            }
        }
        if stored.is_ok() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixTime;
    use crate::decide::revocation::Target;

    #[test]
    fn contract_the_audit_log_names_what_a_revocation_ends() {
        let own = "https://api.example.com";
        let line = |target| act("revocation.create", &Entry::new(target, UnixTime(1)), Some(own));
        let token = |kind, value| Target::token(kind, own.into(), value);
        let id = |text: &str| Some(Id::from(text));
        assert_eq!(line(token(Kind::Subject, "usr_1")).subject, id("usr_1"));
        assert_eq!(line(token(Kind::IssuedBefore, "usr_1")).subject, id("usr_1"));
        assert_eq!(line(token(Kind::Client, "shop")).application, id("shop"));
        assert_eq!(line(token(Kind::Jti, "gr_1.7")).credential, id("gr_1.7"));
        assert_eq!(line(Target::key("key_1")).credential, id("key_1"));
        for other in [
            token(Kind::IssuedBefore, ""),
            Target::token(Kind::Subject, "https://other.example".into(), "usr_1"),
        ] {
            let entry = Entry::new(other, UnixTime(1));
            let line = act("revocation.delete", &entry, Some(own));
            assert_eq!((line.subject, line.credential), (None, id(&entry.id().to_string())));
        }
    }
}
