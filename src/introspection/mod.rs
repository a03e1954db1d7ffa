//! Asking issuers about opaque tokens (RFC 7662).
//!
//! Owns who is asked how often at once: requests with the same token share one question, and an
//! issuer that is slow gets no more than [`QUESTIONS_MAX`] at a time. Never decides: the gate made
//! the question and reads the answer. An attacker would want a flood of made-up tokens to become a
//! flood at the issuer: their address has a budget, the same token is asked about once, and
//! beyond the bound a request is refused at once.

mod client;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use tokio::sync::watch;

use crate::config::IntrospectionEndpoint;
use crate::gate::Need;
use crate::introspection::client::Asker;
use crate::jwks::FetchError;
use crate::metrics::IntrospectionResult;
use crate::snapshot::Snapshot;
use crate::state::Shared;

/// Questions to one issuer that wait for their answer.
const QUESTIONS_MAX: usize = 64;

/// What came of asking; `None` where there was no answer.
type Heard = Option<Bytes>;

/// A token, its issuer and the endpoint: none of them is kept.
type QuestionId = [u8; 32];

/// One per process.
#[derive(Default)]
pub struct Introspection {
    questions: Mutex<Questions>,
    askers: Mutex<HashMap<Arc<str>, Arc<Asker>>>,
}

#[derive(Default)]
struct Questions {
    /// Never more than [`QUESTIONS_MAX`] for each issuer.
    open: HashMap<QuestionId, watch::Receiver<Option<Heard>>>,
    by_issuer: HashMap<Arc<str>, usize>,
}

impl std::fmt::Debug for Introspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspection").finish_non_exhaustive()
    }
}

/// Asks what a decision needs. `None` when there is no answer in time, or too many wait already.
pub async fn ask(shared: &Arc<Shared>, snapshot: &Snapshot, need: &Need) -> Heard {
    let at =
        snapshot.dynamic.issuers.iter().position(|one| one.settings.issuer == *need.issuer())?;
    let source = &snapshot.dynamic.issuers[at];
    let endpoint = source.introspection.as_ref()?;
    let files = snapshot.materials.introspection.get(at)?.as_ref()?;
    let name = &source.settings.name;
    let id = question_id(endpoint, need);
    let asking = &shared.introspection;
    let mut told = match asking.join(id, name) {
        Joined::Waits(told) => told,
        Joined::Full => {
            shared.observers.metrics.introspected(name, IntrospectionResult::Busy);
            return None;
        }
        Joined::Asks(tell, told) => {
            let asker = asking.asker(name, endpoint, files);
            let token = need.token().clone();
            let (shared, name) = (Arc::clone(shared), Arc::clone(name));
            // A task of its own: whoever asked first may leave, and others wait for the answer.
            tokio::spawn(async move {
                let heard = asker.ask(&token).await;
                shared.introspection.tell(id, &name, &asker, heard.as_ref().err());
                shared.observers.metrics.introspected(&name, IntrospectionResult::of(&heard));
                let _ = tell.send(Some(heard.ok()));
            });
            told
        }
    };
    let heard = told.wait_for(Option::is_some).await.ok()?;
    heard.clone().flatten()
}

enum Joined {
    Asks(watch::Sender<Option<Heard>>, watch::Receiver<Option<Heard>>),
    Waits(watch::Receiver<Option<Heard>>),
    Full,
}

impl Introspection {
    fn join(&self, id: QuestionId, issuer: &Arc<str>) -> Joined {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = questions.open.get(&id) {
            return Joined::Waits(told.clone());
        }
        let count = questions.by_issuer.entry(Arc::clone(issuer)).or_default();
        if *count >= QUESTIONS_MAX {
            return Joined::Full;
        }
        *count += 1;
        let (tell, told) = watch::channel(None);
        questions.open.insert(id, told.clone());
        Joined::Asks(tell, told)
    }

    /// A question is answered. An endpoint that failed is connected to anew, with the certificates
    /// of then.
    fn tell(
        &self,
        id: QuestionId,
        issuer: &Arc<str>,
        asker: &Arc<Asker>,
        error: Option<&FetchError>,
    ) {
        {
            let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
            questions.open.remove(&id);
            if let Some(count) = questions.by_issuer.get_mut(issuer) {
                *count -= 1;
                if *count == 0 {
                    questions.by_issuer.remove(issuer);
                }
            }
        }
        if let Some(error) = error {
            tracing::warn!(issuer = %issuer, %error, "an issuer could not be asked about a token");
            let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
            if askers.get(issuer).is_some_and(|known| Arc::ptr_eq(known, asker)) {
                askers.remove(issuer);
            }
        }
    }

    /// The client for an endpoint, kept as long as nothing about it changes.
    fn asker(
        &self,
        issuer: &Arc<str>,
        endpoint: &Arc<IntrospectionEndpoint>,
        files: &Arc<crate::config::IntrospectionFiles>,
    ) -> Arc<Asker> {
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = askers.get(issuer).filter(|known| known.is_for(endpoint, files)) {
            return Arc::clone(known);
        }
        let asker = Arc::new(Asker::new(Arc::clone(endpoint), Arc::clone(files)));
        askers.insert(Arc::clone(issuer), Arc::clone(&asker));
        asker
    }
}

fn question_id(endpoint: &IntrospectionEndpoint, need: &Need) -> QuestionId {
    let text = format!("{}\n{}\n{}", need.issuer(), endpoint.url.uri(), need.token().expose());
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r801_one_question_for_one_token_and_a_bound_on_all() {
        let asking = Introspection::default();
        let (corp, other): (Arc<str>, Arc<str>) = ("corp".into(), "other".into());
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            id
        };
        assert!(matches!(asking.join(id(0), &corp), Joined::Asks(..)));
        for _ in 0..100 {
            assert!(matches!(asking.join(id(0), &corp), Joined::Waits(_)));
        }
        for number in 1..QUESTIONS_MAX {
            assert!(matches!(asking.join(id(number), &corp), Joined::Asks(..)));
        }
        assert!(matches!(asking.join(id(1000), &corp), Joined::Full));
        assert!(matches!(asking.join(id(1001), &other), Joined::Asks(..)));
    }
}
