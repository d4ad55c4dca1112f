-- Notices of a domain to its users (XEP-0133, 4.24 to 4.28), and what of them an account has seen. Who is there already is no newcomer.
ALTER TABLE account ADD COLUMN motd_seen INTEGER NOT NULL DEFAULT 0;   -- the version of the message of the day shown last
ALTER TABLE account ADD COLUMN greeted INTEGER NOT NULL DEFAULT 0 CHECK (greeted IN (0, 1));
UPDATE account SET greeted = 1;

-- A notice that was deleted keeps its version, so that the next one is new to everybody.
CREATE TABLE notice (
    domain   TEXT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('motd', 'welcome')),
    version  INTEGER NOT NULL CHECK (version > 0),
    text     TEXT,
    PRIMARY KEY (domain, kind)
) STRICT, WITHOUT ROWID;
