-- Backups in two phases: how far every device's journal had come when one began, and, once it is known to be good, that
-- devices may forget what it holds (docs/adr/0013-backup-marks.md).
CREATE TABLE backups (
    id           text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    begun_at     timestamptz NOT NULL,
    completed_at timestamptz,
    devices      integer NOT NULL DEFAULT 0
);
CREATE TABLE backup_marks (
    backup_id text NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    tenant_id text NOT NULL,
    device_id text NOT NULL,
    epoch     bytea NOT NULL CHECK (length(epoch) = 8),
    mark      bigint NOT NULL CHECK (mark > 0),
    PRIMARY KEY (backup_id, tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id)
);
