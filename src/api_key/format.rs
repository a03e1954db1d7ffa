//! How our own keys read: `gp_key_` + 43 base62 characters + 6 characters of checksum.
