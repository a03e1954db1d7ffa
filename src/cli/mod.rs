//! The command line: one file per command.
//!
//! Owns the arguments, the exit codes and how an error is printed. Never decides about a request:
//! `explain` asks the same gate as the server, `check` takes the same path as `run`.

mod admin_client;
mod check;
mod demo;
mod explain;
mod generated;
mod issuer;
pub mod key;
mod loading;
mod revoke;
mod run;
mod why;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::base::clock::Clock;
use crate::config::Mistake;
use crate::decide::api_key::format::RandomFault;
use crate::serve::observe::line::LineFormat;
use crate::serve::{Options, ServeError};

/// What a command ends with (contract, "Commands").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or yes.
    Yes = 0,
    /// The answer is no.
    No = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// Our fault, or the system's.
    Fault = 70,
    /// The configuration has mistakes.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Printed as `gatepost: message`.
    Message(Exit, String),
    /// Printed one per line, with their places.
    Mistakes(Vec<Mistake>),
}

impl Failure {
    /// Something went wrong that no argument or configuration can mend.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::Message(Exit::Fault, message.into())
    }

    /// The answer is no.
    pub fn no(message: impl Into<String>) -> Self {
        Self::Message(Exit::No, message.into())
    }

    /// The arguments make no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Message(Exit::Usage, message.into())
    }

    fn report(&self) -> Exit {
        match self {
            Self::Message(exit, message) => {
                eprintln!("gatepost: {message}");
                *exit
            }
            Self::Mistakes(mistakes) => {
                print_mistakes(mistakes.iter().map(ToString::to_string));
                Exit::Configuration
            }
        }
    }
}

/// What every command returns.
pub type Outcome = Result<Exit, Failure>;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The least important log line that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the usual words")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Logging {
    /// What the server is told.
    fn serve(self, config: PathBuf) -> Options {
        let Self { log_format, log_level } = self;
        Options { config, log_format: log_format.into(), log_level: log_level.into() }
    }
}

impl From<LogFormat> for LineFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Mistakes(mistakes) => Self::Mistakes(mistakes),
            ServeError::Revocations(_)
            | ServeError::Listen(_)
            | ServeError::System(..)
            | ServeError::Ended(_) => Self::fault(error.to_string()),
        }
    }
}

/// Arguments every command takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Logging {
    /// The form of log lines.
    #[arg(long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// The least important log line that is written.
    #[arg(long, value_enum, default_value_t, global = true, value_name = "LEVEL")]
    pub log_level: LogLevel,
}

/// Decides every request in front of an existing HTTP API: who is this, may they, how often.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    logging: Logging,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Start here:  gatepost demo

Exit codes:  0 done or yes, 1 no, 2 bad usage, 70 our fault, 78 bad configuration";

/// Which configuration.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration.
    #[arg(id = "config", long, short, value_name = "FILE")]
    pub path: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: everything in one process on loopback, with curl lines to copy
    #[command(after_help = "Example:\n  gatepost demo")]
    Demo,
    /// Run the sidecar
    #[command(after_help = run::EXAMPLE)]
    Run(run::Run),
    /// Find every mistake in a configuration, without the network
    #[command(after_help = check::EXAMPLE)]
    Check(ConfigFile),
    /// Decide about one request and say why
    #[command(after_help = explain::EXAMPLE)]
    Explain(explain::Explain),
    /// Say why the running process refused a request
    #[command(after_help = why::WHY_EXAMPLE)]
    Why(why::Why),
    /// Show the state of the running process
    #[command(after_help = why::STATUS_EXAMPLE)]
    Status(why::Status),
    /// Make the running process read its configuration and key files again
    #[command(after_help = why::RELOAD_EXAMPLE)]
    Reload(ConfigFile),
    /// Refuse tokens or an API key from the next request on
    #[command(after_help = revoke::REVOKE_EXAMPLE)]
    Revoke(revoke::Revoke),
    /// List what was revoked, and take it back
    #[command(subcommand)]
    Revocations(revoke::Revocations),
    /// Fetch the keys of an issuer now
    #[command(subcommand)]
    Issuer(issuer::IssuerCommand),
    /// Create, import, find, rotate and end API keys in a key file
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example:\n  gatepost schema > gatepost.schema.json")]
    Schema,
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  gatepost completions bash > /etc/bash_completion.d/gatepost"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page per command into a folder
    #[command(
        after_help = "Examples:\n  gatepost man | man -l -\n  gatepost man --out /usr/local/share/man/man1"
    )]
    Man {
        /// Write one page per command into this folder.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    #[command(hide = true, disable_help_flag = true)]
    Plugin(Absent),
    #[command(hide = true, disable_help_flag = true)]
    User(Absent),
    #[command(hide = true, disable_help_flag = true)]
    App(Absent),
    #[command(hide = true, disable_help_flag = true)]
    Token(Absent),
}

/// Whatever follows a command that does not exist yet.
#[derive(Debug, Args)]
struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

/// Reads the arguments, does what they say, and reports how it went.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse_usage(&error).into(),
    };
    let outcome = dispatch(arguments);
    outcome.unwrap_or_else(|failure| failure.report()).into()
}

fn dispatch(Arguments { logging, command }: Arguments) -> Outcome {
    match command {
        Command::Demo => demo::run(logging),
        Command::Run(arguments) => run::run(arguments, logging),
        Command::Check(config) => check::run(&config.path),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Why(arguments) => why::why(&arguments),
        Command::Status(arguments) => why::status(&arguments),
        Command::Reload(config) => why::reload(&config.path),
        Command::Revoke(arguments) => revoke::revoke(&arguments),
        Command::Revocations(command) => revoke::revocations(&command),
        Command::Issuer(command) => issuer::run(&command),
        Command::Key(command) => Ok(keys(&command)),
        Command::Schema => generated::schema(),
        Command::Completions { shell } => generated::completions(Arguments::command(), shell),
        Command::Man { out } => generated::man(Arguments::command(), out.as_deref()),
        Command::Plugin(_) => not_available("plugin"),
        Command::User(_) => not_available("user"),
        Command::App(_) => not_available("app"),
        Command::Token(_) => not_available("token"),
    }
}

/// The key commands speak for themselves: they are given what a process has.
fn keys(command: &key::KeyCommand) -> Exit {
    let now = Clock::start().now().unix;
    let mut fill = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| RandomFault);
    let (mut stdin, mut stdout, mut stderr) = (io::stdin(), io::stdout(), io::stderr());
    match key::run(command, &mut stdin, &mut stdout, &mut stderr, now, &mut fill) {
        0 => Exit::Yes,
        1 => Exit::No,
        2 => Exit::Usage,
        78 => Exit::Configuration,
        _ => Exit::Fault,
    }
}

fn not_available(command: &str) -> Outcome {
    let message = format!("{command:?} is not available yet: it needs the issuer");
    Err(Failure::usage(message))
}

/// Help and version are answers; anything else is a mistake in the arguments.
fn refuse_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => Exit::Yes,
            Err(_) => Exit::Fault,
        };
    }
    let text = error.render().to_string();
    eprint!("gatepost: {}", text.strip_prefix("error: ").unwrap_or(&text));
    Exit::Usage
}

/// Every mistake on its own line of standard error, then how many there are.
fn print_mistakes(mistakes: impl Iterator<Item = String>) {
    let mut count = 0_usize;
    for mistake in mistakes {
        eprintln!("{mistake}");
        count += 1;
    }
    let plural = if count == 1 { "mistake" } else { "mistakes" };
    eprintln!("gatepost: {count} {plural} in the configuration");
}

/// Text for a terminal: what came from a caller must not command it.
fn escape(text: &str) -> String {
    let escaped =
        |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Writes to standard output. A reader that went away is not an error of ours.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::fault(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn contract_commands_every_command_has_an_example() {
        fn examine(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    sub.has_subcommands() || example.contains("gatepost "),
                    "`{}` has no example: give it after_help",
                    sub.get_name()
                );
                examine(sub);
            }
        }
        examine(&Arguments::command());
    }

    #[track_caller]
    fn check(arguments: &[&str], accepted: bool) {
        let all = std::iter::once("gatepost").chain(arguments.iter().copied());
        assert_eq!(Arguments::try_parse_from(all).is_ok(), accepted, "{arguments:?}");
    }

    #[test]
    fn contract_commands_their_arguments() {
        check(&["demo"], true);
        check(&["run", "--config", "a.yaml"], true);
        check(&["run", "--config", "a.yaml", "--log-format", "json", "--log-level", "debug"], true);
        check(&["run"], false);
        check(&["run", "--config", "a.yaml", "--log-format", "xml"], false);
        check(&["check", "--config", "a.yaml"], true);
        check(&["check", "--config"], false);
        let explain = ["explain", "--config", "a.yaml", "--method", "GET", "--path", "/"];
        check(&explain, true);
        check(&explain[..5], false);
        check(&[&explain[..], &["--header", "A: b", "--header", "@-"]].concat(), true);
        check(&[&explain[..], &["--peer", "10.0.0.1"]].concat(), true);
        check(&[&explain[..], &["--peer", "nobody"]].concat(), false);
        check(&["why", "abc", "--config", "a.yaml"], true);
        check(&["why", "--config", "a.yaml"], false);
        check(&["status", "--config", "a.yaml", "--json"], true);
        check(&["reload", "--config", "a.yaml"], true);
        check(&["issuer", "refresh", "corp", "--config", "a.yaml"], true);
        check(&["issuer", "refresh", "--config", "a.yaml"], false);
        check(&["issuer", "refresh", "corp"], false);
        check(&["issuer", "corp", "--config", "a.yaml"], false);
        check(&["schema"], true);
        check(&["completions", "zsh"], true);
        check(&["completions", "cmd.exe"], false);
        check(&["frobnicate"], false);
        check(&[], false);
    }

    #[test]
    fn contract_commands_what_is_not_built_is_refused() {
        for command in ["plugin", "user", "app", "token"] {
            let arguments = ["gatepost", command, "run", "-x", "--help"];
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            let failure = dispatch(arguments).unwrap_err();
            assert!(matches!(failure, Failure::Message(Exit::Usage, _)), "{failure:?}");
        }
    }
}
