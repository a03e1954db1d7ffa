//! Asking issuers about opaque tokens (RFC 7662).
//!
//! Owns who is asked how often at once: requests with the same token share one question, and an
//! issuer that is slow gets no more than 64 at a time. Never decides: the gate made
//! the question and reads the answer. An attacker would want a flood of made-up tokens to become a
//! flood at the issuer, or to take away everybody's turn: their address has a budget and no
//! more than its share of the questions (`shares`), the same token is asked about once, and beyond
//! the bounds a request is refused at once.

mod client;
mod shares;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::config::snapshot::Snapshot;
use crate::config::{IntrospectionEndpoint, IntrospectionFiles};
use crate::decide::gate::Need;
use crate::serve::introspection::client::Asker;
use crate::serve::introspection::shares::{Caller, Shares};
use crate::serve::jwks::FetchError;
use crate::serve::observe::metrics::IntrospectionResult;
use crate::serve::shared::Shared;

/// What came of asking; `None` where there was no answer.
type Heard = Option<Bytes>;

/// A token, its issuer and the endpoint: none of them is kept.
type QuestionId = [u8; 32];

/// One per process.
#[derive(Default)]
pub struct Introspection {
    questions: Arc<Mutex<Questions>>,
    /// Held while one is made, on another thread.
    askers: tokio::sync::Mutex<HashMap<Arc<str>, Arc<Asker>>>,
}

#[derive(Default)]
struct Questions {
    /// As many for each issuer as its [`Shares`] give.
    open: HashMap<QuestionId, watch::Receiver<Option<Heard>>>,
    by_issuer: HashMap<Arc<str>, Shares>,
}

impl std::fmt::Debug for Introspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspection").finish_non_exhaustive()
    }
}

/// Asks what a decision needs, for a request from `address`. `None` when there is no answer in time,
/// or too many wait already.
pub async fn ask(
    shared: &Arc<Shared>,
    snapshot: &Snapshot,
    need: &Need,
    address: Option<IpAddr>,
) -> Heard {
    let at =
        snapshot.dynamic.issuers.iter().position(|one| one.settings.issuer == *need.issuer())?;
    let source = &snapshot.dynamic.issuers[at];
    let endpoint = source.introspection.as_ref()?;
    let files = snapshot.materials.introspection.get(at)?.as_ref()?;
    let name = &source.settings.name;
    let id = question_id(endpoint, need);
    let asking = &shared.introspection;
    let caller = Caller::of(address, need.is_known());
    let mut told = match asking.join(id, name, caller) {
        Joined::Waits(told) => told,
        Joined::Full => {
            shared.observers.metrics.introspected(name, IntrospectionResult::Busy);
            return None;
        }
        Joined::Asks(open, told) => {
            let (endpoint, files) = (Arc::clone(endpoint), Arc::clone(files));
            let token = need.token().clone();
            let (shared, name) = (Arc::clone(shared), Arc::clone(name));
            // A task of its own: whoever asked first may leave, and others wait for the answer.
            tokio::spawn(async move {
                let heard = shared.introspection.hear(&name, endpoint, files, &token).await;
                shared.observers.metrics.introspected(&name, IntrospectionResult::of(&heard));
                open.tell(heard.ok());
            });
            told
        }
    };
    let heard = told.wait_for(Option::is_some).await.ok()?;
    heard.clone().flatten()
}

/// Drops the clients of issuers that are no longer introspected, after each reload, until the
/// sender of `generations` is gone.
pub async fn forget_the_gone(shared: Arc<Shared>, mut generations: watch::Receiver<u64>) {
    while generations.changed().await.is_ok() {
        let snapshot = shared.snapshots.load_full();
        let issuers = snapshot.dynamic.issuers.iter();
        let asked = issuers.filter(|source| source.introspection.is_some());
        let names: HashSet<&str> = asked.map(|source| &*source.settings.name).collect();
        shared.introspection.forget_others(&names).await;
    }
}

enum Joined {
    Asks(Open, watch::Receiver<Option<Heard>>),
    Waits(watch::Receiver<Option<Heard>>),
    Full,
}

/// A question that is asked. Closed when it is dropped, whatever became of it: one that stayed open
/// would count for ever.
struct Open {
    id: QuestionId,
    issuer: Arc<str>,
    caller: Caller,
    tell: watch::Sender<Option<Heard>>,
    questions: Arc<Mutex<Questions>>,
}

impl Open {
    fn tell(self, heard: Heard) {
        let _ = self.tell.send(Some(heard));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.open.remove(&self.id);
        if let Some(shares) = questions.by_issuer.get_mut(&self.issuer) {
            shares.give_back(&self.caller);
            if shares.is_empty() {
                questions.by_issuer.remove(&self.issuer);
            }
        }
    }
}

impl Introspection {
    fn join(&self, id: QuestionId, issuer: &Arc<str>, caller: Caller) -> Joined {
        let mut asked = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = asked.open.get(&id) {
            return Joined::Waits(told.clone());
        }
        if !asked.by_issuer.entry(Arc::clone(issuer)).or_default().take(&caller) {
            return Joined::Full;
        }
        let (tell, told) = watch::channel(None);
        asked.open.insert(id, told.clone());
        let (issuer, questions) = (Arc::clone(issuer), Arc::clone(&self.questions));
        Joined::Asks(Open { id, issuer, caller, tell, questions }, told)
    }

    /// Asks. An endpoint that failed is connected to anew, with the certificates of then; not for
    /// each question, though, for then whoever makes up tokens would have them read each time.
    async fn hear(
        &self,
        issuer: &Arc<str>,
        endpoint: Arc<IntrospectionEndpoint>,
        files: Arc<IntrospectionFiles>,
        token: &Secret<Box<str>>,
    ) -> Result<Bytes, FetchError> {
        let asker = self.asker(issuer, endpoint, files).await?;
        let heard = asker.ask(token).await;
        if let Err(error) = &heard {
            if asker.fails_first() {
                tracing::warn!(issuer = %issuer, %error, "an issuer could not be asked about a token");
            }
            let mut askers = self.askers.lock().await;
            let is_it = askers.get(issuer).is_some_and(|known| Arc::ptr_eq(known, &asker));
            if is_it && asker.is_old() {
                askers.remove(issuer);
            }
        }
        heard
    }

    async fn forget_others(&self, names: &HashSet<&str>) {
        self.askers.lock().await.retain(|name, _| names.contains(&**name));
    }

    /// The client for an endpoint, kept as long as nothing about it changes.
    async fn asker(
        &self,
        issuer: &Arc<str>,
        endpoint: Arc<IntrospectionEndpoint>,
        files: Arc<IntrospectionFiles>,
    ) -> Result<Arc<Asker>, FetchError> {
        let mut askers = self.askers.lock().await;
        if let Some(known) = askers.get(issuer).filter(|known| known.is_for(&endpoint, &files)) {
            return Ok(Arc::clone(known));
        }
        // Certificates are read from the disk and parsed: nothing for a thread of requests.
        let made = tokio::task::spawn_blocking(move || Asker::new(endpoint, files)).await;
        let asker = Arc::new(made.map_err(|_| FetchError::Fault)?);
        askers.insert(Arc::clone(issuer), Arc::clone(&asker));
        Ok(asker)
    }
}

fn question_id(endpoint: &IntrospectionEndpoint, need: &Need) -> QuestionId {
    let text = format!("{}\n{}\n{}", need.issuer(), endpoint.url.uri(), need.token().expose());
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ClientAuthentication, FileReference, KeyUrl, Mistake};

    #[test]
    fn r801_one_question_for_one_token_and_a_bound_on_all() {
        // Known tokens: no share of an address is less than all.
        let caller = || Caller::of(None, true);
        let asking = Introspection::default();
        let (corp, other): (Arc<str>, Arc<str>) = ("corp".into(), "other".into());
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            id
        };
        let asks = |number, issuer| match asking.join(id(number), issuer, caller()) {
            Joined::Asks(open, told) => (open, told),
            Joined::Waits(_) | Joined::Full => panic!("{number}"),
        };
        let mut open = vec![asks(0, &corp)];
        for _ in 0..100 {
            assert!(matches!(asking.join(id(0), &corp, caller()), Joined::Waits(_)));
        }
        open.extend((1..shares::QUESTIONS_MAX).map(|number| asks(number, &corp)));
        assert!(matches!(asking.join(id(1000), &corp, caller()), Joined::Full));
        asks(1001, &other);
        // One that ends without an answer counts no longer, and neither does one that is answered.
        drop(open.pop());
        open.push(asks(1002, &corp));
        let (first, told) = open.remove(0);
        first.tell(None);
        assert_eq!(*told.borrow(), Some(None));
        drop(asks(0, &corp));
        drop(open);
        let asked = asking.questions.lock().unwrap();
        assert!(asked.open.is_empty() && asked.by_issuer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_are_not_read_for_each_question_that_fails() {
        let asking = Introspection::default();
        let issuer: Arc<str> = "corp".into();
        let token = Secret::new(Box::from("an-opaque-token"));
        let named_at = Arc::new(Mistake {
            file: "g.yaml".into(),
            line: 1,
            column: 1,
            path: String::new(),
            message: String::new(),
        });
        let endpoint = Arc::new(IntrospectionEndpoint {
            // Nobody listens there.
            url: KeyUrl::parse("http://127.0.0.1:1/introspect", false).unwrap(),
            client_id: "gatepost".into(),
            client_secret: FileReference { path: "secret".into(), named_at },
            authentication: ClientAuthentication::Basic,
            timeout: Duration::from_secs(1),
            ca_file: None,
        });
        let client_secret = Arc::new(Secret::new(b"s".to_vec()));
        let files = Arc::new(IntrospectionFiles { client_secret, authorities: None });
        let asker = async || {
            let asked = (Arc::clone(&endpoint), Arc::clone(&files));
            assert!(asking.hear(&issuer, asked.0, asked.1, &token).await.is_err());
            asking.askers.lock().await.get(&issuer).cloned()
        };
        let first = asker().await.expect("kept for a while");
        let second = asker().await.expect("kept for a while");
        assert!(Arc::ptr_eq(&first, &second));
        asking.forget_others(&HashSet::from(["corp"])).await;
        assert_eq!(asking.askers.lock().await.len(), 1);
        asking.forget_others(&HashSet::from(["other"])).await;
        assert_eq!(asking.askers.lock().await.len(), 0, "an issuer that left the configuration");
        let third = asker().await.expect("kept for a while");
        assert!(!Arc::ptr_eq(&third, &second));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(asker().await.is_none(), "made anew by the next question");
    }
}
