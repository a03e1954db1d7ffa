-- The store of the issuer. Later migrations only add: the previous release runs on the result.

CREATE TABLE store (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. Each transaction that writes takes its number from here, last.
CREATE TABLE counter (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
INSERT INTO counter (id, number, at) VALUES (1, 0, 0);

CREATE TABLE people (
    id TEXT NOT NULL PRIMARY KEY,
    login TEXT,
    name TEXT,
    email TEXT,
    roles TEXT NOT NULL,
    created INTEGER NOT NULL,
    disabled INTEGER,
    ended INTEGER
) STRICT;
CREATE UNIQUE INDEX people_login ON people (login) WHERE ended IS NULL;

CREATE TABLE applications (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT REFERENCES people (id),
    name TEXT NOT NULL,
    site TEXT,
    confidential INTEGER NOT NULL,
    profile TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    grants TEXT NOT NULL,
    scopes TEXT,
    first_party INTEGER NOT NULL,
    introspect INTEGER NOT NULL,
    access_lifetime INTEGER,
    plugin TEXT,
    approved INTEGER,
    generation TEXT NOT NULL,
    created INTEGER NOT NULL,
    disabled INTEGER,
    ended INTEGER
) STRICT;
CREATE INDEX applications_owner ON applications (owner);
CREATE UNIQUE INDEX applications_plugin ON applications (plugin) WHERE ended IS NULL;

CREATE TABLE secrets (
    id TEXT NOT NULL PRIMARY KEY,
    application TEXT NOT NULL REFERENCES applications (id),
    digest BLOB NOT NULL UNIQUE,
    sealed TEXT,
    created INTEGER NOT NULL,
    ends INTEGER
) STRICT;
CREATE INDEX secrets_application ON secrets (application);

CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL REFERENCES people (id),
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    disabled INTEGER,
    ended INTEGER,
    replaces TEXT
) STRICT;
CREATE INDEX credentials_owner ON credentials (owner);

CREATE TABLE grants (
    id TEXT NOT NULL PRIMARY KEY,
    application TEXT NOT NULL REFERENCES applications (id),
    person TEXT NOT NULL REFERENCES people (id),
    scopes TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    created INTEGER NOT NULL,
    live_until INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE INDEX grants_application ON grants (application);
CREATE INDEX grants_person ON grants (person);

CREATE TABLE refresh_tokens (
    digest BLOB NOT NULL PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants (id),
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    idle_until INTEGER NOT NULL,
    used INTEGER,
    successor BLOB,
    sealed TEXT
) STRICT;
CREATE INDEX refresh_tokens_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_sealed ON refresh_tokens (used) WHERE sealed IS NOT NULL;

CREATE TABLE codes (
    digest BLOB NOT NULL PRIMARY KEY,
    application TEXT NOT NULL REFERENCES applications (id),
    person TEXT NOT NULL REFERENCES people (id),
    redirect_uri TEXT,
    challenge TEXT,
    scopes TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    grant_id TEXT,
    ended INTEGER
) STRICT;

CREATE TABLE devices (
    digest BLOB NOT NULL PRIMARY KEY,
    user_code BLOB NOT NULL UNIQUE,
    application TEXT NOT NULL REFERENCES applications (id),
    scopes TEXT NOT NULL,
    state TEXT NOT NULL,
    person TEXT REFERENCES people (id),
    auth_time INTEGER,
    interval INTEGER NOT NULL,
    polled INTEGER,
    expires INTEGER NOT NULL,
    grant_id TEXT
) STRICT;
CREATE INDEX devices_application ON devices (application);

CREATE TABLE ended_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE uses (
    id TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    act TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT,
    application TEXT,
    credential TEXT,
    address TEXT,
    request TEXT,
    PRIMARY KEY (number, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_subject ON audit (subject, number);

-- The change log: which rows of the followed tables changed in which transaction.
CREATE TABLE changes (
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    followed TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (number, position)
) STRICT, WITHOUT ROWID;
