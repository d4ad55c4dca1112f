-- Rooms that are persistent (XEP-0045), what is kept of them, and their last messages for those who come later.
CREATE TABLE room (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    room        TEXT NOT NULL UNIQUE,             -- bare JID
    config      TEXT NOT NULL,                    -- a JSON document
    secret      BLOB NOT NULL,                    -- occupant ids (XEP-0421) are made with it
    created_ms  INTEGER NOT NULL,
    subject     TEXT,                             -- the message that set it
    subject_ms  INTEGER NOT NULL,
    vcard       TEXT
) STRICT;

CREATE TABLE room_affiliated (
    room         INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    jid          TEXT NOT NULL,                   -- bare JID, or a domain
    affiliation  TEXT NOT NULL CHECK (affiliation IN ('owner', 'admin', 'member', 'outcast', 'none')),
    nick         TEXT,                            -- registered
    reason       TEXT,
    PRIMARY KEY (room, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE room_past (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,   -- order of arrival
    room     INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    wall_ms  INTEGER NOT NULL,
    sid      INTEGER NOT NULL,                    -- the stanza id
    stanza   TEXT NOT NULL
) STRICT;
CREATE INDEX room_past_by_room ON room_past (room, id);
