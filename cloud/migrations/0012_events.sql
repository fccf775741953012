-- The doors' journals, a partition a day. There is no unique index: an event is stored once because the device's mark,
-- moved in the same transaction, says how far its journal has come.
--
-- at: the event's own time when that is plausible, else the time of receipt; it chooses the partition.
-- raw: the event's bytes as signed; everything that is no column here is read from them.

CREATE TABLE events (
    tenant_id   text COLLATE "C" NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    epoch       bytea NOT NULL,
    received_at timestamptz NOT NULL,
    seq         bigint NOT NULL,
    at          timestamptz NOT NULL,
    kind        smallint NOT NULL,
    door_id     text COLLATE "C" NOT NULL,
    reason      smallint,
    credential  bytea,
    raw         bytea NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX events_by_time ON events (tenant_id, at);
CREATE INDEX events_by_device ON events (tenant_id, device_id, seq);

-- A re-imaged device starts a new epoch. The one before is closed for good: whoever still writes to it is a copy.
CREATE TABLE closed_epochs (
    tenant_id text NOT NULL,
    device_id text NOT NULL,
    epoch     bytea NOT NULL CHECK (length(epoch) = 8),
    mark      bigint NOT NULL,
    head      bytea NOT NULL CHECK (length(head) = 32),
    closed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, epoch),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id)
);
