"""Rosters: the enrolled credentials of a site, issued anew whenever something changes or they grow old.

Invariant: a version stands for exactly one content; what a version above the newest will hold is seen by no door.
Must not: keep entries of its own; the rows of `roster_entries` are the truth. Source: docs/spec/roster.md.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from cloud.database import ACQUIRE_S, Connection, Pool
from cloud.errors import CloudError, Reason
from cloud.events.turns import TurnLock
from cloud.issuing.keyring import Keyring
from cloud.issuing.keys import KeyRole
from wire.keys import Signer
from wire.messages import MEDIA_ROSTER, MEDIA_ROSTER_DELTA
from wire.names import DoorId, Tenant
from wire.roster import Roster, content_hash, seal_roster
from wire.roster_delta import MAX_CHANGES, RosterDelta, seal_roster_delta
from wire.roster_table import KEY_BYTES, PIN_BYTES, RECORD_BYTES

REFRESH: Final = timedelta(minutes=5)
"""A roster that is older is issued again, because what was removed from it counts as revoked for a door that knows."""
KEPT: Final = timedelta(days=40)
"""How long a door may be away and still be given the changes only."""
_MAX_DELTAS: Final = 16
_MAX_WHOLE: Final = 4
"""Signed documents remembered for the doors that ask next; the largest whole roster has 28 MB."""

_NEWEST: Final = """
    SELECT site, pepper, version, changed, signed_at, key_id, key_version FROM rosters
    WHERE tenant_id = $1 AND site = $2 FOR NO KEY UPDATE"""
"""Whoever changes entries locks this row first, so that they stay as they are until the transaction ends."""
_LEVEL_SETS: Final = """
    SELECT levels FROM roster_level_sets WHERE tenant_id = $1 AND site = $2 AND version > $3 ORDER BY number"""
_TABLES: Final = """
    SELECT coalesce(string_agg(key || roster_id || substring(int4send((kind::int << 16) | (flags::int << 8)
                | CASE WHEN pin IS NULL THEN 0 WHEN duress IS NULL THEN 1 ELSE 2 END) FROM 2)
            || substring(int4send(level_set) FROM 3), ''::bytea ORDER BY key), ''::bytea) AS records,
        coalesce(string_agg(key || salt || pin || coalesce(duress, decode(repeat('00', 16), 'hex')), ''::bytea
            ORDER BY key) FILTER (WHERE pin IS NOT NULL), ''::bytea) AS pins
    FROM roster_entries WHERE tenant_id = $1 AND site = $2 AND version > $3"""
"""Records and PINs as `wire.roster_table` has them, packed by the database: a loop over 240,000 rows takes seconds."""
_REMOVALS: Final = """
    SELECT coalesce(string_agg(key, ''::bytea ORDER BY key), ''::bytea) FROM roster_removals
    WHERE tenant_id = $1 AND site = $2 AND version > $3"""
_CHANGES: Final = """
    SELECT (SELECT count(*) FROM (SELECT FROM roster_removals
        WHERE tenant_id = $1 AND site = $2 AND version > $3 LIMIT $4) AS gone) AS removals,
        count(*) AS upserts, count(pin) AS pins
    FROM (SELECT pin FROM roster_entries WHERE tenant_id = $1 AND site = $2 AND version > $3 LIMIT $4) AS entries"""
"""How much a delta would hold, counted no further than one too many: packing what is too much holds others up."""
_CONTENT: Final = """
    SELECT version, hash, entries, pins FROM roster_contents
    WHERE tenant_id = $1 AND site = $2 AND version <= $3 ORDER BY version DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class SignedRoster:
    """A signed roster or delta, as served. `version` is its ETag."""

    version: int
    data: bytes
    media_type: str


class Rosters:
    """Issues and serves the rosters.

    Args:
        pool: the database.
        keyring: the tenants' keys.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, keyring: Keyring, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._keyring = keyring
        self._now = now
        self._deltas: dict[tuple[Tenant, str, int, int], bytes | None] = {}
        self._whole: dict[tuple[Tenant, str, int], bytes] = {}
        self._one_at_a_time = TurnLock()

    async def versions(self, tenant: Tenant) -> dict[DoorId, int]:
        """Give the newest version for each door whose site has a roster, after issuing again those that are due.

        Raises:
            CloudError: KEY_UNUSABLE.
        """
        rows = await self._pool.fetch("SELECT site, changed, signed_at FROM rosters WHERE tenant_id = $1", tenant)
        if not rows:
            return {}
        for row in rows:
            if not self._is_fresh(row):
                await self.version(tenant, row["site"])
        found = await self._pool.fetch(
            "SELECT doors.id, rosters.version FROM doors JOIN rosters USING (tenant_id, site) WHERE tenant_id = $1",
            tenant,
        )
        return {DoorId(row["id"]): row["version"] for row in found}

    async def version(self, tenant: Tenant, site: str) -> int:
        """Give the newest version of a site's roster, issued again when that is due.

        Raises:
            CloudError: ROSTER_UNKNOWN or KEY_UNUSABLE.
        """
        signer = await self._keyring.signer(tenant, KeyRole.POLICY)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            return int((await self._newest(connection, tenant, site, signer))["version"])

    async def document(self, tenant: Tenant, site: str, *, since: int | None = None) -> SignedRoster:
        """Give a site's roster at its newest version.

        Args:
            tenant: whose roster.
            site: of which site.
            since: a version that the door has; the delta from there is given when it is smaller.

        Raises:
            CloudError: ROSTER_UNKNOWN or KEY_UNUSABLE.
        """
        signer = await self._keyring.signer(tenant, KeyRole.POLICY)
        async with (
            self._one_at_a_time.turn(tenant),
            self._pool.acquire(timeout=ACQUIRE_S) as connection,
            connection.transaction(),
        ):
            row = await self._newest(connection, tenant, site, signer)
            version = row["version"]
            if since is not None and max(1, row["key_version"]) <= since < version:
                delta = await self._delta(connection, tenant, row, since, signer)
                if delta is not None:
                    return SignedRoster(version, delta, MEDIA_ROSTER_DELTA)
            return SignedRoster(version, await self._all(connection, tenant, row, signer), MEDIA_ROSTER)

    def _is_fresh(self, row: asyncpg.Record) -> bool:
        return not row["changed"] and row["signed_at"] >= self._now() - REFRESH

    async def _newest(self, connection: Connection, tenant: Tenant, site: str, signer: Signer) -> asyncpg.Record:
        """Lock the roster and issue its next version when that is due."""
        row = await connection.fetchrow(_NEWEST, tenant, site)
        if row is None:
            detail = f"Site {site} of institution {tenant} has no credentials enrolled."
            raise CloudError(Reason.ROSTER_UNKNOWN, detail)
        if self._is_fresh(row):
            return row
        version = row["version"] + 1
        if row["changed"]:
            await self._note_content(connection, tenant, row, version)
        issued = await connection.fetchrow(
            "UPDATE rosters SET version = $3, changed = false, signed_at = $4, key_id = $5,"
            " key_version = CASE WHEN key_id = $5 THEN key_version ELSE $3 END WHERE tenant_id = $1 AND site = $2"
            " RETURNING site, pepper, version, changed, signed_at, key_id, key_version",
            tenant,
            site,
            version,
            self._now().replace(microsecond=0),
            bytes(signer.public_key.key_id),
        )
        assert issued is not None  # noqa: S101 - the row is locked
        return issued

    async def _note_content(self, connection: Connection, tenant: Tenant, row: asyncpg.Record, version: int) -> None:
        """Keep what the content comes to at a version, and forget what no door is given changes from any more."""
        site, now = row["site"], self._now()
        roster = await _read(connection, tenant, row, version=version, issued_at=now)
        await connection.execute(
            "INSERT INTO roster_contents (tenant_id, site, version, hash, entries, pins, created_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            tenant,
            site,
            version,
            await asyncio.to_thread(content_hash, roster),
            roster.count,
            len(roster.pins) // PIN_BYTES,
            now,
        )
        await connection.execute(
            "DELETE FROM roster_contents WHERE tenant_id = $1 AND site = $2 AND version <"
            " (SELECT max(version) FROM roster_contents WHERE tenant_id = $1 AND site = $2 AND created_at < $3)",
            tenant,
            site,
            now - KEPT,
        )
        await connection.execute(
            "DELETE FROM roster_removals WHERE tenant_id = $1 AND site = $2 AND version <="
            " (SELECT min(version) FROM roster_contents WHERE tenant_id = $1 AND site = $2)",
            tenant,
            site,
        )

    async def _delta(
        self, connection: Connection, tenant: Tenant, row: asyncpg.Record, since: int, signer: Signer
    ) -> bytes | None:
        """Give the signed delta, made once for all doors that have the same; None when the whole is worth more."""
        key = (tenant, row["site"], since, row["version"])
        if key not in self._deltas:
            if len(self._deltas) >= _MAX_DELTAS:
                self._deltas.clear()
            self._deltas[key] = await _make_delta(connection, tenant, row, since, signer)
        return self._deltas[key]

    async def _all(self, connection: Connection, tenant: Tenant, row: asyncpg.Record, signer: Signer) -> bytes:
        key = (tenant, row["site"], row["version"])
        if key not in self._whole:
            if len(self._whole) >= _MAX_WHOLE:
                self._whole.clear()
            roster = await _read(connection, tenant, row, version=row["version"], issued_at=row["signed_at"])
            self._whole[key] = await asyncio.to_thread(seal_roster, roster, signer)
        return self._whole[key]


async def _read(
    connection: Connection, tenant: Tenant, row: asyncpg.Record, *, version: int, issued_at: datetime
) -> Roster:
    """Read all entries; the roster's row is locked."""
    tables = await connection.fetchrow(_TABLES, tenant, row["site"], 0)
    assert tables is not None  # noqa: S101 - an aggregate gives a row
    return Roster(
        tenant=tenant,
        site=row["site"],
        version=version,
        issued_at_s=int(issued_at.timestamp()),
        pepper=row["pepper"],
        level_sets=await _level_sets(connection, tenant, row["site"], 0),
        records=tables["records"],
        pins=tables["pins"],
    )


async def _level_sets(connection: Connection, tenant: Tenant, site: str, since: int) -> tuple[tuple[int, ...], ...]:
    rows = await connection.fetch(_LEVEL_SETS, tenant, site, since)
    return tuple(tuple(row["levels"]) for row in rows)


async def _make_delta(
    connection: Connection, tenant: Tenant, row: asyncpg.Record, since: int, signer: Signer
) -> bytes | None:
    site = row["site"]
    before = await connection.fetchrow(_CONTENT, tenant, site, since)
    after = await connection.fetchrow(_CONTENT, tenant, site, row["version"])
    if before is None or after is None:
        return None
    found = await connection.fetchrow(_CHANGES, tenant, site, since, MAX_CHANGES + 1)
    assert found is not None  # noqa: S101 - an aggregate gives a row
    if _is_too_much(found, after):
        return None
    tables = await connection.fetchrow(_TABLES, tenant, site, since)
    assert tables is not None  # noqa: S101 - an aggregate gives a row
    delta = RosterDelta(
        tenant=tenant,
        site=site,
        base_version=since,
        version=row["version"],
        issued_at_s=int(row["signed_at"].timestamp()),
        before=before["hash"],
        after=after["hash"],
        level_sets=await _level_sets(connection, tenant, site, since),
        removals=await connection.fetchval(_REMOVALS, tenant, site, since),
        upserts=tables["records"],
        pins=tables["pins"],
    )
    return await asyncio.to_thread(seal_roster_delta, delta, signer)


def _is_too_much(changes: asyncpg.Record, whole: asyncpg.Record) -> bool:
    """Tell whether a delta would not fit, or have more than half of the whole roster's bytes."""
    changed = changes["removals"] + changes["upserts"]
    delta_bytes = changes["removals"] * KEY_BYTES + changes["upserts"] * RECORD_BYTES + changes["pins"] * PIN_BYTES
    whole_bytes = whole["entries"] * RECORD_BYTES + whole["pins"] * PIN_BYTES
    return bool(changed > MAX_CHANGES or 2 * delta_bytes > whole_bytes)
