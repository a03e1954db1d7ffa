//! The endpoints of the issuer, as targets of routes.
//!
//! Owns their labels, their methods and which have CORS. Never answers a request.

use http::Method;

use crate::decide::policy::Methods;

/// One endpoint of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `P/authorize` (RFC 6749 section 3.1).
    Authorize,
    /// `P/token` (RFC 6749 section 3.2).
    Token,
    /// `P/revoke` (RFC 7009).
    Revoke,
    /// `P/introspect` (RFC 7662).
    Introspect,
    /// `P/device/code` (RFC 8628 section 3.1).
    DeviceCode,
    /// `P/device`: the page for the user code (RFC 8628 section 3.3).
    Device,
    /// The metadata (RFC 8414).
    Metadata,
    /// The public keys (RFC 7517).
    Jwks,
    /// The pages of people, and everything below them.
    Account,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 9] = [
        Self::Authorize,
        Self::Token,
        Self::Revoke,
        Self::Introspect,
        Self::DeviceCode,
        Self::Device,
        Self::Metadata,
        Self::Jwks,
        Self::Account,
    ];

    /// The route label in metrics, access log and `why`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Authorize => "issuer.authorize",
            Self::Token => "issuer.token",
            Self::Revoke => "issuer.revoke",
            Self::Introspect => "issuer.introspect",
            Self::DeviceCode => "issuer.device_code",
            Self::Device => "issuer.device",
            Self::Metadata => "issuer.metadata",
            Self::Jwks => "issuer.jwks",
            Self::Account => "issuer.account",
        }
    }

    /// The accepted methods; every other one is 405. `OPTIONS` is answered as well.
    #[must_use]
    pub fn methods(self) -> Methods {
        Methods::Only(match self {
            Self::Token | Self::Revoke | Self::Introspect | Self::DeviceCode => vec![Method::POST],
            Self::Metadata | Self::Jwks => vec![Method::GET],
            Self::Authorize | Self::Device | Self::Account => vec![Method::GET, Method::POST],
        })
    }

    /// Returns whether it is for programs, with forms in and JSON out.
    #[must_use]
    pub const fn is_for_programs(self) -> bool {
        matches!(self, Self::Token | Self::Revoke | Self::Introspect | Self::DeviceCode)
    }

    /// Returns whether scripts of registered origins may read its answers.
    #[must_use]
    pub const fn has_cors(self) -> bool {
        match self {
            Self::Token | Self::Revoke | Self::DeviceCode | Self::Metadata | Self::Jwks => true,
            Self::Authorize | Self::Introspect | Self::Device | Self::Account => false,
        }
    }
}
