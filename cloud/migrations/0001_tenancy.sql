-- Institutions, their doors, and who may speak for them.
-- Every row carries its tenant; every key begins with it.

CREATE TABLE institutions (
    id         text PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    timezone   text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE doors (
    tenant_id    text NOT NULL REFERENCES institutions (id),
    id           text NOT NULL CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    site         text NOT NULL CHECK (site ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    access_point text NOT NULL CHECK (access_point ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- A device holds one certificate at a time. The one before stays good until the new one has been used, because an
-- answer to a renewal can be lost on its way.
CREATE TABLE devices (
    tenant_id               text NOT NULL,
    id                      text NOT NULL CHECK (id ~ '^[a-z0-9-]{1,32}$'),
    door_id                 text NOT NULL,
    status                  text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
    epoch                   bytea CHECK (length(epoch) = 8),
    mark                    bigint NOT NULL DEFAULT 0 CHECK (mark >= 0),
    head                    bytea CHECK (length(head) = 32),
    backed_up               bigint NOT NULL DEFAULT 0 CHECK (backed_up >= 0),
    certificate_fingerprint bytea NOT NULL UNIQUE CHECK (length(certificate_fingerprint) = 32),
    certificate_serial      text NOT NULL,
    certificate_not_after   timestamptz NOT NULL,
    previous_fingerprint    bytea UNIQUE CHECK (length(previous_fingerprint) = 32),
    public_key              bytea NOT NULL CHECK (length(public_key) = 33),
    enrolled_at             timestamptz NOT NULL,
    last_seen               timestamptz,
    versions                jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, door_id) REFERENCES doors (tenant_id, id)
);
CREATE INDEX devices_by_door ON devices (tenant_id, door_id);

-- A claim lets one device enrol for one door, once. Only the hash of its secret is kept.
CREATE TABLE claims (
    tenant_id   text NOT NULL,
    secret_hash bytea PRIMARY KEY CHECK (length(secret_hash) = 32),
    door_id     text NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    device_id   text,
    FOREIGN KEY (tenant_id, door_id) REFERENCES doors (tenant_id, id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, id)
);

-- Operators act across institutions, so their tokens have no tenant.
CREATE TABLE operator_tokens (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    name       text NOT NULL UNIQUE,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
