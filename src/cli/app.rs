//! `gatepost app`: applications of the issuer.
//!
//! Owns the arguments and the text form of the answers. A client secret is printed once. Never
//! opens the store by itself.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use crate::base::clock::{Clock, parse_duration};
use crate::cli::manage::{Paging, State, print_one, segment};
use crate::cli::user::Common;
use crate::cli::{Exit, Failure, Outcome, escape, print};

/// The columns of a list.
const COLUMNS: [(&str, &str); 7] = [
    ("CLIENT_ID", "client_id"),
    ("NAME", "name"),
    ("OWNER", "owner"),
    ("TYPE", "type"),
    ("PROFILE", "profile"),
    ("GRANTS", "grants"),
    ("APPROVED", "approved"),
];

const UPDATE_EXAMPLE: &str = "\
Examples:
  gatepost app update CLIENT_ID --name 'New name' --config gatepost.yaml
  gatepost app update CLIENT_ID --redirect https://a.example/cb --redirect https://b.example/cb \
--config gatepost.yaml
  gatepost app update CLIENT_ID --access-lifetime 60d --introspect true --config gatepost.yaml

Only what is given changes. A list that is given replaces the one before.";

/// `app ...`.
#[derive(Debug, Subcommand)]
pub(super) enum AppCommand {
    /// Register an application and print its client id and secret once
    #[command(after_help = "Examples:\n  gatepost app create --config gatepost.yaml --name Shop \
        --redirect https://shop.example.com/callback --strict\n  gatepost app create --config \
        gatepost.yaml --name sync --strict --grant client_credentials --scope read")]
    Create(Create),
    /// List applications
    #[command(after_help = "Example:\n  gatepost app list --config gatepost.yaml")]
    List(List),
    /// Show one application with its secrets' ids
    #[command(after_help = "Example:\n  gatepost app show CLIENT_ID --config gatepost.yaml")]
    Show(One),
    /// Change the description of an application; its tokens and secrets stay
    #[command(after_help = UPDATE_EXAMPLE)]
    Update(Update),
    /// Approve an application: its consent page no longer says that it is not reviewed
    #[command(after_help = "Example:\n  gatepost app approve CLIENT_ID --config gatepost.yaml")]
    Approve(One),
    /// End every token of an application
    #[command(after_help = "Example:\n  gatepost app revoke CLIENT_ID --config gatepost.yaml")]
    Revoke(One),
    /// Add and end client secrets
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Delete an application with its tokens
    #[command(after_help = "Example:\n  gatepost app delete CLIENT_ID --config gatepost.yaml")]
    Delete(One),
}

/// Arguments of `app list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this person, by login or id
    #[arg(long, value_name = "PERSON")]
    owner: Option<String>,
    /// Only those with this name
    #[arg(long)]
    name: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    common: Common,
}

/// `app secret ...`.
#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Add a second secret and print it once
    #[command(after_help = "Example:\n  gatepost app secret add CLIENT_ID --config gatepost.yaml \
        --end-old-after 7d")]
    Add {
        #[command(flatten)]
        one: One,
        /// End the other secrets after this time
        #[arg(long, value_name = "DURATION")]
        end_old_after: Option<String>,
    },
    /// End a secret; tokens that it obtained stay
    #[command(after_help = "Example:\n  gatepost app secret end CLIENT_ID SECRET_ID --config \
        gatepost.yaml")]
    End {
        #[command(flatten)]
        one: One,
        /// Id of the secret, as listed by `app show`
        #[arg(value_name = "SECRET_ID")]
        secret: String,
    },
}

/// Arguments of a command about one application.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Client id
    #[arg(value_name = "CLIENT_ID")]
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `app create`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("profile").required(true).args(["strict", "compat"])))]
pub(super) struct Create {
    /// Name on the consent page
    #[arg(long)]
    name: String,
    /// Owner, by login or id
    #[arg(long, value_name = "PERSON")]
    owner: Option<String>,
    /// Home page
    #[arg(long, value_name = "URL")]
    site: Option<String>,
    /// Redirect URI; repeatable
    #[arg(long = "redirect", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// The application sends PKCE with S256
    #[arg(long)]
    strict: bool,
    /// Server-side application without PKCE
    #[arg(long)]
    compat: bool,
    /// An application without a secret
    #[arg(long)]
    public: bool,
    /// Grant type; repeatable [default: authorization_code and refresh_token]
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// Scope that it may have; repeatable [default: every scope]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Lifetime of its access tokens [default: that of its profile]
    #[arg(long, value_name = "DURATION")]
    access_lifetime: Option<String>,
    /// No consent page
    #[arg(long)]
    first_party: bool,
    /// May use the introspection endpoint
    #[arg(long)]
    introspect: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `app update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    one: One,
    /// Name on the consent page
    #[arg(long)]
    name: Option<String>,
    /// Home page, or none
    #[arg(long, value_name = "URL|none")]
    site: Option<String>,
    /// The application sends PKCE with S256
    #[arg(long, conflicts_with = "compat")]
    strict: bool,
    /// Server-side application without PKCE
    #[arg(long)]
    compat: bool,
    /// Redirect URI; repeatable, or none
    #[arg(long = "redirect", value_name = "URI|none")]
    redirect_uris: Vec<String>,
    /// Grant type; repeatable
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// Scope that it may have; repeatable, or all
    #[arg(long = "scope", value_name = "SCOPE|all")]
    scopes: Vec<String>,
    /// Lifetime of its access tokens, or default: that of its profile
    #[arg(long, value_name = "DURATION|default")]
    access_lifetime: Option<String>,
    /// No consent page
    #[arg(long, value_name = "BOOL")]
    first_party: Option<bool>,
    /// May use the introspection endpoint
    #[arg(long, value_name = "BOOL")]
    introspect: Option<bool>,
}

impl Update {
    /// The members that change.
    fn body(&self) -> Result<Value, Failure> {
        let mut body = serde_json::Map::new();
        let mut set = |member: &str, value: Option<Value>| {
            body.extend(value.map(|value| (member.to_owned(), value)));
        };
        let text = |text: &Option<String>, none: &str| {
            text.as_ref().map(|text| if text == none { Value::Null } else { json!(text) })
        };
        let list = |list: &[String], word: &str, value: Value| match list {
            [] => None,
            [one] if one == word => Some(value),
            list => Some(json!(list)),
        };
        set("name", self.name.as_ref().map(|name| json!(name)));
        set("site", text(&self.site, "none"));
        set("profile", self.strict.then(|| json!("strict")));
        set("profile", self.compat.then(|| json!("compat")));
        set("redirect_uris", list(&self.redirect_uris, "none", json!([])));
        set("grants", list(&self.grants, "", json!([])));
        set("scopes", list(&self.scopes, "all", Value::Null));
        set("access_lifetime", self.access_lifetime.as_deref().map(lifetime).transpose()?);
        set("first_party", self.first_party.map(Value::from));
        set("introspect", self.introspect.map(Value::from));
        if body.is_empty() {
            return Err(Failure::usage("no change is given: see gatepost app update --help"));
        }
        Ok(Value::Object(body))
    }
}

/// `--access-lifetime`, in seconds.
fn lifetime(text: &str) -> Result<Value, Failure> {
    if text == "default" {
        return Ok(Value::Null);
    }
    let read = parse_duration(text).map(|duration| json!(duration.as_secs()));
    read.map_err(|error| Failure::usage(format!("--access-lifetime: {error}")))
}

pub(super) fn run(command: &AppCommand) -> Outcome {
    match command {
        AppCommand::Create(arguments) => create(arguments)?,
        AppCommand::List(List { owner, name, state, paging, common }) => {
            let (owner, name, state) = (owner.as_deref(), name.as_deref(), state.map(State::word));
            let filters = [("owner", owner), ("name", name), ("state", state)];
            let listed = common.desk()?.list(("apps", "/apps"), &filters, paging)?;
            listed.print(common.output, &COLUMNS)?;
        }
        AppCommand::Show(One { id, common }) => {
            let shown = common.desk()?.get(&format!("/apps/{}", segment(id)))?;
            print_one(common.output, &shown, crate::cli::answer::outline)?;
        }
        AppCommand::Update(arguments) => update(arguments)?,
        AppCommand::Approve(one) => turn(one, ("approve", "approved"))?,
        AppCommand::Revoke(one) => turn(one, ("revoke", "every token ended"))?,
        AppCommand::Secret(SecretCommand::Add { one, end_old_after }) => {
            add_secret(one, end_old_after.as_deref())?;
        }
        AppCommand::Secret(SecretCommand::End { one, secret }) => {
            let target = format!("/apps/{}/secrets/{}", segment(&one.id), segment(secret));
            one.common.desk()?.delete(&target)?;
            print(&format!("{}: ended\n", escape(secret)))?;
        }
        AppCommand::Delete(one) => {
            one.common.desk()?.delete(&format!("/apps/{}", segment(&one.id)))?;
            print(&format!("{}: deleted\n", escape(&one.id)))?;
        }
    }
    Ok(Exit::Success)
}

fn create(arguments: &Create) -> Result<(), Failure> {
    let optional = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let body = json!({
        "name": arguments.name,
        "owner": arguments.owner,
        "site": arguments.site,
        "type": if arguments.public { "public" } else { "confidential" },
        "profile": if arguments.compat { "compat" } else { "strict" },
        "redirect_uris": arguments.redirect_uris,
        "grants": optional(&arguments.grants),
        "scopes": optional(&arguments.scopes),
        "access_lifetime": arguments.access_lifetime.as_deref().map(lifetime).transpose()?,
        "first_party": arguments.first_party,
        "introspect": arguments.introspect,
    });
    let made = arguments.common.desk()?.post("/apps", &body)?;
    print_one(arguments.common.output, &made, credentials)
}

/// Two lines that a shell can read.
fn credentials(made: &Value) -> String {
    let text = |member: &str| made[member].as_str().map(escape);
    let mut lines = format!("client_id={}\n", text("client_id").unwrap_or_default());
    if let Some(secret) = text("client_secret") {
        lines.push_str(&format!("client_secret={secret}\n"));
    }
    lines
}

fn update(arguments: &Update) -> Result<(), Failure> {
    let (one, body) = (&arguments.one, arguments.body()?);
    let changed = one.common.desk()?.post(&format!("/apps/{}", segment(&one.id)), &body)?;
    print_one(one.common.output, &changed, crate::cli::answer::outline)
}

/// Does something, and confirms it.
fn turn(one: &One, (act, done): (&str, &str)) -> Result<(), Failure> {
    let target = format!("/apps/{}/{act}", segment(&one.id));
    let changed = one.common.desk()?.post(&target, &json!({}))?;
    print_one(one.common.output, &changed, |_| format!("{}: {done}\n", escape(&one.id)))
}

fn add_secret(one: &One, end_old_after: Option<&str>) -> Result<(), Failure> {
    let end_old = end_old_after.map(end_after).transpose()?;
    let target = format!("/apps/{}/secrets", segment(&one.id));
    let made = one.common.desk()?.post(&target, &json!({ "end_old": end_old }))?;
    print_one(one.common.output, &made, credentials)
}

/// `--end-old-after`, as an instant.
pub(super) fn end_after(text: &str) -> Result<String, Failure> {
    let after = parse_duration(text);
    let after = after.map_err(|error| Failure::usage(format!("--end-old-after: {error}")))?;
    Ok(Clock::start().now().unix.plus(after).to_string())
}
