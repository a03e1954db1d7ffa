//! Every key of the configuration, with its default and its meaning.
//!
//! Owns the tables that reading, the JSON Schema and the test of `config/reference.yaml` share.
//! A key that the contract promises and this version does not have yet is listed as unavailable,
//! so that it is refused by name and never accepted and ignored.

mod issuers;

use crate::config::language::section::{Key, Section, Shape};

pub use issuers::{INTROSPECTION, ISSUER, ISSUER_KEYS, ON_FAILURE, TOKEN_PLACE};

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_OR_TEXTS: Shape = Shape::OneOrMany(&Shape::Text);
const TEXT_TABLE: Shape = Shape::Table(&Shape::Text);

/// The whole file.
pub static TOP: Section = Section {
    name: "the configuration",
    keys: &[
        Key::required(
            "listeners",
            Shape::List(&Shape::Section(&LISTENER)),
            "where requests are taken; a change needs a restart",
        ),
        Key::new(
            "admin",
            Shape::Section(&ADMIN),
            "the admin listener with metrics, probes, status and reload; absent means off; a change needs a restart",
        ),
        Key::new(
            "metrics",
            Shape::Section(&METRICS),
            "a second listener with /metrics, /livez and /readyz only, open to whoever reaches it; a change needs a restart",
        ),
        Key::new(
            "trusted_proxies",
            TEXTS,
            "networks in CIDR form, or `unix`, whose X-Forwarded-For is believed",
        )
        .or("[]"),
        Key::required(
            "upstreams",
            Shape::Table(&Shape::Section(&UPSTREAM)),
            "the services that are protected, by a name of your choice",
        ),
        Key::new(
            "issuers",
            Shape::List(&Shape::Section(&ISSUER)),
            "whose JWTs are trusted; keys are bound to their issuer",
        )
        .or("[]"),
        Key::new("api_keys", Shape::Section(&API_KEYS), "API keys; absent means none are accepted"),
        Key::new(
            "revocations",
            Shape::Section(&REVOCATIONS),
            "files that say which tokens and keys are no longer good, besides `gatepost revoke`",
        ),
        Key::new(
            "failed_credentials",
            Shape::Section(&FAILED_CREDENTIALS),
            "how many bad credentials an address may send before what would need new work is refused",
        ),
        Key::new(
            "limits",
            Shape::Table(&Shape::Section(&LIMIT)),
            "rate limits, by the name that routes and metrics use",
        )
        .or("{}"),
        Key::new(
            "identity",
            Shape::Section(&IDENTITY),
            "the headers that carry the verified identity to the upstream",
        ),
        Key::new(
            "pass_headers",
            TEXTS,
            "headers of the client that reach the upstream although they look like identity headers",
        )
        .or("[]"),
        Key::new("realm", Shape::Text, "the realm of every challenge").or("gatepost"),
        Key::new(
            "defaults",
            Shape::Section(&DEFAULTS),
            "what holds for every route that does not say otherwise: any route key but access",
        ),
        Key::required(
            "routes",
            Shape::List(&Shape::Section(&ROUTE)),
            "which requests are let through, and for whom; what no route fits gets 404",
        ),
        Key::unavailable("issuer", "the built-in OAuth issuer"),
        Key::new(
            "threads",
            Shape::Number(1, 1024),
            "worker threads; absent means one per core; a change needs a restart",
        ),
        Key::new(
            "shutdown_timeout",
            Shape::Duration,
            "how long active requests may finish after SIGTERM; a change needs a restart",
        )
        .or("30s"),
        Key::new(
            "lame_duck",
            Shape::Duration,
            "how long new connections are still taken after SIGTERM, while readyz says no; a change needs a restart",
        )
        .or("0s"),
        Key::new(
            "connections",
            Shape::Section(&CONNECTIONS),
            "how many client connections may be open; a change needs a restart",
        ),
        Key::new(
            "access_log",
            Shape::Either(&[Shape::Word(&["off", "stdout"]), Shape::Section(&ACCESS_LOG)]),
            "one line per request: where to; a change needs a restart",
        )
        .or("stdout"),
        Key::new(
            "limit_entries",
            Shape::Number(1024, 100_000_000),
            "how many callers the limits remember; a change needs a restart",
        )
        .or("262144"),
        Key::new(
            "upstream_pool",
            Shape::Number(1, 65_535),
            "how many idle upstream connections each thread keeps; a change needs a restart",
        )
        .or("128"),
        Key::new(
            "token_cache",
            Shape::Either(&[Shape::Word(&["off"]), Shape::Size]),
            "how much memory verified tokens may take; a change needs a restart",
        )
        .or("128MiB"),
        Key::new(
            "state_dir",
            Shape::Text,
            "the folder for what must survive a restart: fetched key sets, revocations; a change needs a restart",
        ),
        Key::new(
            "insecure_file_modes",
            Shape::Truth,
            "take secrets, peppers and private keys from files that others can read",
        )
        .or("false"),
        Key::new(
            "insecure_host_selected",
            Shape::Truth,
            "let a host-bound route demand less than a hostless one over the same path and upstream",
        )
        .or("false"),
    ],
};

/// `listeners[]`.
pub static LISTENER: Section = Section {
    name: "a listener",
    keys: &[
        Key::required("address", Shape::Text, "an IP address and port, or unix:PATH"),
        Key::new(
            "keepalive",
            Shape::Duration,
            "how long a client connection may be idle; longer than the balancer's in front",
        )
        .or("75s"),
        Key::unavailable("tls", "TLS on this listener"),
        Key::unavailable("proxy_protocol", "the PROXY protocol"),
    ],
};

/// `admin`.
pub static ADMIN: Section = Section {
    name: "admin",
    keys: &[
        Key::required("address", Shape::Text, "an IP address and port, or unix:PATH"),
        Key::new(
            "token_file",
            Shape::Text,
            "a file with the bearer token that is demanded; needed beyond loopback and Unix sockets",
        ),
    ],
};

/// `metrics`.
pub static METRICS: Section = Section {
    name: "metrics",
    keys: &[Key::required("address", Shape::Text, "an IP address and port, or unix:PATH")],
};

/// `connections`.
pub static CONNECTIONS: Section = Section {
    name: "connections",
    keys: &[
        Key::new("total", Shape::Number(1, 1_000_000), "in all; more are closed at once")
            .or("10000"),
        Key::new(
            "per_address",
            Shape::Number(1, 1_000_000),
            "from one address, IPv6 by /64; trusted proxies and Unix peers are exempt",
        )
        .or("1000"),
    ],
};

/// `upstreams.NAME`.
pub static UPSTREAM: Section = Section {
    name: "an upstream",
    keys: &[
        Key::required("url", Shape::Text, "http://HOST:PORT or unix:PATH, without a path or query"),
        Key::new("timeouts", Shape::Section(&TIMEOUTS), "how long each step may take"),
    ],
};

/// `timeouts` of an upstream or a route.
pub static TIMEOUTS: Section = Section {
    name: "timeouts",
    keys: &[
        Key::new("connect", Shape::Duration, "to connect").or("1s"),
        Key::new("response", Shape::Duration, "from the request's end to the response's headers")
            .or("30s"),
        Key::new("idle", Shape::Duration, "between pieces of a body").or("60s"),
        Key::new("keepalive", Shape::Duration, "how long an unused connection is kept").or("4s"),
        Key::new("body", Shape::Duration, "between two reads of the request body from the client")
            .or("60s"),
        Key::new("write", Shape::Duration, "between two writes of the response to the client")
            .or("60s"),
    ],
};

/// `api_keys`.
pub static API_KEYS: Section = Section {
    name: "api_keys",
    keys: &[
        Key::new("header", Shape::Text, "short for from: [{ header: NAME }]").or("X-API-Key"),
        Key::new(
            "from",
            Shape::List(&Shape::Section(&KEY_PLACE)),
            "the headers a key may stand in; instead of header",
        ),
        Key::required(
            "files",
            TEXT_OR_TEXTS,
            "the key files: YAML, or JSON Lines if called *.jsonl",
        ),
        Key::new("peppers", TEXT_TABLE, "files with the keys of hmac-sha256 digests: NAME: FILE")
            .or("{}"),
        Key::new("claims", TEXT_TABLE, "claims of a key that become headers: CLAIM: HEADER")
            .or("{}"),
    ],
};

/// `api_keys.from[]`.
pub static KEY_PLACE: Section = Section {
    name: "a place for keys",
    keys: &[
        Key::required("header", Shape::Text, "the header"),
        Key::new("scheme", Shape::Text, "the authentication scheme in it; absent means none"),
        Key::new(
            "key_in",
            Shape::Word(&["user", "password"]),
            "the half of Basic credentials that is the key; the other one is empty",
        )
        .or("user"),
    ],
};

/// `revocations`.
pub static REVOCATIONS: Section = Section {
    name: "revocations",
    keys: &[Key::required("files", TEXT_OR_TEXTS, "the revocation files: YAML, or JSON lines")],
};

/// `limits.NAME`.
pub static LIMIT: Section = Section {
    name: "a limit",
    keys: &[
        Key::required("rate", Shape::Text, "N/s, N/m, N/h or N/d"),
        Key::new(
            "burst",
            Shape::Number(1, u32::MAX as u64),
            "how many may come at once; default: the number in rate",
        ),
        Key::new(
            "by",
            Shape::Text,
            "whom it counts for: principal, credential, client, address, route or claim:NAME",
        )
        .or("principal"),
        Key::new(
            "headers",
            Shape::Word(&["always", "refused", "off"]),
            "when RateLimit fields are sent",
        )
        .or("always"),
    ],
};

/// `failed_credentials`.
pub static FAILED_CREDENTIALS: Section = Section {
    name: "failed_credentials",
    keys: &[
        Key::new("rate", Shape::Text, "N/s, N/m, N/h or N/d").or("5/s"),
        Key::new("burst", Shape::Number(1, u32::MAX as u64), "how many may come at once").or("100"),
    ],
};

/// `cors` of a route.
pub static CORS: Section = Section {
    name: "cors",
    keys: &[
        Key::required(
            "origins",
            TEXT_OR_TEXTS,
            "scheme://host[:port] each, or `*` without credentials",
        ),
        Key::new("methods", TEXTS, "what a preflight may ask for; default: the route's methods"),
        Key::new("headers", TEXTS, "request fields a page may send besides the safelisted ones")
            .or("[Authorization, Content-Type]"),
        Key::new("credentials", Shape::Truth, "let pages send cookies and TLS certificates")
            .or("false"),
        Key::new("max_age", Shape::Duration, "how long a browser may keep a preflight's answer")
            .or("10m"),
    ],
};

/// `identity`.
pub static IDENTITY: Section = Section {
    name: "identity",
    keys: &[
        Key::new("subject", Shape::Text, "the header for the subject").or("X-Auth-Subject"),
        Key::new("issuer", Shape::Text, "the header for the issuer").or("X-Auth-Issuer"),
        Key::new("client_id", Shape::Text, "the header for the OAuth client")
            .or("X-Auth-Client-Id"),
        Key::new("scopes", Shape::Text, "the header for the granted scopes").or("X-Auth-Scopes"),
        Key::new("credential", Shape::Text, "the header for the kind of credential")
            .or("X-Auth-Credential"),
        Key::new("credential_id", Shape::Text, "the header for the token's or key's id")
            .or("X-Auth-Credential-Id"),
    ],
};

/// `access_log` as a mapping.
pub static ACCESS_LOG: Section = Section {
    name: "access_log",
    keys: &[
        Key::new("file", Shape::Text, "a file, appended to; absent means standard output"),
        Key::new("format", Shape::Word(&["text", "json"]), "default: what --log-format says"),
    ],
};

macro_rules! route_keys {
    ($($first:expr),*) => {
        &[
            $($first,)*
            Key::new("name", Shape::Text, "the metric label; default: methods and path"),
            Key::new("hosts", TEXT_OR_TEXTS, "exact hosts, or *.DOMAIN; empty means any").or("[]"),
            Key::new("methods", TEXT_OR_TEXTS, "GET covers HEAD; absent means any method"),
            Key::new("limits", TEXT_OR_TEXTS, "names of limits that apply, in order").or("[]"),
            Key::new("upstream", Shape::Text, "the name of the upstream, here or in defaults; default: the only upstream, if there is one"),
            Key::new(
                "forward_credential",
                Shape::Truth,
                "leave the credential on the request to the upstream",
            )
            .or("false"),
            Key::new(
                "authorization",
                Shape::Word(&["read", "pass"]),
                "`pass` leaves Authorization to the application: not read, and forwarded as it is",
            )
            .or("read"),
            Key::new(
                "cors",
                Shape::Section(&CORS),
                "which pages of other origins may read the answers; preflights are answered here",
            ),
            Key::new(
                "preflight",
                Shape::Word(&["answer", "pass"]),
                "`pass` forwards CORS preflights without a credential, for the upstream to answer",
            )
            .or("answer"),
            Key::new(
                "body_limit",
                Shape::Either(&[Shape::Word(&["off"]), Shape::Size]),
                "the largest request body in bytes, with k, M, G or KiB, MiB, GiB; off is no limit",
            )
            .or("1GiB"),
            Key::new(
                "min_body_rate",
                Shape::Either(&[Shape::Word(&["off"]), Shape::Size]),
                "bytes per second that a request body must reach on average after 10 s",
            )
            .or("off"),
            Key::new("timeouts", Shape::Section(&TIMEOUTS), "instead of the upstream's, key by key"),
            Key::new(
                "upgrade",
                Shape::Word(&["off", "websocket"]),
                "the protocol a connection may change to",
            )
            .or("off"),
            Key::new(
                "insecure_path",
                Shape::OneOrMany(&Shape::Word(&["encoded_slash", "double_slash", "semicolon"])),
                "path spellings let through although upstreams read them differently",
            )
            .or("[]"),
            Key::new(
                "insecure_method_override",
                Shape::Truth,
                "forward X-HTTP-Method-Override and its kin",
            )
            .or("false"),
            Key::new(
                "insecure_observe",
                Shape::Truth,
                "decide and count, but forward all the same, credential intact and no identity set",
            )
            .or("false"),
        ]
    };
}

/// `routes[]`.
pub static ROUTE: Section = Section {
    name: "a route",
    keys: route_keys![
        Key::required("path", Shape::Text, "segments, `*` for one, `/**` at the end for all below"),
        Key::required(
            "access",
            Shape::Either(&[Shape::Word(&["anonymous", "authenticated"]), Shape::Section(&ACCESS)]),
            "`anonymous`, `authenticated`, or what a credential must have"
        )
    ],
};

/// `defaults`.
pub static DEFAULTS: Section = Section {
    name: "defaults",
    keys: route_keys![Key::new(
        "path",
        Shape::Text,
        "segments, `*` for one, `/**` at the end for all below"
    )],
};

/// `access` as a mapping.
pub static ACCESS: Section = Section {
    name: "access",
    keys: &[
        Key::new("scopes", TEXT_OR_TEXTS, "all of these must be granted"),
        Key::new("any_scope", TEXT_OR_TEXTS, "at least one of these must be granted"),
        Key::new(
            "credentials",
            Shape::OneOrMany(&Shape::Word(&["jwt", "api_key"])),
            "the accepted kinds",
        )
        .or("[jwt, api_key]"),
        Key::new("issuers", TEXT_OR_TEXTS, "accepted issuers by name or `iss`; absent means all"),
        Key::new(
            "claims",
            Shape::Table(&TEXT_OR_TEXTS),
            "each claim must have one of its values; an absent claim fails",
        )
        .or("{}"),
        Key::new(
            "optional",
            Shape::Truth,
            "no credential passes as anonymous, a bad one is refused; only with credentials and issuers",
        )
        .or("false"),
    ],
};
