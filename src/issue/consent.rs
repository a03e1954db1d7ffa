//! Consent: when a person is asked, and what a recorded consent covers.
//!
//! Owns the digest of the facts that the consent page shows about an application: a consent is for
//! that name, that owner and those redirect hosts, and is asked for again when one of them changes.
//! Never reads or writes a row.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::sha256::sha256;
use crate::decide::scope::ScopeSet;
use crate::issue::redirect::RedirectUri;
use crate::issue::rows::{Application, Id, RecordedConsent};

/// The key of the consent of a person to an application. The length keeps two pairs apart.
#[must_use]
pub fn id(person: &Id, application: &Id) -> Id {
    Id(format!("{}:{person}{application}", person.as_str().len()).into())
}

/// The digest of the facts about an application that a person consents to.
#[must_use]
pub fn shown(application: &Application) -> Box<str> {
    let hosts: BTreeSet<_> = application.redirect_uris.0.iter().map(|uri| host_of(uri)).collect();
    let owner = application.owner.as_ref().map_or("", Id::as_str);
    let parts: Vec<_> = [&*application.name, owner].into_iter().chain(hosts).collect();
    // None of them has a line break.
    URL_SAFE_NO_PAD.encode(sha256(parts.join("\n").as_bytes())).into()
}

/// The host of a redirect URI, or its scheme where that is a private-use one.
#[must_use]
pub fn host_of(uri: &str) -> &str {
    match uri.split_once("://") {
        Some(("https" | "http", rest)) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            &rest[..end]
        }
        Some(_) | None => uri.split_once(':').map_or(uri, |(scheme, _)| scheme),
    }
}

impl RecordedConsent {
    /// Returns whether it is in force for the application as it is now.
    #[must_use]
    pub fn is_of(&self, application: &Application) -> bool {
        self.ended.is_none() && self.shown == shown(application)
    }

    /// Returns whether every scope was allowed.
    #[must_use]
    pub fn covers(&self, scopes: &ScopeSet) -> bool {
        self.scopes.contains_all(scopes)
    }
}

/// Returns whether a person must be asked: always where the answer goes to a program on the device,
/// never for an application of the operator, else for what was not allowed before.
#[must_use]
pub fn is_needed(
    application: &Application,
    target: &RedirectUri,
    known: Option<&RecordedConsent>,
    scopes: &ScopeSet,
) -> bool {
    if target.is_native() {
        return true;
    }
    !application.first_party
        && !known.is_some_and(|known| known.is_of(application) && known.covers(scopes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixTime;
    use crate::issue::rows::Profile;

    fn application() -> Application {
        Application {
            id: Id::from("shop"),
            owner: Some(Id::from("usr_dev")),
            name: "Shop".into(),
            site: None,
            confidential: true,
            profile: Profile::Compat,
            redirect_uris: ["https://shop.example.com/cb"].into_iter().collect(),
            grants: ["authorization_code"].into_iter().collect(),
            scopes: None,
            first_party: false,
            introspect: false,
            access_lifetime: None,
            plugin: None,
            approved: None,
            generation: Id::from("g"),
            created: UnixTime(0),
            disabled: None,
            ended: None,
        }
    }

    fn scopes(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    #[test]
    fn contract_consent_is_asked_for_again_when_name_owner_or_hosts_change() {
        let shop = application();
        let target = RedirectUri::parse("https://shop.example.com/cb").unwrap();
        let known = RecordedConsent {
            id: id(&Id::from("usr_a"), &shop.id),
            person: Id::from("usr_a"),
            application: shop.id.clone(),
            scopes: scopes("read"),
            shown: shown(&shop),
            created: UnixTime(1),
            ended: None,
        };
        let needed = |shop: &Application, asked: &str| {
            is_needed(shop, &target, Some(&known), &scopes(asked))
        };
        assert!(!needed(&shop, "read"));
        assert!(needed(&shop, "read write"), "a scope that was not allowed before");
        assert!(is_needed(&shop, &target, None, &scopes("read")), "never asked");
        let path = ["https://shop.example.com/other"].into_iter().collect();
        assert!(!needed(&Application { redirect_uris: path, ..shop.clone() }, "read"));
        for changed in [
            Application { name: "Shop 2".into(), ..shop.clone() },
            Application { owner: None, ..shop.clone() },
            Application {
                redirect_uris: ["https://evil.example/cb"].into_iter().collect(),
                ..shop.clone()
            },
        ] {
            assert!(needed(&changed, "read"), "{changed:?}");
        }
        let withdrawn = RecordedConsent { ended: Some(UnixTime(2)), ..known.clone() };
        assert!(is_needed(&shop, &target, Some(&withdrawn), &scopes("read")));
        let own = Application { first_party: true, ..shop };
        assert!(!is_needed(&own, &target, None, &scopes("read write")));
        for native in ["com.example.app:/cb", "http://127.0.0.1/cb"] {
            let native = RedirectUri::parse(native).unwrap();
            assert!(is_needed(&own, &native, Some(&known), &scopes("read")), "{native}");
        }
    }

    #[test]
    fn a_redirect_target_is_named_by_its_host() {
        for (uri, host) in [
            ("https://shop.example.com/cb?x=1", "shop.example.com"),
            ("https://shop.example.com:8443", "shop.example.com:8443"),
            ("http://[::1]:80/cb", "[::1]:80"),
            ("com.example.app:/cb", "com.example.app"),
            ("com.example.app://x/cb", "com.example.app"),
        ] {
            assert_eq!(host_of(uri), host);
        }
    }
}
