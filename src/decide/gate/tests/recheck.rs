//! Deciding again about requests that were admitted.

use super::*;

impl Tried {
    /// The reason why the credential is refused now.
    pub(super) fn recheck(
        &self,
        credential: (&str, &str),
        before: &Evidence,
    ) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        let name = HeaderName::try_from(credential.0).unwrap();
        headers.append(name, credential.1.parse().unwrap());
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example"),
            path: b"/",
            headers: &headers,
            peer: self.peer,
            certificate: None,
        };
        let rechecked = self.snapshot.gate.recheck(&head, self.now(), before);
        match rechecked {
            Ok(Rechecked::Good) => None,
            Ok(Rechecked::Expired) => Some("expired"),
            Err(rejection) => Some(rejection.reason().as_str()),
        }
    }

    fn revokes(&mut self, target: Target) {
        let set = [Entry::new(target, UnixTime(NOW))].into_iter().collect();
        self.snapshot.gate.revocations = Revocations::new(Arc::default(), Arc::new(set));
    }
}

#[test]
fn r804_limits_have_no_part_in_the_check_of_an_open_stream() {
    let mut tried = Tried::new(BUDGET);
    let good = token(&claims());
    let before = tried.get("/", &[jwt(&good)]).evidence;
    for _ in 0..2 {
        tried.check("/", &[jwt(&forged())], "token_signature_bad");
    }
    tried.check("/", &[jwt(&with("jti", "new"))], "failed_credentials_spent");
    assert_eq!(tried.recheck(jwt(&good), &before), None);
    tried.revokes(Target::token(RevocationKind::Jti, "https://login.example.com".into(), "t-1"));
    assert_eq!(tried.recheck(jwt(&good), &before), Some("token_revoked"));
}

#[test]
fn r804_a_stream_is_checked_for_expiry_revocation_and_access() {
    let mut tried = Tried::new("routes: [{ path: /**, access: { scopes: [read] } }]\n");
    let (own, good) = (own_key(), token(&claims()));
    let by_token = tried.get("/", &[jwt(&good)]).evidence;
    let by_key = tried.get("/", &[key(&own)]).evidence;
    assert_eq!(tried.recheck(jwt(&good), &by_token), None);
    assert_eq!(tried.recheck(key(&own), &by_key), None);
    tried.wait(1_000);
    assert_eq!(tried.recheck(jwt(&good), &by_token), Some("expired"));
    let mut other = Tried::new("routes: [{ path: /**, access: { scopes: [more] } }]\n");
    other.wait(1_000);
    assert_eq!(other.recheck(jwt(&good), &by_token), Some("scope_missing"), "expired or not");
    tried.revokes(Target::key("own"));
    assert_eq!(tried.recheck(key(&own), &by_key), Some("key_revoked"));
    tried.revokes(Target::token(RevocationKind::Jti, "https://login.example.com".into(), "t-1"));
    assert_eq!(tried.recheck(jwt(&good), &by_token), Some("token_revoked"), "expired or not");
    assert_eq!(other.recheck(key(&own), &by_key), Some("scope_missing"));
}
