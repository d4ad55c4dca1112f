-- Messages kept for users who are offline. The count is kept with the account: the limit is checked for each message, in constant time.
ALTER TABLE account ADD COLUMN offline_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE offline (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,    -- order of arrival
    account  INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    wall_ms  INTEGER NOT NULL,
    sid      INTEGER NOT NULL,                     -- the stanza id
    stanza   TEXT NOT NULL
) STRICT;
CREATE INDEX offline_by_account ON offline (account, id);

CREATE TRIGGER offline_added AFTER INSERT ON offline BEGIN
    UPDATE account SET offline_count = offline_count + 1 WHERE id = NEW.account;
END;
CREATE TRIGGER offline_removed AFTER DELETE ON offline BEGIN
    UPDATE account SET offline_count = offline_count - 1 WHERE id = OLD.account;
END;
