-- The compliance configuration: every version as a whole, none is ever changed or deleted.
CREATE TABLE compliance (
    version     INTEGER PRIMARY KEY CHECK (version > 0),
    json        TEXT NOT NULL,
    changed_by  TEXT NOT NULL,
    what        TEXT NOT NULL,
    wall_ms     INTEGER NOT NULL
) STRICT;
