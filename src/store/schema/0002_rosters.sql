-- Rosters (RFC 6121, 2) and subscription requests that wait for an answer (RFC 6121, 3.1.3).
ALTER TABLE account ADD COLUMN roster_version INTEGER NOT NULL DEFAULT 0;

CREATE TABLE roster_item (
    account       INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid           TEXT NOT NULL,                   -- bare JID
    name          TEXT,
    subscription  TEXT NOT NULL CHECK (subscription IN ('none', 'to', 'from', 'both')),
    ask           INTEGER NOT NULL CHECK (ask IN (0, 1)),
    approved      INTEGER NOT NULL CHECK (approved IN (0, 1)),
    in_roster     INTEGER NOT NULL CHECK (in_roster IN (0, 1)),
    pending_in    TEXT,                            -- the subscribe stanza
    PRIMARY KEY (account, jid),
    CHECK (in_roster OR approved OR pending_in IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX roster_item_pending ON roster_item (jid) WHERE pending_in IS NOT NULL;

CREATE TABLE roster_group (
    account   INTEGER NOT NULL,
    jid       TEXT NOT NULL,
    position  INTEGER NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (account, jid, position),
    FOREIGN KEY (account, jid) REFERENCES roster_item (account, jid) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
