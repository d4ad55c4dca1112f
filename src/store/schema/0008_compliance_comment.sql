-- What the administrator said of a version of the compliance configuration.
ALTER TABLE compliance ADD COLUMN comment TEXT NOT NULL DEFAULT '';
