//! PEM (RFC 7468) with public keys in it.
//!
//! Owns the blocks of a file and which labels are keys. Text around the blocks is commentary, as
//! the RFC has it. Never reads a private key: the mistake says how to get the public half.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decide::jwt::der::{self, DerError};
use crate::decide::jwt::key::PublicKey;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One block: the line it begins on, from 1, and its key or what is wrong.
pub(super) struct Block {
    pub(super) line: u64,
    pub(super) key: Result<PublicKey, String>,
}

/// Returns whether a text contains PEM.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.contains(BEGIN)
}

/// All blocks in order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = (1u64..).zip(text.lines().map(str::trim));
    while let Some((line, begin)) = lines.next() {
        let Some(label) = begin.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES))
        else {
            continue;
        };
        let end = format!("{END}{label}{DASHES}");
        let mut encoded = String::new();
        let closed = lines.by_ref().any(|(_, body)| {
            let found = body == end;
            if !found {
                encoded.push_str(body);
            }
            found
        });
        let key = if closed { key(label, &encoded) } else { Err(format!("has no line {end}")) };
        blocks.push(Block { line, key });
    }
    blocks
}

fn key(label: &str, encoded: &str) -> Result<PublicKey, String> {
    if label.contains("PRIVATE KEY") {
        return Err("is a private key: give the public half only \
             (openssl pkey -in private.pem -pubout -out public.pem)"
            .to_owned());
    }
    let read = match label {
        "PUBLIC KEY" => der::spki,
        "RSA PUBLIC KEY" => der::pkcs1,
        "CERTIFICATE" => der::certificate,
        _ => {
            return Err(format!(
                "is a block of {label:.40?}: PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE are accepted"
            ));
        }
    };
    let bytes = STANDARD.decode(encoded).map_err(|_| "is not base64 between its BEGIN and END")?;
    read(&bytes).map_err(|error| match error {
        DerError::Malformed => format!("is not the DER of a {label}"),
        DerError::OtherKind => "is a key no accepted algorithm uses: RSA (rsaEncryption), P-256, \
             P-384, P-521 and Ed25519 are accepted"
            .to_owned(),
    })
}
