-- The SafeStore and the signing keys.

-- What recognizes each pepper that was ever used; the peppers themselves are never here.
CREATE TABLE peppers (
    id TEXT NOT NULL PRIMARY KEY,
    check_value TEXT NOT NULL,
    purpose TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER
) STRICT;

-- The share of each owner, wrapped under a key that is derived from a pepper.
CREATE TABLE shares (
    owner TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    pepper TEXT NOT NULL,
    wrapped TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- Secrets of the issuer itself, sealed for the owner system.
CREATE TABLE system_secrets (
    name TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- The keys that sign tokens. A stage begins or ends at its instant.
CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    stage TEXT NOT NULL,
    at INTEGER NOT NULL,
    sealed TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE INDEX signing_keys_purpose ON signing_keys (purpose);
