-- Orders to doors. What became of one is told by the door's events, which name its id as their credential.
CREATE TABLE commands (
    tenant_id       text NOT NULL,
    door_id         text NOT NULL,
    counter         bigint NOT NULL CHECK (counter > 0),
    command_id      bytea NOT NULL CHECK (length(command_id) = 16),
    action          smallint NOT NULL,
    issued_at       timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    idempotency_key text,
    sealed          bytea NOT NULL,
    PRIMARY KEY (tenant_id, door_id, counter),
    UNIQUE (tenant_id, command_id),
    UNIQUE (tenant_id, door_id, idempotency_key),
    FOREIGN KEY (tenant_id, door_id) REFERENCES doors (tenant_id, id),
    CHECK (issued_at < expires_at)
);
CREATE INDEX commands_that_hold ON commands (tenant_id, expires_at);
