//! The command line: one file per command.
//!
//! Owns the arguments, the exit codes and the form of errors. Never decides about a request:
//! `explain` asks the same gate as the server, `check` takes the same path as `run`.

mod admin_client;
mod answer;
mod app;
mod audit;
mod check;
mod demo;
mod explain;
mod generated;
mod issuer;
mod key;
mod listener_owner;
mod loading;
mod manage;
mod plugin;
mod reload;
mod revoke;
mod run;
mod safe_store;
mod signing_key;
mod status;
mod store;
mod stored;
mod token;
mod user;
mod why;

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

/// The exit code of a command (contract, "Commands").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Success.
    Success = 0,
    /// A negative answer: refused, not found, not running.
    Negative = 1,
    /// Invalid arguments.
    Usage = 2,
    /// An internal error, or an error of the operating system.
    Fault = 70,
    /// An invalid configuration.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The reason why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Printed as `gatepost: message`.
    Message(Exit, String),
    /// Printed one per line, each with its file, line and column.
    Mistakes(Vec<Mistake>),
}

impl Failure {
    /// An internal error, or an error of the operating system.
    pub(crate) fn fault(message: impl Into<String>) -> Self {
        Self::Message(Exit::Fault, message.into())
    }

    /// A negative answer.
    pub(crate) fn negative(message: impl Into<String>) -> Self {
        Self::Message(Exit::Negative, message.into())
    }

    /// Invalid arguments.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
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

/// The result of a command.
pub(crate) type Outcome = Result<Exit, Failure>;

/// Log format
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Human-readable lines
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Minimum log level
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Logging {
    /// The options of the server.
    fn serve(self, config: PathBuf) -> Options {
        let Self { log_format, log_level } = self;
        Options {
            config,
            log_format: log_format.into(),
            log_level: log_level.into(),
            new_store: false,
        }
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
            ServeError::Issuer(error) if error.is_mistake() => {
                Self::Message(Exit::Configuration, error.to_string())
            }
            ServeError::Revocations(_)
            | ServeError::Issuer(_)
            | ServeError::Listen(_)
            | ServeError::System(..)
            | ServeError::Ended(_) => Self::fault(error.to_string()),
        }
    }
}

/// Arguments of every command.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Logging {
    /// Log format
    #[arg(long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Minimum log level
    #[arg(long, value_enum, default_value_t, global = true, value_name = "LEVEL")]
    pub log_level: LogLevel,
}

/// Authentication, authorization and rate limiting in front of an existing HTTP API
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

Exit codes:  0 success, 1 refused, not found or not running, 2 invalid arguments,
             70 internal error, 78 invalid configuration";

/// The configuration file.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration file
    #[arg(id = "config", long, short, value_name = "FILE")]
    pub path: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an example API behind gatepost on loopback, and print curl commands to try
    #[command(after_help = "Example:\n  gatepost demo")]
    Demo,
    /// Run the sidecar
    #[command(after_help = run::EXAMPLE)]
    Run(run::Run),
    /// Validate a configuration and report every mistake, without network access
    #[command(after_help = check::EXAMPLE)]
    Check(ConfigFile),
    /// Show the decision on one request, step by step
    #[command(after_help = explain::EXAMPLE)]
    Explain(explain::Explain),
    /// Show why the running process refused a request
    #[command(after_help = why::EXAMPLE)]
    Why(why::Why),
    /// Show the status of the running process
    #[command(after_help = status::EXAMPLE)]
    Status(status::Status),
    /// Reload the configuration and key files of the running process
    #[command(after_help = reload::EXAMPLE)]
    Reload(ConfigFile),
    /// Revoke tokens or an API key, effective from the next request
    #[command(after_help = revoke::REVOKE_EXAMPLE)]
    Revoke(revoke::Revoke),
    /// List and remove revocations
    #[command(subcommand)]
    Revocations(revoke::Revocations),
    /// Refresh the keys of an issuer
    #[command(subcommand)]
    Issuer(issuer::IssuerCommand),
    /// Manage API keys, in a key file or in the store of the issuer
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Manage the peppers that secrets of the issuer are sealed under
    #[command(subcommand)]
    SafeStore(safe_store::SafeStoreCommand),
    /// Manage the keys that sign tokens of the issuer
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// Check and copy the store of the issuer
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Manage the people of the issuer
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manage the OAuth applications of the issuer
    #[command(subcommand)]
    App(app::AppCommand),
    /// Manage personal access tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Manage plugins, and run them with their credentials
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Show the audit log of the issuer
    #[command(after_help = audit::EXAMPLE)]
    Audit(audit::Audit),
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example:\n  gatepost schema > gatepost.schema.json")]
    Schema,
    /// Print shell completions
    #[command(
        after_help = "Example:\n  gatepost completions bash > /etc/bash_completion.d/gatepost"
    )]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page per command to a directory
    #[command(
        after_help = "Examples:\n  gatepost man | man -l -\n  gatepost man --out /usr/local/share/man/man1"
    )]
    Man {
        /// Write one page per command to this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Parses the arguments, runs the command and reports its failure.
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
        Command::Why(arguments) => why::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Reload(config) => reload::run(&config.path),
        Command::Revoke(arguments) => revoke::revoke(&arguments),
        Command::Revocations(command) => revoke::revocations(&command),
        Command::Issuer(command) => issuer::run(&command),
        Command::SafeStore(command) => safe_store::run(&command),
        Command::SigningKey(command) => signing_key::run(&command),
        Command::Store(command) => store::run(&command),
        Command::Key(command) => key::on_the_store(&command).unwrap_or_else(|| Ok(keys(&command))),
        Command::User(command) => user::run(&command),
        Command::App(command) => app::run(&command),
        Command::Token(command) => token::run(&command),
        Command::Plugin(command) => plugin::run(&command),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Schema => generated::schema(),
        Command::Completions { shell } => generated::completions(Arguments::command(), shell),
        Command::Man { out } => generated::man(Arguments::command(), out.as_deref()),
    }
}

/// Runs a key command with the streams, the clock and the random source of the process.
fn keys(command: &key::KeyCommand) -> Exit {
    let now = Clock::start().now().unix;
    let mut fill = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| RandomFault);
    let (mut stdin, mut stdout, mut stderr) = (io::stdin(), io::stdout(), io::stderr());
    match key::run(command, &mut stdin, &mut stdout, &mut stderr, now, &mut fill) {
        0 => Exit::Success,
        1 => Exit::Negative,
        2 => Exit::Usage,
        78 => Exit::Configuration,
        _ => Exit::Fault,
    }
}

/// Help and version go to standard output; anything else is an error in the arguments.
fn refuse_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => Exit::Success,
            Err(_) => Exit::Fault,
        };
    }
    let text = error.render().to_string();
    match text.strip_prefix("error: ") {
        Some(message) => eprint!("gatepost: {message}"),
        // The help of a command without its subcommand.
        None => eprint!("{text}"),
    }
    Exit::Usage
}

/// Prints every mistake on its own line of standard error, then their number.
fn print_mistakes(mistakes: impl Iterator<Item = String>) {
    let mut count = 0_usize;
    for mistake in mistakes {
        eprintln!("{mistake}");
        count += 1;
    }
    let plural = if count == 1 { "mistake" } else { "mistakes" };
    eprintln!("gatepost: {count} {plural} in the configuration");
}

/// Escapes control characters: text from a caller must not control the terminal.
fn escape(text: &str) -> String {
    let escaped =
        |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Writes to standard output. A closed pipe is not an error.
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
        for command in ["upgrade", "login"] {
            let refused = Arguments::try_parse_from(["gatepost", command]).unwrap_err();
            assert_eq!(refuse_usage(&refused), Exit::Usage, "{command}");
        }
    }
}
