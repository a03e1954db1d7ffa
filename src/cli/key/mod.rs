//! `gatepost key`: creating, importing, finding, rotating and ending API keys, in a key file or in
//! the store of the issuer ([`stored`]).
//!
//! Owns the arguments of these commands and how a session ends: a new key on the first line of
//! standard output and nowhere else, what there is to say on standard error, and the exit code.
//! Never speaks to a running gatepost, which notices the changed file by itself, and never reads
//! the configuration. A key is printed once, after its digest is safely in the file.

mod acts;
mod output;
mod store;
mod stored;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use thiserror::Error;

use crate::base::clock::{UnixTime, parse_duration, parse_instant};
use crate::cli::stored::Output;
use crate::cli::token::Filter;
use crate::config::Mistake;
use crate::config::key_file::{ID_BYTES_MAX, NOT_EXPANDED, check_text, is_key_id};
use crate::decide::api_key::digest::{Digest, is_pepper_name};
use crate::decide::api_key::format::RandomFault;
use crate::decide::scope::{ScopeError, ScopeSet};

/// Fills a slice with random bytes, or fails.
pub(super) type FillRandom<'a> = dyn FnMut(&mut [u8]) -> Result<(), RandomFault> + 'a;

/// `gatepost key ...`.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create a key: print it once, and store only its digest
    #[command(after_help = "Example:\n  gatepost key create --file keys.yaml --name 'CI deploy' \
        --scope deploy --expires 90d\n\nThe first line of standard output is the key and nothing \
        else:\n  KEY=$(gatepost key create --file keys.yaml --name ci)\n\n\
        A file called *.jsonl has one key a line, for many of them:\n  \
        gatepost key create --file partners.jsonl --name acme\n\nIn the store of the issuer, for a \
        person:\n  gatepost key create --config gatepost.yaml --owner ada --name ci --scope read")]
    Create(Create),
    /// Import an existing key from standard input, or its digest
    #[command(after_help = "Example:\n  gatepost key import --file keys.yaml --name 'old client' \
        < key.txt\n\nA key under 22 characters could be found from its digest by trying, so it \
        needs a pepper:\n  gatepost key import --file keys.yaml --name short --pepper p1 \
        --pepper-file pepper.txt < key.txt\n\nFrom a system that keeps digests, in hexadecimal or \
        base64:\n  gatepost key import --file keys.yaml --name 'old client' --digest \
        sha512:MJ7MSJwS...\n\nTo the store of the issuer:\n  gatepost key import --config \
        gatepost.yaml --owner ada --name 'old client' < key.txt")]
    Import(Import),
    /// List the keys of a file or of the store, without digests
    #[command(after_help = "Examples:\n  gatepost key list --file keys.yaml --json\n  gatepost \
        key list --config gatepost.yaml")]
    List(List),
    /// Find the entry of a key, read from standard input
    #[command(
        after_help = "Examples:\n  gatepost key find --file keys.yaml < key.txt\n  gatepost key \
        find --config gatepost.yaml < key.txt\n\nExit code 1 \
        when there is none."
    )]
    Find(Find),
    /// Replace a key; the old one stays valid for a grace period
    #[command(after_help = "Example:\n  gatepost key rotate k-7f3k9x2m4q5w --file keys.yaml \
        --grace 7d\n\nThe new key has the old one's name, subject, scopes, claims and limits.")]
    Rotate(Rotate),
    /// Disable a key and keep its entry
    #[command(after_help = "Example:\n  gatepost key disable k-7f3k9x2m4q5w --file keys.yaml")]
    Disable(One),
    /// Enable a disabled key
    #[command(after_help = "Example:\n  gatepost key enable k-7f3k9x2m4q5w --file keys.yaml")]
    Enable(One),
    /// Remove a key from its file
    #[command(after_help = "Example:\n  gatepost key delete k-7f3k9x2m4q5w --file keys.yaml")]
    Delete(One),
}

/// The place of the keys.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("place").required(true).args(["file", "config"])))]
pub(super) struct KeyPlace {
    /// Key file: YAML, or JSON Lines if its name ends in .jsonl
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Configuration file: the keys of the issuer's store
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format, with --config
    #[arg(long, value_enum, requires = "config", value_name = "FORMAT")]
    output: Option<Output>,
}

impl KeyPlace {
    /// The key file. Commands on the store come from [`on_the_store`].
    fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or_else(|| Path::new(""))
    }
}

/// The fields of a new entry.
#[derive(Clone, Debug, Args)]
pub(super) struct Entry {
    /// Subject of the key [default: key:ID]
    #[arg(long, value_parser = text)]
    pub subject: Option<String>,
    /// Scope granted by the key; repeatable
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// Expiry of the key: a duration (90d), a time (RFC 3339), or never
    #[arg(long, value_name = "90d|RFC3339|never", value_parser = expiry)]
    pub expires: Option<Expiry>,
    /// Id of the entry [default: generated]
    #[arg(long, value_parser = key_id)]
    pub id: Option<String>,
}

/// `gatepost key create`.
#[derive(Clone, Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    place: KeyPlace,
    /// Human-readable label
    #[arg(long, value_parser = text)]
    name: String,
    #[command(flatten)]
    entry: Entry,
    /// Person that the key acts for, by login or id, with --config
    #[arg(long, value_name = "PERSON", requires = "config")]
    owner: Option<String>,
}

/// `gatepost key import`.
#[derive(Clone, Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    place: KeyPlace,
    /// Human-readable label
    #[arg(long, value_parser = text)]
    name: Option<String>,
    #[command(flatten)]
    entry: Entry,
    /// Digest of the key instead of the key: sha256:... or sha512:..., of the whole key text
    #[arg(long, value_parser = bare_digest, conflicts_with_all = ["pepper", "pepper_file"])]
    digest: Option<Digest>,
    /// Pepper of the configuration to compute the digest with
    #[arg(long, value_parser = pepper_name, requires = "pepper_file")]
    pepper: Option<String>,
    /// File of that pepper
    #[arg(long, value_name = "FILE", requires = "pepper")]
    pepper_file: Option<PathBuf>,
    /// Person that the key acts for, by login or id, with --config
    #[arg(long, value_name = "PERSON", requires = "config")]
    owner: Option<String>,
}

/// `gatepost key list`.
#[derive(Clone, Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    place: KeyPlace,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Only those of this person, by login or id; with --config
    #[arg(long, value_name = "PERSON")]
    owner: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

impl List {
    /// Returns whether a part of the list is asked for.
    fn is_filtered(&self) -> bool {
        let Filter { name, state, paging } = &self.filter;
        let is_part = paging.limit.is_some() || paging.after.is_some();
        self.owner.is_some() || name.is_some() || state.is_some() || is_part
    }
}

/// `gatepost key find`.
#[derive(Clone, Debug, Args)]
pub(super) struct Find {
    #[command(flatten)]
    place: KeyPlace,
    /// Search the digests with this pepper as well; repeatable
    #[arg(long = "pepper", value_name = "NAME=FILE", value_parser = named_file)]
    peppers: Vec<(String, PathBuf)>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// `gatepost key rotate`.
#[derive(Clone, Debug, Args)]
pub(super) struct Rotate {
    /// Id of the key to replace
    id: String,
    #[command(flatten)]
    place: KeyPlace,
    /// Remaining validity of the old key, limited by its own expiry
    #[arg(long, default_value = "7d", value_name = "DURATION", value_parser = parse_duration)]
    grace: Duration,
    /// Expiry of the new key [default: the expiry of the old key]
    #[arg(long, value_name = "90d|RFC3339", value_parser = expiry)]
    expires: Option<Expiry>,
    /// Id of the new entry [default: generated]
    #[arg(long = "new-id", value_name = "ID", value_parser = key_id)]
    new_id: Option<String>,
}

/// `gatepost key disable`, `enable`, `delete`.
#[derive(Clone, Debug, Args)]
pub(super) struct One {
    /// Id of the key
    id: String,
    #[command(flatten)]
    place: KeyPlace,
}

/// The expiry argument of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// A duration from now.
    After(Duration),
    /// A time.
    At(UnixTime),
    /// No end.
    Never,
}

pub(super) use stored::run as on_the_store;

impl KeyCommand {
    fn place(&self) -> &KeyPlace {
        match self {
            Self::Create(arguments) => &arguments.place,
            Self::Import(arguments) => &arguments.place,
            Self::List(arguments) => &arguments.place,
            Self::Find(arguments) => &arguments.place,
            Self::Rotate(arguments) => &arguments.place,
            Self::Disable(one) | Self::Enable(one) | Self::Delete(one) => &one.place,
        }
    }
}

/// Runs a command and returns its exit code: 0 success, 1 not found or refused, 2 invalid
/// arguments, 70 internal or system error, 78 invalid key file.
pub(super) fn run(
    command: &KeyCommand,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    now: UnixTime,
    fill_random: &mut FillRandom<'_>,
) -> i32 {
    let mut session = Session { stdin, stdout, stderr, now, fill_random };
    let outcome = match command {
        KeyCommand::Create(arguments) => acts::create(&mut session, arguments),
        KeyCommand::Import(arguments) => acts::import(&mut session, arguments),
        KeyCommand::List(arguments) => output::list(&mut session, arguments),
        KeyCommand::Find(arguments) => acts::find(&mut session, arguments),
        KeyCommand::Rotate(arguments) => acts::rotate(&mut session, arguments),
        KeyCommand::Disable(arguments) => acts::enable(&mut session, arguments, false),
        KeyCommand::Enable(arguments) => acts::enable(&mut session, arguments, true),
        KeyCommand::Delete(arguments) => acts::delete(&mut session, arguments),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            // Standard error is the last resort: when it is gone, the exit code must do.
            let _ = writeln!(session.stderr, "gatepost: {failure}");
            failure.exit_code()
        }
    }
}

/// The environment of a command: streams, clock, random source.
struct Session<'a, 'r> {
    stdin: &'a mut dyn Read,
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    now: UnixTime,
    fill_random: &'a mut FillRandom<'r>,
}

impl Session<'_, '_> {
    /// Prints a message on standard error.
    fn say(&mut self, text: &str) {
        // A closed standard error is not an error.
        let _ = writeln!(self.stderr, "{text}");
    }

    fn answer(&mut self, text: &str) -> Result<(), Failure> {
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            // A closed pipe is not an error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::Fault(format!("standard output: {error}"))),
            Ok(()) => Ok(()),
        }
    }
}

/// The reason why a command failed.
#[derive(Debug, Error)]
enum Failure {
    /// A negative answer.
    #[error("{0}")]
    No(String),
    /// Conflicting arguments.
    #[error("{0}")]
    Usage(String),
    /// The key file has mistakes; nothing was written.
    #[error("{} in the key file; nothing was changed{}", count(.0), lines(.0))]
    Mistakes(Vec<Mistake>),
    /// An internal error, or an error of the operating system.
    #[error("{0}")]
    Fault(String),
}

impl Failure {
    fn exit_code(&self) -> i32 {
        match self {
            Self::No(_) => 1,
            Self::Usage(_) => 2,
            Self::Fault(_) => 70,
            Self::Mistakes(_) => 78,
        }
    }
}

impl Failure {
    /// The same failure, as other commands report it.
    fn into_failure(self) -> crate::cli::Failure {
        use crate::cli::{Exit, Failure};
        let message = self.to_string();
        match self {
            Self::No(_) => Failure::negative(message),
            Self::Usage(_) => Failure::usage(message),
            Self::Fault(_) => Failure::fault(message),
            Self::Mistakes(_) => Failure::Message(Exit::Configuration, message),
        }
    }
}

impl From<RandomFault> for Failure {
    fn from(fault: RandomFault) -> Self {
        Self::Fault(fault.to_string())
    }
}

fn count(mistakes: &[Mistake]) -> String {
    if mistakes.len() == 1 {
        "1 mistake".to_owned()
    } else {
        format!("{} mistakes", mistakes.len())
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("\n{mistake}")).collect()
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains("${") {
        return Err(NOT_EXPANDED.to_owned());
    }
    check_text(text).map(str::to_owned)
}

fn key_id(text: &str) -> Result<String, String> {
    let accepted = || format!("1 to {ID_BYTES_MAX} letters, digits, `.`, `_` or `-` are accepted");
    if is_key_id(text) { Ok(text.to_owned()) } else { Err(accepted()) }
}

/// A digest without a pepper: what it was made with is not in the digest.
fn bare_digest(text: &str) -> Result<Digest, String> {
    match Digest::parse(text).map_err(|error| error.to_string())? {
        Digest::HmacSha256 { .. } => {
            Err("a digest with a pepper depends on the pepper: import the key itself".to_owned())
        }
        digest @ (Digest::Sha256(_) | Digest::Sha512(_)) => Ok(digest),
    }
}

fn pepper_name(text: &str) -> Result<String, String> {
    let accepted = || "1 to 128 letters, digits, `.`, `_` or `-` are accepted".to_owned();
    if is_pepper_name(text) { Ok(text.to_owned()) } else { Err(accepted()) }
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write NAME=FILE")?;
    Ok((pepper_name(name)?, file.into()))
}

fn scope(text: &str) -> Result<String, ScopeError> {
    ScopeSet::from_tokens([text]).map(|_| text.to_owned())
}

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    if let Ok(after) = parse_duration(text) {
        return Ok(Expiry::After(after));
    }
    let accepted = "write a duration such as 90d, RFC 3339 such as 2027-01-31T00:00:00Z, or never";
    parse_instant(text).map(Expiry::At).map_err(|_| accepted.to_owned())
}

#[cfg(test)]
mod tests;
