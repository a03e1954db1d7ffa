//! A person with a browser: cookies, and forms as the pages have them.

use std::collections::BTreeMap;

use super::{Response, Sidecar, head};

/// A browser on the pages of one sidecar.
pub struct Browser<'s> {
    sidecar: &'s Sidecar,
    pub host: &'static str,
    pub cookies: BTreeMap<String, String>,
    /// `X-Forwarded-For`, as a trusted proxy in front writes it.
    pub address: Option<&'static str>,
}

/// The names and values of the hidden fields of the form that posts to `action`.
#[track_caller]
pub fn hidden(page: &str, action: &str) -> Vec<(String, String)> {
    let at = page.find(&format!("action=\"{action}\""));
    let at = at.unwrap_or_else(|| panic!("no form for {action}: {page}"));
    let form = page[at..].split("</form>").next().unwrap();
    let fields = form.split("<input type=\"hidden\"").skip(1);
    let value = |field: &str, name: &str| {
        let (_, rest) = field.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    fields.map(|field| (value(field, "name"), value(field, "value"))).collect()
}

/// A text as a value of a form.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl<'s> Browser<'s> {
    pub fn new(sidecar: &'s Sidecar) -> Self {
        Self { sidecar, host: "api.example.com", cookies: BTreeMap::new(), address: None }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], None)
    }

    /// A POST of a page of this host.
    #[track_caller]
    pub fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Response {
        let origin = format!("https://{}", self.host);
        let fields = [("Origin", &*origin), ("Sec-Fetch-Site", "same-origin")];
        self.post_with(path, form, &fields)
    }

    /// A POST with these fields about its origin.
    #[track_caller]
    pub fn post_with(
        &mut self,
        path: &str,
        form: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Response {
        let pairs = form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.send("POST", path, fields, Some(&body))
    }

    /// Sends the form of a page with its hidden fields, and what a person enters.
    #[track_caller]
    pub fn submit(&mut self, page: &Response, action: &str, entered: &[(&str, &str)]) -> Response {
        let hidden = hidden(&page.text(), action);
        let hidden = hidden.iter().map(|(name, value)| (&**name, &**value));
        let form: Vec<_> = hidden.chain(entered.iter().copied()).collect();
        self.post(action, &form)
    }

    /// Signs in from a page, and follows the redirect.
    #[track_caller]
    pub fn sign_in(&mut self, path: &str, login: &str, password: &str) -> Response {
        let page = self.get(path);
        let entered = [("login", login), ("password", password)];
        let answer = self.submit(&page, "/auth/account/sign-in", &entered);
        assert_eq!(answer.status, 303, "{}", answer.text());
        let next = answer.field("location").unwrap().to_owned();
        self.get(&next)
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = vec![("Host", self.host)];
        if !cookies.is_empty() {
            all.push(("Cookie", &cookies));
        }
        all.extend(fields);
        all.extend(self.address.map(|address| ("X-Forwarded-For", address)));
        let length = body.map(|body| body.len().to_string());
        if let Some(length) = &length {
            all.push(("Content-Type", "application/x-www-form-urlencoded"));
            all.push(("Content-Length", length));
        }
        let mut client = self.sidecar.connect();
        client.send(head(method, path, &all)).send(body.unwrap_or_default());
        let response = client.response();
        self.keep(&response);
        response
    }

    fn keep(&mut self, response: &Response) {
        let set =
            response.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        for (_, text) in set {
            let (pair, attributes) = text.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(
                attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"),
                "{text}"
            );
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
    }
}
