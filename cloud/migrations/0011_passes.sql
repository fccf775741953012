-- A pass is its place in a status list; it is known by nothing else. The list's bits are the rows that have
-- revoked_sequence: the list's first sequence number at which the pass counts as revoked.
CREATE TABLE passes (
    tenant_id        text NOT NULL,
    list_id          integer NOT NULL,
    index            integer NOT NULL CHECK (index >= 0),
    kind             smallint NOT NULL,
    flags            integer NOT NULL,
    access_levels    integer[] NOT NULL,
    holder_key       bytea,
    key_id           bytea NOT NULL,
    issued_at        timestamptz NOT NULL,
    not_before       timestamptz,
    expires_at       timestamptz NOT NULL,
    revoked_at       timestamptz,
    revoked_sequence bigint,
    PRIMARY KEY (tenant_id, list_id, index),
    FOREIGN KEY (tenant_id, list_id) REFERENCES status_lists (tenant_id, list_id),
    CHECK ((revoked_at IS NULL) = (revoked_sequence IS NULL))
);
CREATE INDEX passes_revoked ON passes (tenant_id, list_id, revoked_sequence) WHERE revoked_sequence IS NOT NULL;
