//! Routes and the access they require.
//!
//! Owns patterns, the route table and access. Never looks at a credential itself, only at the
//! principal that verification established.

pub mod access;
pub mod certificate;
mod conflict;
pub mod endpoint;
mod host;
mod index;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod oracle;
mod overlap;
pub mod pattern;
pub mod route;
pub mod table;
pub mod upstream;

pub use access::{Access, AccessDenied, Requirement};
pub use certificate::{CertificateDenied, CertificateRequirement, ClientCertificate};
pub use endpoint::Endpoint;
#[cfg(feature = "server")]
pub(crate) use host::split_port;
pub use host::{HostPattern, normalize_host};
pub(crate) use overlap::takes;
pub use pattern::{PathPattern, PatternError};
pub use route::{EndStreams, InsecurePath, Methods, Preflight, Route, RouteTarget, Upgrade};
pub use table::{RouteMiss, RouteMistake, RouteTable};
