//! The account of a decision, as `explain`, `POST /explain` and `why` show it.
//!
//! Owns its JSON form, for both sides of the admin listener. Never contains a credential: the steps
//! have none.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::decide::gate::{Decision, Step, Verdict};
use crate::decide::rejection::{Answer, Rejection};

/// The result of a decision and the steps that led to it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Account {
    /// `admitted`, `refused`, `would_refuse` or `undecided`; for a finished request its outcome,
    /// which may be `fault`.
    #[serde(alias = "outcome")]
    pub(crate) verdict: String,
    /// The status the client receives, where gatepost decides it.
    pub(crate) status: u16,
    /// The reason of a refusal.
    pub(crate) reason: Option<String>,
    /// The explanation of the reason.
    #[serde(default)]
    pub(crate) meaning: Option<String>,
    /// The name of the route.
    pub(crate) route: Option<String>,
    /// The generation of the configuration that decided; absent outside of a running process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    /// The steps in their order.
    pub(crate) steps: Vec<AccountStep>,
}

/// One step of a decision.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct AccountStep {
    /// The question of the step, in a word.
    pub(crate) question: String,
    /// True if the step did not end the decision.
    pub(crate) passed: bool,
    /// The answer.
    pub(crate) answer: String,
}

impl Account {
    /// The account of a decision. `realm` is that of the configuration.
    pub(crate) fn new(decision: &Decision, realm: &str, generation: Option<u64>) -> Self {
        let (verdict, status, rejection) = match &decision.verdict {
            Verdict::Permit(_) => ("admitted", StatusCode::OK, None),
            Verdict::Preflight(_) => ("admitted", StatusCode::NO_CONTENT, None),
            // Explaining sends no token to an introspection endpoint.
            Verdict::Need(_) => ("undecided", StatusCode::SERVICE_UNAVAILABLE, None),
            Verdict::Observe(_, rejection) => ("would_refuse", StatusCode::OK, Some(rejection)),
            Verdict::Reject(rejection) => {
                let answer = Answer::to_rejection(rejection, realm, "");
                ("refused", answer.status, Some(rejection))
            }
        };
        let reason = rejection.map(Rejection::reason);
        Self {
            verdict: verdict.to_owned(),
            status: status.as_u16(),
            reason: reason.map(|reason| reason.as_str().to_owned()),
            meaning: reason.map(|reason| reason.meaning().to_owned()),
            route: decision.evidence.route.as_ref().map(|route| route.name.to_string()),
            generation,
            steps: decision.steps().iter().map(AccountStep::from).collect(),
        }
    }
}

impl From<&Step> for AccountStep {
    fn from(step: &Step) -> Self {
        Self {
            question: step.question.to_owned(),
            passed: step.passed,
            answer: step.answer.clone(),
        }
    }
}
