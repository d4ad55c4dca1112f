-- Accounts with their SCRAM keys (never passwords), and the counters of the store itself.
CREATE TABLE counter (
    name  TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('boot', 0);

-- AUTOINCREMENT never gives an id twice: the id is the account's generation.
CREATE TABLE account (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    user           TEXT NOT NULL UNIQUE,          -- bare JID
    domain         TEXT NOT NULL,
    disabled       INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_ms     INTEGER NOT NULL,
    last_login_ms  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX account_by_domain ON account (domain, user);

CREATE TABLE scram_key (
    account     INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    hash        TEXT NOT NULL CHECK (hash IN ('SHA-1', 'SHA-256')),
    iterations  INTEGER NOT NULL CHECK (iterations > 0),
    salt        BLOB NOT NULL,
    stored_key  BLOB NOT NULL,
    server_key  BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;
