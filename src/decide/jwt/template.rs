//! Issuer identifiers with one variable segment: one key set for many tenants.
//!
//! Owns which `iss` values a template matches. An attacker would want the token of one tenant to
//! be taken for that of another, or a host of its own to match: the variable is one whole segment of
//! the path, and the claim of its name must have the same value. Never looks at a signature.

/// `https://login.example.com/{tid}/v2.0`: every `iss` of this form, where the claim `tid` of the
/// token is the segment in the place of `{tid}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerTemplate<'t> {
    before: &'t str,
    claim: &'t str,
    after: &'t str,
}

/// Tenants are UUIDs or domain names.
const TENANT_BYTES_MAX: usize = 128;

impl<'t> IssuerTemplate<'t> {
    /// Reads a configured issuer identifier; `None` where it has no braces.
    ///
    /// # Errors
    /// The accepted form, where it has braces in another one.
    pub fn parse(identifier: &'t str) -> Result<Option<Self>, &'static str> {
        if memchr::memchr2(b'{', b'}', identifier.as_bytes()).is_none() {
            return Ok(None);
        }
        let parts = identifier
            .split_once('{')
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
            .map(|(before, (claim, after))| Self { before, claim, after });
        match parts {
            Some(template) if template.is_sound() => Ok(Some(template)),
            Some(_) | None => Err("a template is an https URL with one whole segment of its path \
                 as {CLAIM}, such as https://login.example.com/{tid}/v2.0"),
        }
    }

    fn is_sound(&self) -> bool {
        let authority_and_path = self.before.strip_prefix("https://");
        let host = authority_and_path.and_then(|rest| rest.split_once('/')).map(|(host, _)| host);
        let ends_segment = self.after.is_empty() || self.after.starts_with('/');
        host.is_some_and(|host| !host.is_empty())
            && self.before.ends_with('/')
            && ends_segment
            && !self.claim.is_empty()
            && ![self.before, self.claim, self.after].concat().contains(['{', '}', '?', '#'])
    }

    /// The name of the claim that the variable is bound to.
    #[must_use]
    pub fn claim(&self) -> &'t str {
        self.claim
    }

    /// Returns whether both match the same identifiers.
    #[must_use]
    pub fn has_form_of(&self, other: &Self) -> bool {
        (self.before, self.after) == (other.before, other.after)
    }

    /// The tenant of an `iss`, where it has this form.
    #[must_use]
    pub fn tenant<'i>(&self, iss: &'i str) -> Option<&'i str> {
        let tenant = iss.strip_prefix(self.before)?.strip_suffix(self.after)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let fits = (1..=TENANT_BYTES_MAX).contains(&tenant.len()) && tenant.bytes().all(is_plain);
        (fits && tenant != "." && tenant != "..").then_some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRA: &str = "https://login.example.com/{tid}/v2.0";

    fn entra() -> IssuerTemplate<'static> {
        IssuerTemplate::parse(ENTRA).unwrap().unwrap()
    }

    #[test]
    fn contract_issuer_templates_have_one_whole_segment_of_the_path() {
        assert_eq!(IssuerTemplate::parse("https://login.example.com/a"), Ok(None));
        assert_eq!(entra().claim(), "tid");
        for good in ["https://a.example/{tid}", "https://a.example/x/{tenant_id}/"] {
            assert!(IssuerTemplate::parse(good).unwrap().is_some(), "{good}");
        }
        for bad in [
            "https://{tid}.example.com/v2.0",
            "https://{tid}/v2.0",
            "https:///{tid}",
            "https://a.example{tid}",
            "https://a.example/x{tid}/v2.0",
            "https://a.example/{tid}x",
            "https://a.example/{tid}/{x}",
            "https://a.example/{}",
            "https://a.example/{tid",
            "https://a.example/tid}",
            "https://a.example/}{",
            "https://a.example/?t={tid}",
            "http://a.example/{tid}",
            "{tid}",
            "urn:{tid}",
        ] {
            assert!(IssuerTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn r312_the_tenant_is_one_plain_segment() {
        let tenant = |iss| entra().tenant(iss);
        for good in ["9188040d-6c67-4c5b-b112-36a304b66dad", "contoso.example", "a_b"] {
            let iss = format!("https://login.example.com/{good}/v2.0");
            assert_eq!(entra().tenant(&iss), Some(good));
        }
        for bad in [
            ENTRA,
            "https://login.example.com//v2.0",
            "https://login.example.com/v2.0",
            "https://login.example.com/a/b/v2.0",
            "https://login.example.com/a%2Fb/v2.0",
            "https://login.example.com/./v2.0",
            "https://login.example.com/../v2.0",
            "https://login.example.com/a/v2.0/",
            "https://login.example.com/a/v2.00",
            "https://login.example.com.evil.example/a/v2.0",
            "http://login.example.com/a/v2.0",
            "https://login.example.com/a\n/v2.0",
        ] {
            assert_eq!(tenant(bad), None, "{bad}");
        }
        let long = "a".repeat(TENANT_BYTES_MAX + 1);
        assert_eq!(entra().tenant(&format!("https://login.example.com/{long}/v2.0")), None);
    }
}
