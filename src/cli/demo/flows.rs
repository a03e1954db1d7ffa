//! The lines of the demo for flows with a person: sign-in, authorization code, refresh and device.
//!
//! Owns what a browser would do, as commands: a cookie jar, and the hidden fields of the forms. The
//! first line signs in; the others need its cookies. Never runs one.

use std::net::SocketAddr;
use std::path::Path;

use crate::cli::demo::issuer::{Issued, LOGIN};
use crate::cli::demo::shell::{CURL, shell_word};

/// What the lines are about.
pub(super) struct Flows<'a> {
    pub(super) folder: &'a Path,
    pub(super) issued: &'a Issued,
    pub(super) public: SocketAddr,
}

/// The last hidden field of a name on the page in standard input.
const HIDDEN: &str = r#"f() { sed -n "s/.*name=\"$1\" value=\"\([^\"]*\)\".*/\1/p" | tail -n 1; }"#;

/// The grant type of devices (RFC 8628 section 3.4).
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl Flows<'_> {
    /// The expected status, then a command.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "303 200, sign-in of ada on the account page, whose cookies the lines below use",
                self.sign_in(),
            ),
            (
                "200, authorization code: consent of ada, then the code for tokens",
                self.authorization_code(),
            ),
            ("200, refresh: another access token", self.refresh()),
            (
                "200, device code: ada enters and allows it, then the device gets tokens",
                self.device(),
            ),
        ]
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.public)
    }

    fn file(&self, name: &str) -> String {
        shell_word(&self.folder.join(name).display().to_string())
    }

    /// curl with the cookies of the browser.
    fn browse(&self) -> String {
        format!("curl -s -b {0} -c {0}", self.file("cookies"))
    }

    fn client(&self) -> String {
        format!("-u '{}:{}'", self.issued.web_id, self.issued.web_secret.expose())
    }

    fn sign_in(&self) -> String {
        let (issuer, browse, password) =
            (self.issuer(), self.browse(), self.issued.password.expose());
        let with_head = browse.replacen("curl -s", CURL, 1);
        format!(
            "{HIDDEN}; page=\"$({browse} {issuer}/auth/account/profile)\"; {with_head} -L \
             {issuer}/auth/account/sign-in -d csrf=\"$(echo \"$page\" | f csrf)\" \
             -d next=\"$(echo \"$page\" | f next)\" -d login={LOGIN} -d 'password={password}'"
        )
    }

    fn authorization_code(&self) -> String {
        let (issuer, browse, client) = (self.issuer(), self.browse(), self.client());
        let (id, tokens) = (&self.issued.web_id, self.file("tokens"));
        format!(
            "{HIDDEN}; page=\"$({browse} '{issuer}/oauth/authorize?response_type=code&client_id={id}&state=demo')\"; \
             back=\"$({browse} -o /dev/null -w '%{{redirect_url}}' {issuer}/auth/account/consent \
             -d csrf=\"$(echo \"$page\" | f csrf)\" -d request=\"$(echo \"$page\" | f request)\" -d decision=allow)\"; \
             {CURL} {issuer}/oauth/token {client} -d grant_type=authorization_code \
             -d code=\"$(echo \"$back\" | sed 's/.*code=\\([^&]*\\).*/\\1/')\" | tee {tokens}"
        )
    }

    fn refresh(&self) -> String {
        let (issuer, client, tokens) = (self.issuer(), self.client(), self.file("tokens"));
        format!(
            "{CURL} {issuer}/oauth/token {client} -d grant_type=refresh_token -d refresh_token=\
             \"$(sed -n 's/.*\"refresh_token\":\"\\([^\"]*\\)\".*/\\1/p' {tokens})\""
        )
    }

    fn device(&self) -> String {
        let (issuer, browse, id) = (self.issuer(), self.browse(), &self.issued.device_id);
        let member = |name: &str| format!("sed 's/.*\"{name}\":\"\\([^\"]*\\)\".*/\\1/'");
        let (device_code, user_code) = (member("device_code"), member("user_code"));
        format!(
            "{HIDDEN}; asked=\"$(curl -s {issuer}/oauth/device/code -d client_id={id})\"; \
             code=\"$(echo \"$asked\" | {user_code})\"; page=\"$({browse} {issuer}/oauth/device)\"; \
             page=\"$({browse} {issuer}/auth/account/device -d csrf=\"$(echo \"$page\" | f csrf)\" -d user_code=\"$code\")\"; \
             {browse} -o /dev/null {issuer}/auth/account/device/decide -d csrf=\"$(echo \"$page\" | f csrf)\" \
             -d user_code=\"$code\" -d decision=allow; {CURL} {issuer}/oauth/token -d client_id={id} \
             -d grant_type={DEVICE} -d device_code=\"$(echo \"$asked\" | {device_code})\""
        )
    }
}
