//! What an upstream answers, read strictly (RFC 9112): an answer with two readings is a fault.
//!
//! Owns the head of a response ([`head`]) and where its body ends ([`body`]). Never repairs
//! anything: what follows a response on its connection must never be taken for another one's.

pub mod body;
pub mod head;

pub use body::ResponseBody;
pub use head::{Framing, ResponseError, ResponseHead};
