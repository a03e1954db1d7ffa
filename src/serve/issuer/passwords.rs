//! Hashing of passwords: one thread of low priority.
//!
//! Owns the bounds on argon2id, which takes 46 MiB and some 50 ms each time: one at a time, at most
//! [`WAITING_MAX`] wait, and at most [`PER_ADDRESS_MAX`] of one address, so that a flood of guesses
//! leaves other callers their turn. Never sees whose password it is.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::base::secret::Secret;
use crate::decide::request::address::limit_bytes;
use crate::issue::password::{self, PasswordError, SALT_BYTES};
use crate::issue::rows::PasswordHash;
use crate::serve::issuer::vault::fill;

/// The most passwords that wait for the thread.
const WAITING_MAX: usize = 8;
/// The most of them that come from one address.
const PER_ADDRESS_MAX: usize = 2;
/// The lowest priority of a thread.
const NICE: i32 = 19;

/// Too many passwords wait.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Busy;

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
        address: Option<IpAddr>,
    ) -> Result<bool, Busy> {
        self.run(address, move || password::verify(password.expose(), &hash)).await
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn hash(
        &self,
        password: Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<Result<PasswordHash, PasswordError>, Busy> {
        let work = move || {
            let mut salt = [0; SALT_BYTES];
            fill(&mut salt).map_err(|_| PasswordError::Fault)?;
            password::hash(password.expose(), &salt)
        };
        self.run(address, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        address: Option<IpAddr>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let turn = self.enter(address.map(limit_bytes).unwrap_or_default())?;
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

    /// Takes a place for a job; callers without an address are not counted against each other.
    fn enter(&self, place: Vec<u8>) -> Result<Turn, Busy> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(place.clone()).or_default();
        if !place.is_empty() && *count >= PER_ADDRESS_MAX {
            return Err(Busy);
        }
        *count += 1;
        Ok(Turn { place, waiting: Arc::clone(&self.waiting) })
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
            busy.run(None, work).await
        });
        has_begun.recv().unwrap();
        // One runs, and two of an address wait; then eight in all.
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let spawn = |address: Option<IpAddr>| {
            let passwords = Arc::clone(&passwords);
            let (queued, is_queued) = channel();
            let task = runtime.spawn(async move {
                let mut run = std::pin::pin!(passwords.run(address, || ()));
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
        let mut tasks = vec![spawn(Some(one)), spawn(Some(one))];
        let (queued, task) = spawn(Some(one));
        assert!(!queued && runtime.block_on(task).unwrap() == Err(Busy), "of one address");
        tasks.extend((2..8).map(|last| spawn(Some([192, 0, 2, last].into()))));
        assert!(tasks.iter().all(|(queued, _)| *queued));
        let (queued, task) = spawn(Some([198, 51, 100, 1].into()));
        assert!(!queued && runtime.block_on(task).unwrap() == Err(Busy), "the queue is full");
        release.send(()).unwrap();
        assert_eq!(runtime.block_on(first).unwrap(), Ok(()));
        for (_, task) in tasks {
            assert_eq!(runtime.block_on(task).unwrap(), Ok(()));
        }
        assert!(passwords.waiting.lock().unwrap().is_empty());
    }
}
