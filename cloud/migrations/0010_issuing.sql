-- What a tenant signs with, and the signed documents that its doors fetch.

-- Public halves only; the private ones are in the key store. A key is published (not_before) well before it signs
-- (signs_from), and is believed (expires_at) well after the next one has taken over.
CREATE TABLE signing_keys (
    tenant_id  text NOT NULL REFERENCES institutions (id),
    role       text NOT NULL CHECK (role IN ('root', 'pass', 'status', 'policy', 'command', 'acknowledgement')),
    key_id     bytea NOT NULL CHECK (length(key_id) = 4),
    public_key bytea NOT NULL,
    not_before timestamptz NOT NULL,
    signs_from timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key_id),
    CHECK (not_before <= signs_from AND signs_from < expires_at)
);

-- Versions only rise; what a door has seen is never changed.
CREATE TABLE trust_bundles (
    tenant_id  text NOT NULL REFERENCES institutions (id),
    version    bigint NOT NULL CHECK (version > 0),
    bundle     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, version)
);

CREATE TABLE policies (
    tenant_id  text NOT NULL,
    door_id    text NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    document   jsonb NOT NULL,
    key_id     bytea NOT NULL,
    bundle     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, door_id, version),
    FOREIGN KEY (tenant_id, door_id) REFERENCES doors (tenant_id, id)
);

-- sequence rises with every token that is signed; token is the one for that sequence, NULL when it is to be signed.
CREATE TABLE status_lists (
    tenant_id text NOT NULL REFERENCES institutions (id),
    list_id   integer NOT NULL CHECK (list_id BETWEEN 0 AND 65535),
    capacity  integer NOT NULL CHECK (capacity > 0 AND capacity % 8 = 0),
    sequence  bigint NOT NULL DEFAULT 0,
    token     bytea,
    key_id    bytea,
    signed_at timestamptz,
    opened_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, list_id)
);
