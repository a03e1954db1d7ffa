//! Authorization server metadata (RFC 8414).
//!
//! Owns the document and its paths. Everything in it comes from the configuration: never from a
//! header of the request.

use serde::Serialize;

use crate::decide::scope::ScopeSet;

/// The grant types that the token endpoint knows.
pub const GRANT_TYPES: [&str; 4] = [
    "authorization_code",
    "client_credentials",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
];

/// The methods of client authentication.
pub const AUTH_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "none"];

/// The names of the document below `/.well-known/`.
pub const WELL_KNOWN: [&str; 2] = ["oauth-authorization-server", "openid-configuration"];

/// The path of the keys.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The parts of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// `issuer.url`, byte for byte.
    pub issuer: &'a str,
    /// The first of `issuer.prefixes`.
    pub prefix: &'a str,
    /// The scopes that people see.
    pub scopes: &'a ScopeSet,
    /// The endpoints that exist.
    pub endpoints: Endpoints,
}

/// The endpoints that a server has. The document names no endpoint that would answer 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `P/authorize`.
    pub authorize: bool,
    /// `P/device/code`.
    pub device: bool,
}

impl Endpoints {
    /// The grant types that can be used with them.
    #[must_use]
    pub fn grant_types(self) -> Vec<&'static str> {
        let [code, credentials, refresh, device] = GRANT_TYPES;
        let known = [
            (code, self.authorize),
            (credentials, true),
            (refresh, self.authorize || self.device),
            (device, self.device),
        ];
        known.into_iter().filter(|(_, exists)| *exists).map(|(grant, _)| grant).collect()
    }
}

#[derive(Serialize)]
struct Members<'a> {
    issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    jwks_uri: String,
    scopes_supported: Vec<&'a str>,
    response_types_supported: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    response_modes_supported: Vec<&'a str>,
    grant_types_supported: Vec<&'a str>,
    token_endpoint_auth_methods_supported: [&'a str; 3],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'a str; 3],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'a str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code_challenge_methods_supported: Vec<&'a str>,
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata<'_> {
    /// The JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Endpoints { authorize, device } = self.endpoints;
        let origin = origin_of(self.issuer);
        let endpoint = |name: &str| format!("{origin}{}/{name}", self.prefix);
        let only = |text, holds: bool| if holds { vec![text] } else { Vec::new() };
        let [basic, post, none] = AUTH_METHODS;
        let members = Members {
            issuer: self.issuer,
            authorization_endpoint: authorize.then(|| endpoint("authorize")),
            token_endpoint: endpoint("token"),
            jwks_uri: format!("{origin}{JWKS_PATH}"),
            scopes_supported: self.scopes.iter().collect(),
            response_types_supported: only("code", authorize),
            response_modes_supported: only("query", authorize),
            grant_types_supported: self.endpoints.grant_types(),
            token_endpoint_auth_methods_supported: [basic, post, none],
            revocation_endpoint: endpoint("revoke"),
            revocation_endpoint_auth_methods_supported: [basic, post, none],
            introspection_endpoint: endpoint("introspect"),
            introspection_endpoint_auth_methods_supported: [basic, post],
            device_authorization_endpoint: device.then(|| endpoint("device/code")),
            code_challenge_methods_supported: only("S256", authorize),
            authorization_response_iss_parameter_supported: authorize,
        };
        // Strings and lists of them alone.
        serde_json::to_string(&members).unwrap_or_default()
    }
}

/// Scheme, host and port of the issuer's URL.
#[must_use]
pub fn origin_of(issuer: &str) -> &str {
    let after = issuer.find("://").map_or(0, |at| at + 3);
    let length = issuer[after..].find('/').unwrap_or(issuer.len() - after);
    &issuer[..after + length]
}

/// The paths of the document: at the root, and with the issuer's path inserted or appended
/// (RFC 8414 sections 3.1 and 5).
#[must_use]
pub fn paths(issuer: &str) -> Vec<String> {
    let path = issuer[origin_of(issuer).len()..].trim_end_matches('/');
    let mut paths = Vec::new();
    for name in WELL_KNOWN {
        paths.push(format!("/.well-known/{name}"));
        if !path.is_empty() {
            paths.push(format!("/.well-known/{name}{path}"));
            paths.push(format!("{path}/.well-known/{name}"));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(endpoints: Endpoints) -> Value {
        let scopes = ScopeSet::parse("write read").unwrap();
        let metadata = Metadata {
            issuer: "https://api.example.com/shop/",
            prefix: "/oauth",
            scopes: &scopes,
            endpoints,
        };
        serde_json::from_str(&metadata.to_json()).unwrap()
    }

    #[test]
    fn contract_metadata_names_every_endpoint() {
        assert_eq!(
            document(Endpoints { authorize: true, device: true }),
            json!({
                "issuer": "https://api.example.com/shop/",
                "authorization_endpoint": "https://api.example.com/oauth/authorize",
                "token_endpoint": "https://api.example.com/oauth/token",
                "jwks_uri": "https://api.example.com/.well-known/jwks.json",
                "scopes_supported": ["read", "write"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": [
                    "authorization_code",
                    "client_credentials",
                    "refresh_token",
                    "urn:ietf:params:oauth:grant-type:device_code",
                ],
                "token_endpoint_auth_methods_supported":
                    ["client_secret_basic", "client_secret_post", "none"],
                "revocation_endpoint": "https://api.example.com/oauth/revoke",
                "revocation_endpoint_auth_methods_supported":
                    ["client_secret_basic", "client_secret_post", "none"],
                "introspection_endpoint": "https://api.example.com/oauth/introspect",
                "introspection_endpoint_auth_methods_supported":
                    ["client_secret_basic", "client_secret_post"],
                "device_authorization_endpoint": "https://api.example.com/oauth/device/code",
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
            })
        );
    }

    #[test]
    fn metadata_names_no_endpoint_that_does_not_exist() {
        let document = document(Endpoints { authorize: false, device: false });
        assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(document["response_types_supported"], json!([]));
        for absent in [
            "authorization_endpoint",
            "device_authorization_endpoint",
            "code_challenge_methods_supported",
        ] {
            assert_eq!(document.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn contract_metadata_is_at_the_root_and_at_both_places_of_the_issuers_path() {
        assert_eq!(
            paths("https://api.example.com"),
            ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
        );
        assert_eq!(paths("https://api.example.com/"), paths("https://api.example.com"));
        assert_eq!(
            paths("https://api.example.com/shop")[..3],
            [
                "/.well-known/oauth-authorization-server",
                "/.well-known/oauth-authorization-server/shop",
                "/shop/.well-known/oauth-authorization-server"
            ]
        );
        assert_eq!(origin_of("http://127.0.0.1:8080/x/y"), "http://127.0.0.1:8080");
    }
}
