//! Token introspection (RFC 7662).
//!
//! Owns the requests to introspection endpoints: callers with the same token share one, and a slow
//! issuer gets at most 64 at a time. Never decides: the gate states the need and reads the
//! response. An attacker would want a flood of made-up tokens to become a flood at the issuer, or
//! to take up all of its capacity: an address has a budget and no more than its share of
//! the requests (`shares`), and beyond the bounds a request is refused at once.

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
use crate::serve::introspection::client::EndpointClient;
use crate::serve::introspection::shares::{Caller, Shares};
use crate::serve::observe::Observers;
use crate::serve::observe::metrics::IntrospectionResult;
use crate::serve::outbound::FetchError;
use crate::serve::published::Published;

/// The body of a response; `None` where there was none.
type Response = Option<Bytes>;

/// A hash of token, issuer and endpoint: none of them is kept.
type QuestionId = [u8; 32];

/// One per process.
pub(crate) struct Introspection {
    questions: Arc<Mutex<Questions>>,
    /// Held while a client is made, on another thread.
    clients: tokio::sync::Mutex<HashMap<Arc<str>, Arc<EndpointClient>>>,
    observers: Arc<Observers>,
}

#[derive(Default)]
struct Questions {
    /// For each issuer at most what its [`Shares`] allow.
    open: HashMap<QuestionId, watch::Receiver<Option<Response>>>,
    by_issuer: HashMap<Arc<str>, Shares>,
}

impl std::fmt::Debug for Introspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspection").finish_non_exhaustive()
    }
}

/// Drops the clients of issuers that are no longer introspected, after each reload. Never ends.
pub(in crate::serve) async fn forget_removed_issuers(
    introspection: Arc<Introspection>,
    published: Arc<Published>,
) {
    let mut generations = published.generations();
    while generations.changed().await.is_ok() {
        let snapshot = published.snapshots.load_full();
        let issuers = snapshot.dynamic.issuers.iter();
        let introspected = issuers.filter(|source| source.introspection.is_some());
        let names: HashSet<&str> = introspected.map(|source| &*source.settings.name).collect();
        introspection.keep_only(&names).await;
    }
}

/// The role of a caller among those with the same token.
enum Joined {
    /// Sends the request.
    Leads(Open, watch::Receiver<Option<Response>>),
    /// Waits for the response to a request that was sent.
    Follows(watch::Receiver<Option<Response>>),
    /// Is refused: the issuer's share is used up.
    Busy,
}

/// An open question. Closed on drop: one that stayed open would count against the share for ever.
struct Open {
    id: QuestionId,
    issuer: Arc<str>,
    caller: Caller,
    sender: watch::Sender<Option<Response>>,
    questions: Arc<Mutex<Questions>>,
}

impl Open {
    fn close(self, response: Response) {
        let _ = self.sender.send(Some(response));
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
    /// Without open requests and clients.
    pub(crate) fn new(observers: Arc<Observers>) -> Self {
        Self { questions: Arc::default(), clients: tokio::sync::Mutex::default(), observers }
    }

    /// Introspects a token that a decision needs, for a request from `address`. `None` when there is
    /// no response within the deadline, or too many requests are open.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        need: &Need,
        address: Option<IpAddr>,
    ) -> Response {
        let issuers = &snapshot.dynamic.issuers;
        let at = issuers.iter().position(|one| one.settings.issuer == *need.issuer())?;
        let endpoint = issuers[at].introspection.as_ref()?;
        let files = snapshot.materials.introspection.get(at)?.as_ref()?;
        let name = &issuers[at].settings.name;
        let caller = Caller::of(address, need.is_known());
        let mut receiver = match self.join(question_id(endpoint, need), name, caller) {
            Joined::Follows(receiver) => receiver,
            Joined::Busy => {
                self.observers.metrics.introspected(name, IntrospectionResult::Busy);
                return None;
            }
            Joined::Leads(open, receiver) => {
                let (endpoint, files) = (Arc::clone(endpoint), Arc::clone(files));
                let (name, token) = (Arc::clone(name), need.token().clone());
                // A task of its own: the first caller may leave while others wait for the response.
                tokio::spawn(Arc::clone(self).lead(open, name, endpoint, files, token));
                receiver
            }
        };
        let response = receiver.wait_for(Option::is_some).await.ok()?;
        response.clone().flatten()
    }

    async fn lead(
        self: Arc<Self>,
        open: Open,
        issuer: Arc<str>,
        endpoint: Arc<IntrospectionEndpoint>,
        files: Arc<IntrospectionFiles>,
        token: Secret<Box<str>>,
    ) {
        let result = self.send(&issuer, endpoint, files, &token).await;
        self.observers.metrics.introspected(&issuer, IntrospectionResult::of(&result));
        open.close(result.ok());
    }

    fn join(&self, id: QuestionId, issuer: &Arc<str>, caller: Caller) -> Joined {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = questions.open.get(&id) {
            return Joined::Follows(receiver.clone());
        }
        if !questions.by_issuer.entry(Arc::clone(issuer)).or_default().take(&caller) {
            return Joined::Busy;
        }
        let (sender, receiver) = watch::channel(None);
        questions.open.insert(id, receiver.clone());
        let (issuer, questions) = (Arc::clone(issuer), Arc::clone(&self.questions));
        Joined::Leads(Open { id, issuer, caller, sender, questions }, receiver)
    }

    /// Sends one request. After a failure the next one uses a new client, which reads the
    /// certificates again; at most every 10 s, or made-up tokens would have them read each time.
    async fn send(
        &self,
        issuer: &Arc<str>,
        endpoint: Arc<IntrospectionEndpoint>,
        files: Arc<IntrospectionFiles>,
        token: &Secret<Box<str>>,
    ) -> Result<Bytes, FetchError> {
        let client = self.client(issuer, endpoint, files).await?;
        let response = client.ask(token).await;
        if let Err(error) = &response {
            if client.fails_first() {
                tracing::warn!(issuer = %issuer, %error, "token introspection failed");
            }
            let mut clients = self.clients.lock().await;
            let is_it = clients.get(issuer).is_some_and(|known| Arc::ptr_eq(known, &client));
            if is_it && client.is_old() {
                clients.remove(issuer);
            }
        }
        response
    }

    async fn keep_only(&self, names: &HashSet<&str>) {
        self.clients.lock().await.retain(|name, _| names.contains(&**name));
    }

    /// The client of an endpoint, kept while its settings and files stay the same.
    async fn client(
        &self,
        issuer: &Arc<str>,
        endpoint: Arc<IntrospectionEndpoint>,
        files: Arc<IntrospectionFiles>,
    ) -> Result<Arc<EndpointClient>, FetchError> {
        let mut clients = self.clients.lock().await;
        if let Some(known) = clients.get(issuer).filter(|known| known.is_for(&endpoint, &files)) {
            return Ok(Arc::clone(known));
        }
        // Reads and parses certificates: too slow for a thread that serves requests.
        let made = tokio::task::spawn_blocking(move || EndpointClient::new(endpoint, files)).await;
        let client = Arc::new(made.map_err(|_| FetchError::Fault)?);
        clients.insert(Arc::clone(issuer), Arc::clone(&client));
        Ok(client)
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
    use crate::serve::fixture;

    #[test]
    fn r801_one_question_for_one_token_and_a_bound_on_all() {
        // Known tokens: no share of an address limits them.
        let caller = || Caller::of(None, true);
        let asking = Introspection::new(Arc::new(fixture::observers()));
        let (corp, other): (Arc<str>, Arc<str>) = ("corp".into(), "other".into());
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            id
        };
        let asks = |number, issuer| match asking.join(id(number), issuer, caller()) {
            Joined::Leads(open, receiver) => (open, receiver),
            Joined::Follows(_) | Joined::Busy => panic!("{number}"),
        };
        let mut open = vec![asks(0, &corp)];
        for _ in 0..100 {
            assert!(matches!(asking.join(id(0), &corp, caller()), Joined::Follows(_)));
        }
        open.extend((1..shares::QUESTIONS_MAX).map(|number| asks(number, &corp)));
        assert!(matches!(asking.join(id(1000), &corp, caller()), Joined::Busy));
        asks(1001, &other);
        // Closed without a response or with one, a question no longer counts.
        drop(open.pop());
        open.push(asks(1002, &corp));
        let (first, receiver) = open.remove(0);
        first.close(None);
        assert_eq!(*receiver.borrow(), Some(None));
        drop(asks(0, &corp));
        drop(open);
        let asked = asking.questions.lock().unwrap();
        assert!(asked.open.is_empty() && asked.by_issuer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_are_not_read_for_each_question_that_fails() {
        let asking = Introspection::new(Arc::new(fixture::observers()));
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
            // Nothing listens there.
            url: KeyUrl::parse("http://127.0.0.1:1/introspect", false).unwrap(),
            client_id: "gatepost".into(),
            client_secret: FileReference { path: "secret".into(), named_at },
            authentication: ClientAuthentication::Basic,
            timeout: Duration::from_secs(1),
            ca_file: None,
        });
        let client_secret = Arc::new(Secret::new(b"s".to_vec()));
        let files = Arc::new(IntrospectionFiles { client_secret, authorities: None });
        let client = async || {
            let asked = (Arc::clone(&endpoint), Arc::clone(&files));
            assert!(asking.send(&issuer, asked.0, asked.1, &token).await.is_err());
            asking.clients.lock().await.get(&issuer).cloned()
        };
        let first = client().await.expect("kept for a while");
        let second = client().await.expect("kept for a while");
        assert!(Arc::ptr_eq(&first, &second));
        asking.keep_only(&HashSet::from(["corp"])).await;
        assert_eq!(asking.clients.lock().await.len(), 1);
        asking.keep_only(&HashSet::from(["other"])).await;
        assert_eq!(asking.clients.lock().await.len(), 0, "an issuer that left the configuration");
        let third = client().await.expect("kept for a while");
        assert!(!Arc::ptr_eq(&third, &second));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(client().await.is_none(), "the next request makes another");
    }
}
