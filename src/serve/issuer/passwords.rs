//! Hashing of passwords: one thread of low priority.
//!
//! Owns the bounds on argon2id, which takes 46 MiB and some 50 ms each time: one at a time, at most
//! [`WAITING_MAX`] wait, at most [`PER_PLACE_MAX`] of one place, and [`KEPT`] of them come from people
//! who were signed in before, so that a flood of guesses leaves other callers their turn. Never sees
//! whose password it is.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::base::secret::Secret;
use crate::issue::password::{self, PasswordError, SALT_BYTES};
use crate::issue::rows::PasswordHash;
use crate::serve::issuer::vault::fill;

/// The most passwords that wait for the thread.
const WAITING_MAX: usize = 8;
/// The most of them that come from one place.
const PER_PLACE_MAX: usize = 2;
/// Those that no stranger takes.
const KEPT: usize = 2;
/// The lowest priority of a thread.
const NICE: i32 = 19;

/// Too many passwords wait.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Busy;

/// The origin of a password, as turns and failures are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Someone who proved before who they are, or a browser in which they did.
    Known(Vec<u8>),
    /// An address of one caller, as limits count it.
    Address(Vec<u8>),
    /// An address that may stand for many callers. Their turns are not counted against each other.
    Shared(Vec<u8>),
}

impl Place {
    /// The bytes that failures are counted by.
    pub(crate) fn bytes(&self) -> &[u8] {
        let (Self::Known(bytes) | Self::Address(bytes) | Self::Shared(bytes)) = self;
        bytes
    }
}

type Job = Box<dyn FnOnce() + Send>;
type Waiting = Arc<Mutex<HashMap<Vec<u8>, usize>>>;

/// The thread, which ends when this is dropped.
pub(crate) struct Passwords {
    jobs: SyncSender<Job>,
    waiting: Waiting,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

/// The place of one job among those of its address.
struct Turn {
    place: Vec<u8>,
    waiting: Waiting,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.place);
            }
        }
    }
}

impl Passwords {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(WAITING_MAX);
        thread::Builder::new().name("passwords".to_owned()).spawn(move || {
            // Of this thread alone. Without it hashing competes with requests, and nothing is wrong.
            let _ = rustix::process::setpriority_process(None, NICE);
            queue.into_iter().for_each(|job| job());
        })?;
        Ok(Self { jobs, waiting: Waiting::default() })
    }

    /// Returns whether it is the password of a hash.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn verify(
        &self,
        password: Secret<String>,
        hash: PasswordHash,
        place: &Place,
    ) -> Result<bool, Busy> {
        self.run(place, move || password::verify(password.expose(), &hash)).await
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn hash(
        &self,
        password: Secret<String>,
        place: &Place,
    ) -> Result<Result<PasswordHash, PasswordError>, Busy> {
        let work = move || {
            let mut salt = [0; SALT_BYTES];
            fill(&mut salt).map_err(|_| PasswordError::Fault)?;
            password::hash(password.expose(), &salt)
        };
        self.run(place, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        place: &Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let turn = self.enter(place)?;
        let (reply, answer) = oneshot::channel();
        let job = move || {
            let result = work();
            drop(turn);
            // The caller may be gone.
            let _ = reply.send(result);
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| Busy)?;
        answer.await.map_err(|_| Busy)
    }

    /// Takes a turn for a job.
    fn enter(&self, place: &Place) -> Result<Turn, Busy> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, is_known) = match place {
            Place::Known(bytes) => (bytes.clone(), true),
            Place::Address(bytes) => (bytes.clone(), false),
            Place::Shared(_) => (Vec::new(), false),
        };
        // One runs, the others wait.
        let most = if is_known { WAITING_MAX + 1 } else { WAITING_MAX + 1 - KEPT };
        if waiting.values().sum::<usize>() >= most {
            return Err(Busy);
        }
        let count = waiting.entry(key.clone()).or_default();
        if !key.is_empty() && *count >= PER_PLACE_MAX {
            return Err(Busy);
        }
        *count += 1;
        Ok(Turn { place: key, waiting: Arc::clone(&self.waiting) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn r1006_hashing_has_one_thread_and_a_bounded_queue() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let passwords = Arc::new(Passwords::start().unwrap());
        let (release, held) = channel::<()>();
        let (begun, has_begun) = channel::<()>();
        let busy = Arc::clone(&passwords);
        let first = runtime.spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                held.recv().unwrap();
            };
            busy.run(&Place::Shared(Vec::new()), work).await
        });
        has_begun.recv().unwrap();
        // One runs, and two of an address wait; then six of strangers, and eight in all.
        let one = || Place::Address(vec![192, 0, 2, 1]);
        let spawn = |place: Place| {
            let passwords = Arc::clone(&passwords);
            let (queued, is_queued) = channel();
            let task = runtime.spawn(async move {
                let mut run = std::pin::pin!(passwords.run(&place, || ()));
                let first = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(match run.as_mut().poll(cx) {
                        std::task::Poll::Ready(result) => Some(result),
                        std::task::Poll::Pending => None,
                    })
                })
                .await;
                queued.send(first.is_none()).unwrap();
                match first {
                    Some(result) => result,
                    None => run.await,
                }
            });
            (is_queued.recv().unwrap(), task)
        };
        let mut tasks = vec![spawn(one()), spawn(one())];
        let (queued, task) = spawn(one());
        assert!(!queued && runtime.block_on(task).unwrap() == Err(Busy), "of one address");
        tasks.extend((2..6).map(|last| spawn(Place::Address(vec![192, 0, 2, last]))));
        for stranger in [Place::Address(vec![198, 51, 100, 1]), Place::Shared(vec![10, 0, 0, 1])] {
            let (queued, task) = spawn(stranger);
            assert!(!queued && runtime.block_on(task).unwrap() == Err(Busy), "these are kept");
        }
        tasks.extend((0..2_u8).map(|number| spawn(Place::Known(vec![number]))));
        assert!(tasks.iter().all(|(queued, _)| *queued));
        let (queued, task) = spawn(Place::Known(vec![2]));
        assert!(!queued && runtime.block_on(task).unwrap() == Err(Busy), "the queue is full");
        release.send(()).unwrap();
        assert_eq!(runtime.block_on(first).unwrap(), Ok(()));
        for (_, task) in tasks {
            assert_eq!(runtime.block_on(task).unwrap(), Ok(()));
        }
        assert!(passwords.waiting.lock().unwrap().is_empty());
    }
}
