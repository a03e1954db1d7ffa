//! An intent in the queue, with its caller.
//!
//! Owns the erasure of an intent's type, and the answer that waits for the commit. Never commits.

use tokio::sync::oneshot;

use crate::base::clock::UnixTime;
use crate::issue::intent::{Act, EndAll, Intent, Need, Refusal, Rows, Target, Write};
use crate::issue::rows::Audit;
use crate::serve::store::{Committed, NotStored};

/// The caller of an intent, for the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The actor: the id of a person or an application, or `operator`.
    pub actor: Box<str>,
    /// Address.
    pub address: Option<Box<str>>,
    /// Request id.
    pub request: Option<Box<str>>,
}

impl Caller {
    /// The operator, by a command or the admin listener.
    #[must_use]
    pub fn operator() -> Self {
        Self { actor: "operator".into(), ..Self::default() }
    }

    /// The operator at an address, with the id of the request.
    #[must_use]
    pub fn operator_at(address: &str, request: &str) -> Self {
        let (address, request) = (Some(address.into()), Some(request.into()));
        Self { address, request, ..Self::operator() }
    }

    /// A line of the audit log about an act of this caller.
    fn line(&self, act: Act, (number, position, at): (u64, u64, UnixTime)) -> Audit {
        Audit {
            number,
            position,
            at,
            act: act.act.into(),
            actor: self.actor.clone(),
            subject: act.subject,
            application: act.application,
            credential: act.credential,
            address: self.address.clone(),
            request: self.request.clone(),
        }
    }
}

/// The rows that an intent writes.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) ends: Vec<EndAll>,
    pub(crate) writes: Vec<Write>,
    pub(crate) acts: Vec<Act>,
}

impl Draft {
    /// No row is written but lines of the audit log.
    pub(crate) fn has_no_rows(&self) -> bool {
        self.ends.is_empty() && self.writes.is_empty()
    }
}

/// An intent of any type.
pub(crate) trait Job: Send {
    /// Its name in metrics and logs.
    fn name(&self) -> &'static str;
    /// The target that it ends, as far as it is known: by itself, or by its last decision.
    fn ends(&self) -> Vec<Target>;
    /// Decides; the answer is kept until [`Self::answer`].
    fn decide(&mut self, rows: &Rows, now: UnixTime) -> Result<Draft, Need>;
    /// A line of the audit log.
    fn line(&self, act: Act, place: (u64, u64, UnixTime)) -> Audit;
    /// Sends the answer: the number and time of the commit, or what went wrong. Only the first call
    /// does something.
    fn answer(&mut self, result: Result<(u64, UnixTime), NotStored>);
}

type Reply<T> = oneshot::Sender<Result<Committed<T>, NotStored>>;

/// An intent and its caller.
pub(crate) struct Run<I: Intent> {
    intent: I,
    caller: Caller,
    outcome: Option<Result<I::Answer, Refusal>>,
    /// The ends of the last decision.
    targets: Vec<Target>,
    reply: Option<Reply<I::Answer>>,
}

impl<I: Intent> Run<I> {
    pub(crate) fn new(intent: I, caller: Caller, reply: Reply<I::Answer>) -> Self {
        Self { intent, caller, outcome: None, targets: Vec::new(), reply: Some(reply) }
    }
}

impl<I: Intent> Job for Run<I> {
    fn name(&self) -> &'static str {
        I::NAME
    }

    fn ends(&self) -> Vec<Target> {
        self.intent.ends().into_iter().chain(self.targets.iter().cloned()).collect()
    }

    fn decide(&mut self, rows: &Rows, now: UnixTime) -> Result<Draft, Need> {
        let decision = self.intent.decide(rows, now)?;
        self.outcome = Some(decision.outcome);
        self.targets = decision.targets;
        let (ends, writes, acts) = (decision.ends, decision.writes, decision.acts);
        Ok(Draft { ends, writes, acts })
    }

    fn line(&self, act: Act, place: (u64, u64, UnixTime)) -> Audit {
        self.caller.line(act, place)
    }

    fn answer(&mut self, result: Result<(u64, UnixTime), NotStored>) {
        let Some(reply) = self.reply.take() else { return };
        let outcome = self.outcome.take();
        let answer = result.and_then(|(number, at)| {
            let outcome = outcome.ok_or(NotStored::from(crate::serve::store::Failure::Closed))?;
            Ok(Committed { number, at, outcome })
        });
        // The caller may be gone.
        let _ = reply.send(answer);
    }
}
