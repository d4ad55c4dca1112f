-- The compliance configuration: every version as a whole. None is ever changed; the oldest are forgotten (broker.versions).
CREATE TABLE compliance (
    version     INTEGER PRIMARY KEY CHECK (version > 0),
    json        TEXT NOT NULL,
    changed_by  TEXT NOT NULL,
    what        TEXT NOT NULL,
    wall_ms     INTEGER NOT NULL
) STRICT;
