-- The credentials of a site that carry no signature (docs/spec/roster.md). An identifier is known only by its hash under
-- the site's pepper, a PIN only by its argon2id.

-- entries counts the rows of roster_entries. version is the newest that doors can fetch; changed says that entries differ from it and the next one is due.
-- key_version: the first version that the present key signs. A door with an older one is given the whole roster.
CREATE TABLE rosters (
    tenant_id   text NOT NULL REFERENCES institutions (id),
    site        text NOT NULL CHECK (site ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    pepper      bytea NOT NULL CHECK (length(pepper) = 32),
    entries     integer NOT NULL DEFAULT 0 CHECK (entries >= 0),
    version     bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    changed     boolean NOT NULL DEFAULT true,
    signed_at   timestamptz,
    key_id      bytea,
    key_version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, site)
);

-- What the content came to at each version that changed it; deltas start from these.
CREATE TABLE roster_contents (
    tenant_id  text NOT NULL,
    site       text NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    entries    integer NOT NULL,
    pins       integer NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, site, version),
    FOREIGN KEY (tenant_id, site) REFERENCES rosters (tenant_id, site)
);

-- version, here and below: the first that has the row as it is.
CREATE TABLE roster_level_sets (
    tenant_id text NOT NULL,
    site      text NOT NULL,
    number    integer NOT NULL CHECK (number BETWEEN 0 AND 65535),
    levels    integer[] NOT NULL,
    version   bigint NOT NULL,
    PRIMARY KEY (tenant_id, site, number),
    UNIQUE (tenant_id, site, levels),
    FOREIGN KEY (tenant_id, site) REFERENCES rosters (tenant_id, site)
);

CREATE TABLE roster_entries (
    tenant_id  text NOT NULL,
    site       text NOT NULL,
    key        bytea NOT NULL CHECK (length(key) = 16),
    roster_id  bytea NOT NULL CHECK (length(roster_id) = 8),
    kind       smallint NOT NULL,
    flags      smallint NOT NULL,
    level_set  integer NOT NULL,
    salt       bytea CHECK (length(salt) = 16),
    pin        bytea CHECK (length(pin) = 16),
    duress     bytea CHECK (length(duress) = 16),
    version    bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, site, key),
    FOREIGN KEY (tenant_id, site, level_set) REFERENCES roster_level_sets (tenant_id, site, number),
    CHECK ((salt IS NULL) = (pin IS NULL)),
    CHECK (duress IS NULL OR pin IS NOT NULL)
);
CREATE INDEX roster_entries_by_version ON roster_entries (tenant_id, site, version);
CREATE INDEX roster_entries_by_holder ON roster_entries (tenant_id, site, roster_id);

-- What is not enrolled any more, as long as a door may ask for the changes since.
CREATE TABLE roster_removals (
    tenant_id text NOT NULL,
    site      text NOT NULL,
    key       bytea NOT NULL CHECK (length(key) = 16),
    version   bigint NOT NULL,
    PRIMARY KEY (tenant_id, site, key),
    FOREIGN KEY (tenant_id, site) REFERENCES rosters (tenant_id, site)
);
CREATE INDEX roster_removals_by_version ON roster_removals (tenant_id, site, version);
