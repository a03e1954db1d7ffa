//! The keys of `issuers`: whose tokens are trusted, by which keys, and who is asked.

use crate::config::keys::{TEXT_OR_TEXTS, TEXT_TABLE, TEXTS};
use crate::config::language::section::{Key, Section, Shape};

/// `issuers[]`.
pub static ISSUER: Section = Section {
    name: "an issuer",
    keys: &[
        Key::required("issuer", Shape::Text, "the `iss` of its tokens, byte for byte"),
        Key::new("name", Shape::Text, "for metrics, commands and access; default: the host"),
        Key::required("audiences", TEXT_OR_TEXTS, "a token must name at least one of these"),
        Key::new(
            "algorithms",
            Shape::OneOrMany(&Shape::Word(&[
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
                "EdDSA", "Ed25519", "HS256", "HS384", "HS512",
            ])),
            "the algorithms its keys may be bound to, each key to exactly one; required with keys",
        ),
        Key::new("keys", Shape::Section(&ISSUER_KEYS), "where its verification keys are"),
        Key::new(
            "introspection",
            Shape::Section(&INTROSPECTION),
            "where it is asked about opaque tokens (RFC 7662); an issuer has keys, introspection or both",
        ),
        Key::new(
            "types",
            TEXT_OR_TEXTS,
            "accepted `typ` values, without regard to case and `application/`; none is an absent one",
        )
        .or("[at+jwt, JWT, none]"),
        Key::new("audience_claim", Shape::Text, "the claim that holds the audience").or("aud"),
        Key::new("scope_claims", TEXT_OR_TEXTS, "the claims that hold scopes, all joined")
            .or("[scope, scp]"),
        Key::new("scopes", TEXTS, "the most it may grant; absent means no cap"),
        Key::new("leeway", Shape::Duration, "tolerance for clocks that differ, at most 5m")
            .or("30s"),
        Key::new(
            "max_lifetime",
            Shape::Duration,
            "the longest accepted exp - iat; with it, `iat` is required; absent means no limit",
        ),
        Key::new("claims", TEXT_TABLE, "claims that become headers: CLAIM: HEADER").or("{}"),
        Key::new("subject_claim", Shape::Text, "the claim that holds the subject").or("sub"),
        Key::new(
            "client_claims",
            TEXT_OR_TEXTS,
            "the claims that may hold the client, the first one that is there counts",
        )
        .or("[client_id, azp]"),
        Key::new("token_bytes", Shape::Size, "the longest accepted token, 1KiB to 64KiB")
            .or("8KiB"),
        Key::new(
            "id_tokens",
            Shape::Word(&["refuse", "insecure_accept"]),
            "what happens to tokens with nonce, at_hash or c_hash",
        )
        .or("refuse"),
        Key::new(
            "from",
            Shape::List(&Shape::Section(&TOKEN_PLACE)),
            "the places that its tokens are read from",
        )
        .or("[{ header: Authorization, scheme: Bearer }]"),
    ],
};

/// `issuers[].from[]`.
pub static TOKEN_PLACE: Section = Section {
    name: "a place of tokens",
    keys: &[
        Key::new("header", Shape::Text, "a header; removed like every consumed credential"),
        Key::new("scheme", Shape::Text, "the authentication scheme in that header"),
        Key::new(
            "cookie",
            Shape::Text,
            "a cookie; Origin must be that of the host or listed in cors with credentials: true",
        ),
        Key::new(
            "subprotocol",
            Shape::Text,
            "the prefix of an element of Sec-WebSocket-Protocol, on routes with upgrade: websocket",
        ),
    ],
};

/// `issuers[].keys`.
pub static ISSUER_KEYS: Section = Section {
    name: "keys",
    keys: &[
        Key::new("file", Shape::Text, "a JWK set, one JWK, or PEM"),
        Key::new("secret_file", Shape::Text, "an HMAC secret: the file's bytes less one newline"),
        Key::new("url", Shape::Text, "a JWK set that is fetched: https, or http on loopback"),
        Key::new(
            "discovery",
            Shape::Truth,
            "fetch the JWK set that the issuer's metadata names (OpenID Connect, RFC 8414)",
        )
        .or("false"),
        Key::new(
            "ca_file",
            Shape::Text,
            "the certificates, in PEM, that a key server's must come from; absent means the system's",
        ),
        Key::new(
            "bearer_file",
            Shape::Text,
            "the bearer token that the key server of `url` demands; read again for each refresh",
        ),
        Key::new(
            "kubernetes",
            Shape::Truth,
            "the key set of the cluster, with the certificates and the token of the service account",
        )
        .or("false"),
        Key::new("timeout", Shape::Duration, "one refresh as a whole, 100ms to 30s").or("5s"),
        Key::new(
            "refresh",
            Shape::Duration,
            "the longest time between two refreshes, 1m to 24h; Cache-Control may shorten it",
        )
        .or("1h"),
        Key::new(
            "stale_for",
            Shape::Duration,
            "how old keys may be that cannot be refreshed; afterwards the issuer's tokens get 503",
        )
        .or("24h"),
        Key::new("insecure_http", Shape::Truth, "fetch over plain HTTP from beyond loopback")
            .or("false"),
    ],
};

/// `issuers[].introspection`.
pub static INTROSPECTION: Section = Section {
    name: "introspection",
    keys: &[
        Key::required("url", Shape::Text, "the endpoint: https, or http on loopback"),
        Key::required("client_id", Shape::Text, "who asks"),
        Key::required("client_secret_file", Shape::Text, "the secret of who asks"),
        Key::new("auth", Shape::Word(&["basic", "post"]), "how the secret is presented")
            .or("basic"),
        Key::new("timeout", Shape::Duration, "one question, 50ms to 30s").or("2s"),
        Key::new(
            "cache",
            Shape::Duration,
            "how long an answer is believed, at most 1h; `exp` ends it earlier",
        )
        .or("30s"),
        Key::new(
            "on_failure",
            Shape::Either(&[Shape::Word(&["deny"]), Shape::Section(&ON_FAILURE)]),
            "what counts while the endpoint does not answer",
        )
        .or("deny"),
        Key::new(
            "ca_file",
            Shape::Text,
            "the certificates, in PEM, that the endpoint's must come from; absent means the system's",
        ),
        Key::new("insecure_http", Shape::Truth, "ask over plain HTTP beyond loopback").or("false"),
        Key::new(
            "subject_from",
            Shape::Word(&["sub", "client_id"]),
            "who an answer without `sub` is about: nobody, or the client itself",
        )
        .or("sub"),
        Key::new("insecure_any_audience", Shape::Truth, "believe answers without `aud`")
            .or("false"),
    ],
};

/// `issuers[].introspection.on_failure`.
pub static ON_FAILURE: Section = Section {
    name: "on_failure",
    keys: &[Key::required(
        "stale_for",
        Shape::Duration,
        "how much longer the last answer counts, at most 1h",
    )],
};
