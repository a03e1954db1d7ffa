//! Questions to the application that signs people in: who is signed in, and does a person exist.
//!
//! Owns the bounds of a question: 2 s, 16 KiB, no redirects, 64 at a time, and that an answer is
//! believed for 10 s by everyone with the same cookies, who share one question. An attacker would
//! want another person's answer, or cookies sent elsewhere: an answer is found by all that was
//! asked (host and cookies), and only the configured cookies are sent, to the configured address
//! alone. A failure is nobody's sign-in, and is not kept. Never follows a redirect.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, COOKIE, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use moka::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};

use crate::base::clock::Clock;
use crate::base::sha256::sha256;
use crate::config::KeyUrl;
use crate::config::model::issuer::AppSignIn;
use crate::issue::external::ExternalPerson;
use crate::issue::rows::Id;
use crate::serve::outbound::{self, FetchError, PooledClient};

/// Time for one question, with the time in which it waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// An answer is believed for this long.
const BELIEVED: Duration = Duration::from_secs(10);
/// Answers that are kept, each at most 6 KiB.
const ANSWERS_MAX: u64 = 4_096;
/// Questions at one time.
const QUESTIONS_MAX: usize = 64;

/// The answer of `whoami`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whoami {
    /// This person is signed in.
    SignedIn(Arc<ExternalPerson>),
    /// No person is.
    SignedOut,
}

/// The answer of `person`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Existence {
    /// The person is there, and described, where the answer does.
    Exists(Option<ExternalPerson>),
    /// The person is gone.
    Gone,
}

/// No usable answer; the text is for the log.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The request failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer names no person.
    #[error("{0}")]
    Answer(Box<str>),
}

/// The cookies of a request that the application may see, and the host that it was sent to.
#[derive(Debug)]
pub(super) struct Question {
    host: HeaderValue,
    cookies: Option<HeaderValue>,
}

type Answer = Result<Whoami, Unanswered>;

/// One per issuer.
pub(super) struct Application {
    /// The client of the configuration in force.
    client: ArcSwapOption<Client>,
    answers: Cache<[u8; 32], Arc<OnceCell<Answer>>>,
    turns: Semaphore,
    clock: Clock,
}

struct Client {
    app: Arc<AppSignIn>,
    whoami: Result<PooledClient, FetchError>,
    person: Option<Result<PooledClient, FetchError>>,
}

impl Question {
    /// The question about the browser of a request.
    pub(super) fn of(app: &AppSignIn, request: &Request<Bytes>) -> Self {
        let host = request.headers().get(HOST).cloned();
        let host = host.unwrap_or(HeaderValue::from_static(""));
        let values = request.headers().get_all(COOKIE).iter();
        let pairs = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let listed = pairs.map(<[u8]>::trim_ascii).filter(|pair| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            pair.contains(&b'=') && app.cookies.iter().any(|known| known.as_bytes() == name)
        });
        let cookies = listed.collect::<Vec<_>>().join(&b"; "[..]);
        let cookies = HeaderValue::from_bytes(&cookies).ok().filter(|value| !value.is_empty());
        let cookies = cookies.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { host, cookies }
    }

    /// A hash of all that is asked, and of whom: none of it is kept.
    fn id(&self, app: &AppSignIn) -> [u8; 32] {
        let cookies = self.cookies.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        let url = app.whoami.uri().to_string();
        sha256(&[url.as_bytes(), self.host.as_bytes(), cookies].join(&b'\n'))
    }
}

impl Application {
    /// Without a question.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            client: ArcSwapOption::empty(),
            answers: Cache::builder().max_capacity(ANSWERS_MAX).time_to_live(BELIEVED).build(),
            turns: Semaphore::new(QUESTIONS_MAX),
            clock,
        }
    }

    /// Who is signed in, as far as was asked in the last [`BELIEVED`].
    pub(super) async fn whoami(&self, app: &Arc<AppSignIn>, question: &Question) -> Answer {
        let id = question.id(app);
        let cell = self.answers.get_with(id, Arc::default);
        let answer = cell.get_or_init(|| self.ask(app, question)).await.clone();
        if answer.is_err() {
            self.answers.invalidate(&id);
        }
        answer
    }

    /// The same of a person who comes back from the application: what was believed before is not.
    pub(super) async fn whoami_now(&self, app: &Arc<AppSignIn>, question: &Question) -> Answer {
        self.answers.invalidate(&question.id(app));
        self.whoami(app, question).await
    }

    /// Asks whether a person exists; `None` where nothing is configured to ask.
    pub(super) async fn person(
        &self,
        app: &Arc<AppSignIn>,
        person: &Id,
    ) -> Option<Result<Existence, Unanswered>> {
        let template = app.person.as_ref()?;
        let answer = self.bounded(async {
            let not_asked = |text: &str| Unanswered::Answer(text.into());
            // A segment of dots is a step to another path.
            if matches!(person.as_str(), "." | "..") {
                return Err(not_asked("the subject cannot be a segment of a path"));
            }
            let url = KeyUrl::parse(&template.with(person.as_str()), false);
            let url = url.map_err(|_| not_asked("the address of the person is too long"))?;
            let client = self.client(app).await;
            let client = client.person.as_ref().ok_or(FetchError::Fault)?;
            let client = client.as_ref().map_err(Clone::clone)?;
            self.existence(client, &url, person).await
        });
        Some(answer.await)
    }

    async fn existence(
        &self,
        client: &PooledClient,
        url: &KeyUrl,
        person: &Id,
    ) -> Result<Existence, Unanswered> {
        let response = client.send(get(url, None)?).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(Existence::Gone),
            StatusCode::NO_CONTENT => Ok(Existence::Exists(None)),
            StatusCode::OK => {
                let body = outbound::body(response, ANSWER_BYTES_MAX).await?;
                let described = ExternalPerson::parse(&body, self.clock.now().unix).ok();
                match described {
                    Some(other) if other.id != *person => {
                        Err(Unanswered::Answer("the answer is about another person".into()))
                    }
                    described => Ok(Existence::Exists(described)),
                }
            }
            status => Err(outbound::unexpected(status).into()),
        }
    }

    async fn ask(&self, app: &Arc<AppSignIn>, question: &Question) -> Answer {
        let answer = self.bounded(async {
            let client = self.client(app).await;
            let client = client.whoami.as_ref().map_err(Clone::clone)?;
            let response = client.send(get(&app.whoami, Some(question))?).await?;
            match response.status() {
                StatusCode::OK => {
                    let body = outbound::body(response, ANSWER_BYTES_MAX).await?;
                    let person = ExternalPerson::parse(&body, self.clock.now().unix);
                    let person = person.map_err(|error| error.to_string().into());
                    Ok(Whoami::SignedIn(Arc::new(person.map_err(Unanswered::Answer)?)))
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Whoami::SignedOut),
                status => Err(outbound::unexpected(status).into()),
            }
        });
        let answer = answer.await;
        if let Err(error) = &answer {
            tracing::warn!(url = %app.whoami, %error, "issuer: whoami failed, no person is signed in");
        }
        answer
    }

    /// In turn and in time.
    async fn bounded<T>(
        &self,
        asked: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, Unanswered> {
        let work = async {
            let _turn = self.turns.acquire().await.map_err(|_| FetchError::Fault)?;
            asked.await
        };
        let answer = tokio::time::timeout(PATIENCE, work).await;
        answer.unwrap_or_else(|_| Err(FetchError::Timeout(PATIENCE).into()))
    }

    /// The client of a configuration, kept while that stays the same and works.
    async fn client(&self, app: &Arc<AppSignIn>) -> Arc<Client> {
        let known = self.client.load_full().filter(|known| *known.app == **app && known.is_good());
        if let Some(known) = known {
            return known;
        }
        let made = Arc::clone(app);
        // Reads and parses certificates: too slow for a thread that serves requests.
        let made = tokio::task::spawn_blocking(move || Client::new(made)).await;
        let made = made.unwrap_or_else(|_| Client::broken(Arc::clone(app)));
        let made = Arc::new(made);
        self.client.store(Some(Arc::clone(&made)));
        made
    }
}

impl Client {
    fn new(app: Arc<AppSignIn>) -> Self {
        let whoami = PooledClient::new(&app.whoami, None);
        let person = app.person.as_ref().and_then(|person| {
            let url = KeyUrl::parse(&person.with("x"), false).ok()?;
            Some(PooledClient::new(&url, None))
        });
        Self { app, whoami, person }
    }

    fn broken(app: Arc<AppSignIn>) -> Self {
        Self { app, whoami: Err(FetchError::Fault), person: None }
    }

    fn is_good(&self) -> bool {
        self.whoami.is_ok() && self.person.as_ref().is_none_or(Result::is_ok)
    }
}

fn get(url: &KeyUrl, question: Option<&Question>) -> Result<Request<Full<Bytes>>, Unanswered> {
    let mut request = Request::get(url.uri())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")));
    if let Some(Question { host, cookies }) = question {
        if !host.is_empty() {
            request = request.header(HOST, host);
        }
        if let Some(cookies) = cookies {
            request = request.header(COOKIE, cookies);
        }
    }
    request.body(Full::default()).map_err(|_| FetchError::Fault.into())
}
