-- Tokens whose serial is in one of these ranges were issued after the backup that was restored.
CREATE TABLE restores (
    id TEXT NOT NULL PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
