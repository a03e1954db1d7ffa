//! The record of one finished request.
//!
//! Owns [`Record`], the one account that feeds the access log, the metrics and the ring behind
//! `why`, so that they cannot disagree. Holds no credential and no query.

use std::time::Duration;

use crate::base::clock::UnixMillis;
use crate::decide::gate::Evidence;
use crate::decide::rejection::{Fault, Reason, Rejection};
use crate::issue::credential::SESSION_CHARS;
use crate::issue::error::ErrorCode;

/// The reason why an admitted transfer ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cut {
    /// The request body paused for longer than `timeouts.body` or stayed below `min_body_rate`.
    BodyTooSlow,
    /// The client took nothing of the response for longer than `timeouts.write`.
    ReaderStalled,
    /// The client closed its connection.
    ClientGone,
    /// The upstream closed or stalled after the response head.
    UpstreamGone,
    /// The credential of a stream expired (`end_streams`).
    CredentialExpired,
    /// The credential of a stream is not accepted any longer (`end_streams`).
    CredentialRevoked,
    /// The process ended: `shutdown_timeout` had passed.
    Shutdown,
}

impl Cut {
    /// Every cut, in the order of its declaration.
    pub(crate) const ALL: [Self; 7] = [
        Self::BodyTooSlow,
        Self::ReaderStalled,
        Self::ClientGone,
        Self::UpstreamGone,
        Self::CredentialExpired,
        Self::CredentialRevoked,
        Self::Shutdown,
    ];

    /// The word in log and metric.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "body_too_slow",
            Self::ReaderStalled => "reader_stalled",
            Self::ClientGone => "client_gone",
            Self::CredentialExpired => "credential_expired",
            Self::CredentialRevoked => "credential_revoked",
            Self::Shutdown => "shutdown",
            Self::UpstreamGone => "upstream_gone",
        }
    }

    /// A sentence for `why`.
    #[must_use]
    pub(crate) const fn explanation(self) -> &'static str {
        match self {
            Self::BodyTooSlow => {
                "the request body was slower than timeouts.body or min_body_rate allows"
            }
            Self::ReaderStalled => "the client read nothing for longer than timeouts.write",
            Self::ClientGone => "the client closed the connection before the answer was complete",
            Self::UpstreamGone => "the upstream closed or stalled after it had begun its answer",
            Self::CredentialExpired => {
                "the credential of the stream expired, and end_streams.after_expiry passed"
            }
            Self::CredentialRevoked => {
                "the credential of the stream was revoked, disabled or removed, or lost its access"
            }
            Self::Shutdown => "shutdown_timeout passed while the process was ending",
        }
    }
}

/// The end of a request, as the metric label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    /// Forwarded, and the upstream answered.
    Admitted,
    /// Refused by the gate, for the reason.
    Refused(Reason),
    /// Refused by an endpoint of the issuer, with an OAuth error.
    IssuerRefused(ErrorCode),
    /// Forwarded under `insecure_observe`, and would have been refused for the reason.
    WouldRefuse(Reason),
    /// Admitted, but the transfer ended before it was complete.
    Cut(Cut),
    /// Admitted, but the upstream or the proxy failed.
    Fault(Fault),
}

impl Outcome {
    /// Every word [`Self::as_str`] can say, in the order of [`Self::index`].
    pub(crate) const WORDS: [&'static str; 5] =
        ["admitted", "refused", "would_refuse", "cut", "fault"];

    /// Position of the word in [`Self::WORDS`].
    #[must_use]
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Admitted => 0,
            Self::Refused(_) | Self::IssuerRefused(_) => 1,
            Self::WouldRefuse(_) => 2,
            Self::Cut(_) => 3,
            Self::Fault(_) => 4,
        }
    }

    /// The word in log and metric.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// The word for why, if it was not admitted.
    #[must_use]
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Admitted => None,
            Self::Refused(reason) | Self::WouldRefuse(reason) => Some(reason.as_str()),
            Self::IssuerRefused(code) => Some(code.reason()),
            Self::Cut(cut) => Some(cut.as_str()),
            Self::Fault(fault) => Some(fault.as_str()),
        }
    }
}

/// One finished request. Borrowed: it is written out while the request is still there.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// The time of its end.
    pub time: UnixMillis,
    /// The request id.
    pub request_id: &'a str,
    /// The id a trusted peer sent, which is forwarded instead of gatepost's.
    pub peer_request_id: Option<&'a str>,
    /// The method as sent; escaped and shortened where it is printed.
    pub method: &'a str,
    /// The path as sent, never the query.
    pub path: &'a str,
    /// The host as sent.
    pub host: &'a str,
    /// Its outcome.
    pub outcome: Outcome,
    /// The refusal behind [`Outcome::Refused`], for the steps that `why` shows.
    pub rejection: Option<&'a Rejection>,
    /// The status the caller saw; 0 when the caller was gone before one was sent.
    pub status: u16,
    /// Route, principal, address, limits.
    pub evidence: &'a Evidence,
    /// From the first byte of the head to the last of the response.
    pub total: Duration,
    /// Spent in the gate.
    pub deciding: Duration,
    /// From choosing the upstream to its response's headers, when it came to that.
    pub upstream: Option<Duration>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// The snapshot it was decided with.
    pub generation: u64,
}

impl Record<'_> {
    /// The path up to a query, should one have been left on it: queries hold secrets, and so
    /// does the last segment of a reset link.
    #[must_use]
    pub(crate) fn path_without_query(&self) -> &str {
        without_reset(self.path.split(['?', '#']).next().unwrap_or(""))
    }
}

/// A path without the secret of a reset link, on whatever host and below whatever folder it was sent.
fn without_reset(path: &str) -> &str {
    let folder = "/reset/";
    let at = path.rfind(folder).map(|at| at + folder.len());
    at.filter(|at| path.len() - at >= SESSION_CHARS).map_or(path, |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r902_the_last_segment_of_a_reset_link_is_not_written() {
        let secret = "a".repeat(SESSION_CHARS);
        let shown = |path: &str| without_reset(path).to_owned();
        for end in ["", "/", "x", "%2f"] {
            let path = format!("/auth/account/reset/{secret}{end}");
            assert_eq!(shown(&path), "/auth/account/reset/", "{path}");
        }
        for other in ["/reset/short", "/reset", "/auth/account/tokens", "/resets/"] {
            assert_eq!(shown(other), other);
        }
    }
}
