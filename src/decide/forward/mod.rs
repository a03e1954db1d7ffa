//! The fields of a forwarded message: of the upstream's request and of the client's response.
//!
//! Owns the one list of what passes, what is removed and what is set, from which every protocol
//! writes its messages. Never decides whether a request is forwarded: that takes a
//! [`crate::decide::gate::Permit`].

mod request;
mod response;

pub use request::RequestFields;
pub use response::ResponseFields;
