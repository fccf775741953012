-- Versions of trust bundles and policies go on above this: a cloud that was restored from a backup does not know how far
-- it had come, and doors take nothing older than what they have.
ALTER TABLE institutions ADD COLUMN version_floor bigint NOT NULL DEFAULT 0 CHECK (version_floor >= 0);
