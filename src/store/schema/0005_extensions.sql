-- What extensions keep for a user: documents (XEP-0054, XEP-0049), the block list (XEP-0191), the last logout (XEP-0012).
ALTER TABLE account ADD COLUMN last_logout_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN last_status TEXT;

CREATE TABLE document (
    account  INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    area     TEXT NOT NULL,                        -- 'vcard', 'private'
    name     TEXT NOT NULL,                        -- within the area; '' when it holds one
    xml      TEXT NOT NULL,
    PRIMARY KEY (account, area, name)
) STRICT;

CREATE TABLE blocked (
    account  INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid      TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT, WITHOUT ROWID;
