//! The lines that the demo prints, each a command with the answer that it gives.
//!
//! Owns the text. Each command is complete on its own line in any POSIX shell: credentials are
//! literal (they are worthless beyond this process), and no line ends with a comment, which an
//! interactive zsh passes to curl. Never runs one.

use std::net::SocketAddr;
use std::path::Path;

use crate::cli::demo::credentials::Credentials;
use crate::cli::demo::flows::Flows;
use crate::cli::demo::issuer::{Issued, LOGIN, PLUGIN};
use crate::cli::demo::shell::{CURL, shell_word};

/// What the lines are about.
pub(super) struct Demo<'a> {
    pub(super) folder: &'a Path,
    pub(super) credentials: &'a Credentials,
    pub(super) issued: &'a Issued,
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Takes the access token out of the answer of the token endpoint.
const ACCESS_TOKEN: &str = r#"sed 's/.*"access_token":"\([^"]*\)".*/\1/'"#;

impl Demo<'_> {
    /// The text printed once the sidecar listens: the expected status, then a command.
    pub(super) fn introduction(&self) -> String {
        let Self { public, admin, .. } = self;
        let (dir, until) = (self.folder.display(), self.credentials.expires);
        let (requests, issuer) = (listed(&self.requests()), listed(&self.issuer()));
        let flows = Flows { folder: self.folder, issued: self.issued, public: *public };
        let (flows, password) = (listed(&flows.lines()), self.issued.password.expose());
        let (gatepost, config) = (program(), self.config());
        let key = self.credentials.api_key.expose();
        format!(
            r#"
gatepost demo: an API behind a sidecar on http://{public}
Configuration, keys and tokens (valid until {until}) are in {dir} and are removed on exit.

{requests}
The built-in issuer, http://{public}, with a person (ada), an application and a plugin:

{issuer}
The account pages, http://{public}/auth/account: sign in as {LOGIN} with the password {password}
The same with curl in place of a browser, line by line:

{flows}
Why a request was refused (by its request id), the decision step by step, and the running state:
  {gatepost} why "$(curl -s http://{public}/api/orders | sed 's/.*"request_id":"\([^"]*\)".*/\1/')" --config {config}
  {gatepost} explain --config {config} --method GET --path /api/orders --header 'X-API-Key: {key}' --live
  {gatepost} status --config {config}
  {gatepost} token list --config {config}
  {gatepost} audit --config {config}

Metrics; with an issuer the admin listener demands a token:
  curl http://{admin}/metrics -H "Authorization: Bearer $(cat {dir}/state/admin.token)"

Press Ctrl-C to stop.
"#
        )
    }

    /// Requests with credentials of files.
    fn requests(&self) -> Vec<(&'static str, String)> {
        let Credentials { token, token_without_scope, api_key, .. } = self.credentials;
        let key = format!(" -H 'X-API-Key: {}'", api_key.expose());
        let get =
            |path: &str, header: &str| format!("{CURL} 'http://{}{path}'{header}", self.public);
        vec![
            ("200, anonymous route", get("/public/hello", "")),
            ("401, no credential", get("/api/orders", "")),
            ("401, invalid token", get("/api/orders", &bearer("nonsense"))),
            ("200, valid token", get("/api/orders", &bearer(token))),
            (
                "403, valid token without the scope",
                get("/api/orders", &bearer(token_without_scope)),
            ),
            ("200, API key", get("/api/orders", &key)),
            ("200 200 429, three requests on a limit of two a minute", get("/limited/[1-3]", &key)),
        ]
    }

    /// Requests to the issuer, and with its credentials.
    fn issuer(&self) -> Vec<(&'static str, String)> {
        let Issued { client_id, client_secret, token, token_to_revoke, key, .. } = self.issued;
        let (issuer, client) = (
            format!("http://{}", self.public),
            format!("-u '{client_id}:{}'", client_secret.expose()),
        );
        let (orders, revoke) = (format!("{issuer}/api/orders"), format!("{issuer}/oauth/revoke"));
        let grant = format!("{issuer}/oauth/token {client} -d grant_type=client_credentials");
        let access_token = format!("\"$(curl -s {grant} | {ACCESS_TOKEN})\"");
        let (token, lost) = (token.expose(), bearer(token_to_revoke.expose()));
        vec![
            (
                "200, client credentials: token_type, expires_in, access_token and scope",
                format!("{CURL} {grant}"),
            ),
            (
                "200, a request with such an access token",
                format!("{CURL} {orders} -H \"Authorization: Bearer \"{access_token}"),
            ),
            ("200, personal access token of ada", format!("{CURL} {orders}{}", bearer(token))),
            ("200, API key of ada", format!("{CURL} {orders} -H 'X-API-Key: {}'", key.expose())),
            ("200, a plugin that finds its credentials in its environment", self.plugin()),
            (
                "200, introspection: \"active\":true with what the token may do",
                format!("{CURL} {issuer}/oauth/introspect {client} -d token={token}"),
            ),
            (
                "200 401, revocation by the token alone, and a request with it",
                format!("{CURL} -X POST {revoke}{lost} --next -i -w '\\n' {orders}{lost}"),
            ),
            (
                "200 401, revocation by the client (RFC 7009), and a request with the token",
                format!(
                    "token={access_token}; {CURL} {revoke} {client} -d token=\"$token\" --next \
                     -i -w '\\n' {orders} -H \"Authorization: Bearer $token\""
                ),
            ),
        ]
    }

    fn plugin(&self) -> String {
        let (gatepost, config) = (program(), self.config());
        format!(
            "{gatepost} plugin run {PLUGIN} --config {config} -- sh -c 'curl -i -w \"\\n\" \
             \"$API_BASE_URL/oauth/token\" -u \"$OAUTH_CLIENT_ID:$OAUTH_CLIENT_SECRET\" \
             -d grant_type=client_credentials'"
        )
    }

    fn config(&self) -> String {
        shell_word(&self.folder.join("gatepost.yaml").display().to_string())
    }
}

fn listed(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(expected, command)| format!("{expected}:\n  {command}\n")).collect()
}

fn bearer(token: &str) -> String {
    format!(" -H 'Authorization: Bearer {token}'")
}

fn program() -> String {
    let program = std::env::current_exe();
    shell_word(&program.map_or_else(|_| "gatepost".into(), |path| path.display().to_string()))
}
