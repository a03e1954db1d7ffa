-- People in browsers: passwords, sessions, reset links, consents. Without references to people: the
-- previous release, which runs on the result, deletes people without knowing these tables.

CREATE TABLE passwords (
    person TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    digest BLOB NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    person TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    created INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    agent TEXT,
    address TEXT,
    ended INTEGER
) STRICT;
CREATE INDEX sessions_person ON sessions (person);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE resets (
    digest BLOB NOT NULL PRIMARY KEY,
    person TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE INDEX resets_person ON resets (person);

CREATE TABLE consents (
    id TEXT NOT NULL PRIMARY KEY,
    person TEXT NOT NULL,
    application TEXT NOT NULL,
    scopes TEXT NOT NULL,
    shown TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE INDEX consents_person ON consents (person);

ALTER TABLE devices ADD COLUMN address TEXT;
CREATE INDEX devices_address ON devices (address);
