//! The store on SQLite: one file, one writer, one reader.
//!
//! Owns the thread of the store and the order of opening: file, lock, copy, migrations, rows. Only
//! one `run` has a file at a time; commands write beside it, and what they write is in force within
//! a second. Never decides.

mod audit;
mod connection;
mod file;
mod list;
pub mod maintain;
pub mod restore;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::issue::intent::Query;
use crate::issue::rows::Value;
use crate::serve::store::job::Job;
use crate::serve::store::writer::Writer;
use crate::serve::store::{
    BATCH_MAX, Clocks, Command, Failure, Followers, Listing, Store, WAITING_MAX, Watch,
};
use connection::{Sqlite, find};
use file::Files;

pub use schema::VERSION;

/// The name of the file in `state_dir`.
pub const FILE: &str = "gatepost.db";
/// Between two looks for changes of other processes: in force within a second.
const LOOK: Duration = Duration::from_millis(250);
/// Looks between two deletions of what ended long ago: a minute.
const SWEEP_LOOKS: u32 = 240;
/// Looks between two deletions of lines of the audit log: a second, in which no more come in than one
/// deletion takes.
const AUDIT_LOOKS: u32 = 4;
/// Reads that wait for the reader: as many as the connections of one address.
const READS_MAX: usize = 1_024;

/// The process that opens a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `run`: at most one for a file.
    Run,
    /// A command beside it.
    Command,
}

/// A store that cannot be opened: the file, the reason and the remedy.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// Another `run` has the file.
    #[error("{}: another `gatepost run` uses this store; stop it, or give this one a state_dir of its own", .0.display())]
    Taken(PathBuf),
    /// There is no such file.
    #[error("{}: no such file", .0.display())]
    Missing(PathBuf),
    /// There is such a file, and it is not replaced.
    #[error("{}: exists already; name a new file", .0.display())]
    Exists(PathBuf),
    /// The file is another user's.
    #[error("{}: owned by uid {owner}, opened by uid {me}; run as its owner, for example `sudo -u '#{owner}' gatepost ..`", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The role of the opener.
        me: u32,
    },
    /// A network file system: its locks and its memory maps are unreliable.
    #[error("{}: on a network file system ({kind}); SQLite needs a local disk: set state_dir to one, or use PostgreSQL", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// The type of the file system.
        kind: Box<str>,
    },
    /// A later version wrote it, and says that this one cannot read it.
    #[error("{}: written by a later version (schema {found}, readable from {needs} on; this is {VERSION}): install that version, or restore the copy from before the upgrade", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// The earliest version that reads it.
        needs: u64,
    },
    /// Not written by gatepost, or damaged.
    #[error("{}: {message}; restore a backup with `gatepost store restore`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error.
        message: Box<str>,
    },
    /// The system.
    #[error("{}: {message}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The error.
        message: Box<str>,
    },
}

impl OpenError {
    /// Returns whether another configuration is the remedy (exit code 78), not the system's state
    /// (70).
    #[must_use]
    pub const fn is_mistake(&self) -> bool {
        matches!(self, Self::Owner { .. } | Self::Network { .. } | Self::Newer { .. })
    }

    /// An error of SQLite; of a file that it cannot read, with the remedy.
    fn database(path: &Path, error: &sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // SQLITE_CORRUPT and SQLITE_NOTADB.
        if code.is_some_and(|code| code == "11" || code == "26") {
            return Self::system(
                path,
                format!(
                    "{error}: the store is damaged: restore a backup with `gatepost store \
                     restore`, or move the file away and start with `run --new-store`, which loses \
                     every key, token and person"
                ),
            );
        }
        Self::system(path, error)
    }

    /// The error of a file that an operator names.
    fn of(path: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            std::io::ErrorKind::AlreadyExists => Self::Exists(path.to_owned()),
            _ => Self::system(path, error),
        }
    }

    fn system(path: &Path, error: impl std::fmt::Display) -> Self {
        Self::System { path: path.to_owned(), message: error.to_string().into() }
    }
}

/// Opens the store in a folder, with series that nothing scrapes.
///
/// # Errors
/// [`OpenError`].
#[cfg(test)]
pub fn open(
    folder: &Path,
    role: Role,
    clocks: Clocks,
    followers: Box<dyn Followers>,
) -> Result<Store, OpenError> {
    open_watched(folder, role, clocks, followers, Watch::default())
}

/// Opens the store in a folder, on a thread of its own. When this returns, `followers` have all
/// rows that they follow.
///
/// # Errors
/// [`OpenError`].
pub fn open_watched(
    folder: &Path,
    role: Role,
    clocks: Clocks,
    followers: Box<dyn Followers>,
    watch: Watch,
) -> Result<Store, OpenError> {
    let path = folder.join(FILE);
    let files = Files::open(&path, role)?;
    let (commands, waiting) = mpsc::channel(WAITING_MAX);
    let (opened, wait) = std::sync::mpsc::sync_channel(1);
    let name: Arc<str> = path.display().to_string().into();
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(opened.send(Err(OpenError::system(&path, error)))),
        };
        runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
            match start(&path, files, clocks, followers, watch).await {
                Ok((writer, reader)) => {
                    let _ = opened.send(Ok(()));
                    serve(writer, reader, waiting).await;
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        }));
    };
    let spawned = std::thread::Builder::new().name("store".to_owned()).spawn(thread);
    spawned.map_err(|error| OpenError::system(Path::new(&*name), error))?;
    let lost = || OpenError::system(Path::new(&*name), "the thread of the store ended");
    wait.recv().unwrap_or_else(|_| Err(lost()))?;
    Ok(Store::new(commands, name))
}

async fn start(
    path: &Path,
    files: Files,
    clocks: Clocks,
    followers: Box<dyn Followers>,
    watch: Watch,
) -> Result<(Writer<Sqlite>, SqliteConnection), OpenError> {
    let system = |error: sqlx::Error| OpenError::database(path, &error);
    let mut connection = connection::writer(path).await.map_err(system)?;
    schema::migrate(&mut connection, path, schema::MIGRATIONS).await?;
    let reader = connection::reader(path).await.map_err(system)?;
    let backend = Sqlite::new(connection, files);
    let mut writer = Writer::new(backend, clocks, followers, watch);
    writer.load().await.map_err(|error| OpenError::system(path, error))?;
    Ok((writer, reader))
}

/// Until it is closed, or no handle is left.
async fn serve(
    mut writer: Writer<Sqlite>,
    reader: SqliteConnection,
    mut waiting: mpsc::Receiver<Command>,
) {
    let (reads, asked) = mpsc::channel(READS_MAX);
    let reading = tokio::task::spawn_local(read(reader, asked));
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut commands, mut batch) = (Vec::new(), Vec::new());
    let mut count = 0_u32;
    let closed = loop {
        tokio::select! {
            biased;
            // First: under steady load the queue is never empty.
            _ = looks.tick() => {
                count = count.wrapping_add(1);
                writer.look().await;
                if count.is_multiple_of(AUDIT_LOOKS) {
                    writer.sweep_audit().await;
                }
                if count.is_multiple_of(SWEEP_LOOKS) {
                    writer.sweep().await;
                }
            }
            received = waiting.recv_many(&mut commands, BATCH_MAX) => {
                let closed = sort(&mut commands, &mut batch, &reads);
                writer.run(&mut batch).await;
                if received == 0 || closed.is_some() {
                    break closed;
                }
            }
        }
    };
    drop(reads);
    let _ = reading.await;
    writer.close().await;
    if let Some(closed) = closed {
        let _ = closed.send(());
    }
}

/// Takes the intents of a round, passes reads on, and returns the caller that waits for the end.
fn sort(
    commands: &mut Vec<Command>,
    batch: &mut Vec<Box<dyn Job>>,
    reads: &mpsc::Sender<Read>,
) -> Option<oneshot::Sender<()>> {
    let mut closed = None;
    for command in commands.drain(..) {
        match command {
            Command::Run(job) => batch.push(job),
            Command::Read(query, reply) => ask(reads, (Question::Rows(query), reply)),
            Command::List(listing, reply) => ask(reads, (Question::Page(listing), reply)),
            Command::Close(reply) => closed = Some(reply),
        }
    }
    closed
}

/// A question to the reader.
enum Question {
    Rows(Query),
    Page(Listing),
}

type Read = (Question, oneshot::Sender<Result<Vec<Vec<Value>>, Failure>>);

fn ask(reads: &mpsc::Sender<Read>, read: Read) {
    if let Err(error) = reads.try_send(read) {
        let (_, reply) = error.into_inner();
        let _ = reply.send(Err(Failure::Busy));
    }
}

async fn read(mut connection: SqliteConnection, mut asked: mpsc::Receiver<Read>) {
    while let Some((question, reply)) = asked.recv().await {
        let rows = match question {
            Question::Rows(query) => find(&mut connection, &query).await,
            Question::Page(listing) => list::list(&mut connection, &listing).await,
        };
        // The caller may be gone.
        let _ = reply.send(rows);
    }
    let _ = sqlx::Connection::close(connection).await;
}
