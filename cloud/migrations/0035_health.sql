-- The newest report of each device. Reports are not kept: what happened is told by the journal.
--
-- report: as sent (docs/spec/health.md); condition: what it amounts to, so that devices can be counted and filtered:
-- 0 working, 1 in need of somebody, 2 in maintenance.
CREATE TABLE device_health (
    tenant_id   text NOT NULL,
    device_id   text NOT NULL,
    received_at timestamptz NOT NULL,
    condition   smallint NOT NULL CHECK (condition BETWEEN 0 AND 2),
    report      bytea NOT NULL CHECK (length(report) <= 10240),
    PRIMARY KEY (tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id)
);
