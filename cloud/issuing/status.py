"""Status lists: which passes are revoked, signed afresh whenever something changes or a token grows old.

Invariant: a sequence number stands for exactly one token; bits only ever go from 0 to 1.
Must not: keep bits of its own; the rows of `passes` are the truth. Source: docs/spec/status-list.md.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from cloud.database import ACQUIRE_S, Connection, Pool, Source
from cloud.errors import CloudError, Reason
from cloud.events.turns import TurnLock
from cloud.issuing.keyring import Keyring
from cloud.issuing.keys import KeyRole
from wire.keys import Signer
from wire.messages import MEDIA_STATUS_DELTA, MEDIA_STATUS_LIST
from wire.names import Tenant
from wire.status_delta import MAX_FLIPS, make_delta, seal_delta
from wire.status_list import MAX_LIST_ID, StatusList, seal_status_list

TTL_S: Final = 300
"""How long a door keeps a token without asking; signed again when older than half of it."""
EXPIRY: Final = timedelta(days=7)
"""After this a token counts as no information at all; a door's own limit (24 h by default) comes first."""
FIRST_CAPACITY: Final = 8_192
"""The first list: 1 KiB, which travels with the frame around it in one packet."""
LAST_CAPACITY: Final = 1 << 20
"""The largest list: 128 KiB. Each list doubles the one before up to here, so that a small school downloads little and
ten million passes need 16 lists, of which only the changes travel."""
_MAX_DELTAS: Final = 256
_STALE: Final = timedelta(seconds=TTL_S / 2)


@dataclass(frozen=True, slots=True)
class StatusToken:
    """A signed list or delta, as served. `sequence` is its ETag."""

    sequence: int
    data: bytes
    media_type: str


def capacity(list_id: int) -> int:
    """Give the number of passes in a list."""
    return min(FIRST_CAPACITY << min(list_id, 32), LAST_CAPACITY)


def bits_of(size: int, revoked: Iterable[int]) -> bytes:
    """Write a list's bits; bit `i & 7` of byte `i >> 3` is pass index i."""
    bits = bytearray(size // 8)
    for index in revoked:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


class Status:
    """Makes and serves the lists.

    Args:
        pool: the database.
        keyring: the tenants' keys.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, keyring: Keyring, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._keyring = keyring
        self._now = now
        self._deltas: dict[tuple[Tenant, int, int, int], bytes | None] = {}
        self._one_delta = TurnLock()

    async def open_list(self, connection: Connection, tenant: Tenant, list_id: int) -> None:
        """Open a list unless it is there."""
        await connection.execute(
            "INSERT INTO status_lists (tenant_id, list_id, capacity, opened_at) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT DO NOTHING",
            tenant,
            list_id,
            capacity(list_id),
            self._now(),
        )

    async def open_next_list(self, tenant: Tenant) -> None:
        """Open the list after the newest, because that is full.

        Several who find it full at the same time may open one each; the extra ones only stay empty a little longer.

        Raises:
            CloudError: PASS_INVALID when there can be no further list.
        """
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection:
            newest = await connection.fetchval("SELECT max(list_id) FROM status_lists WHERE tenant_id = $1", tenant)
            if newest >= MAX_LIST_ID:
                detail = f"Institution {tenant} has used all its pass ids; make a new institution for new passes."
                raise CloudError(Reason.PASS_INVALID, detail)
            await self.open_list(connection, tenant, newest + 1)

    async def sequences(self, tenant: Tenant) -> dict[int, int]:
        """Give each list's sequence number, after signing those again whose token is old or missing."""
        rows = await self._pool.fetch(
            "SELECT list_id, sequence, token IS NOT NULL AND signed_at >= $2 AS fresh"
            " FROM status_lists WHERE tenant_id = $1 ORDER BY list_id",
            tenant,
            self._now() - _STALE,
        )
        return {
            row["list_id"]: row["sequence"] if row["fresh"] else (await self.token(tenant, row["list_id"])).sequence
            for row in rows
        }

    async def token(self, tenant: Tenant, list_id: int, *, since: int | None = None) -> StatusToken:
        """Give a list at its newest sequence.

        Args:
            tenant: whose list.
            list_id: which.
            since: a sequence that the door has; the delta from there is given when it is smaller.

        Raises:
            CloudError: STATUS_LIST_UNKNOWN or KEY_UNUSABLE.
        """
        found = await self._pool.fetchrow(_SELECT, tenant, list_id)
        if found is None or not self._is_fresh(found):
            found = await self._refresh(tenant, list_id)
        full = StatusToken(found["sequence"], found["token"], MEDIA_STATUS_LIST)
        if since is None or not 0 < since < full.sequence:
            return full
        delta = await self._delta(tenant, list_id, found, since)
        if delta is None or len(delta) >= len(full.data):
            return full
        return StatusToken(full.sequence, delta, MEDIA_STATUS_DELTA)

    def _is_fresh(self, row: asyncpg.Record) -> bool:
        return row["token"] is not None and row["signed_at"] >= self._now() - _STALE

    async def _refresh(self, tenant: Tenant, list_id: int) -> asyncpg.Record:
        """Sign a list under its next sequence, once, however many ask at the same time."""
        signer = await self._keyring.signer(tenant, KeyRole.STATUS)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            row = await connection.fetchrow(f"{_SELECT} FOR NO KEY UPDATE", tenant, list_id)
            if row is None:
                detail = f"Institution {tenant} has no status list {list_id}."
                raise CloudError(Reason.STATUS_LIST_UNKNOWN, detail)
            if self._is_fresh(row):
                return row
            return await self._sign(connection, tenant, row, signer)

    async def _sign(
        self, connection: Connection, tenant: Tenant, row: asyncpg.Record, signer: Signer
    ) -> asyncpg.Record:
        list_id, sequence, now = row["list_id"], row["sequence"] + 1, self._now()
        revoked = await _revoked(connection, tenant, list_id, sequence)
        status = _status(tenant, row, sequence=sequence, signed_at=now, revoked=revoked)
        signed = await connection.fetchrow(
            "UPDATE status_lists SET sequence = $3, token = $4, key_id = $5, signed_at = $6"
            " WHERE tenant_id = $1 AND list_id = $2"
            " RETURNING list_id, capacity, sequence, token, key_id, signed_at",
            tenant,
            list_id,
            sequence,
            seal_status_list(status, signer),
            bytes(signer.public_key.key_id),
            now,
        )
        assert signed is not None  # noqa: S101 - the row is locked
        return signed

    async def _delta(self, tenant: Tenant, list_id: int, row: asyncpg.Record, since: int) -> bytes | None:
        """Give the signed delta, made once for all doors that have the same; None when too much has changed."""
        key = (tenant, list_id, since, row["sequence"])
        async with self._one_delta.turn(tenant):
            if key not in self._deltas:
                if len(self._deltas) >= _MAX_DELTAS:
                    self._deltas.clear()
                self._deltas[key] = await self._make_delta(tenant, row, since)
            return self._deltas[key]

    async def _make_delta(self, tenant: Tenant, row: asyncpg.Record, since: int) -> bytes | None:
        signer = await self._keyring.signer(tenant, KeyRole.STATUS)
        flips = await self._pool.fetchval(_FLIPS, tenant, row["list_id"], since, row["sequence"], MAX_FLIPS + 1)
        if flips > MAX_FLIPS:
            return None
        revoked = await _revoked(self._pool, tenant, row["list_id"], row["sequence"])
        before = [index for index, sequence in revoked.items() if sequence <= since]
        old = _status(tenant, row, sequence=since, signed_at=row["signed_at"], revoked=before)
        new = _status(tenant, row, sequence=row["sequence"], signed_at=row["signed_at"], revoked=revoked)
        return seal_delta(make_delta(old, new), signer)


_SELECT: Final = (
    "SELECT list_id, capacity, sequence, token, key_id, signed_at FROM status_lists"
    " WHERE tenant_id = $1 AND list_id = $2"
)

_FLIPS: Final = """
    SELECT count(*) FROM (SELECT FROM passes WHERE tenant_id = $1 AND list_id = $2
        AND revoked_sequence > $3 AND revoked_sequence <= $4 LIMIT $5) AS flips"""
"""How much a delta would hold, counted no further than one too many."""


async def revoke(connection: Connection, tenant: Tenant, list_id: int, index: int, *, now: datetime) -> bool:
    """Revoke a pass within the caller's transaction: the next token of its list says so.

    Returns:
        False when it was revoked already.
    """
    sequence = await connection.fetchval(
        "SELECT sequence FROM status_lists WHERE tenant_id = $1 AND list_id = $2 FOR NO KEY UPDATE", tenant, list_id
    )
    changed = await connection.fetchval(
        "UPDATE passes SET revoked_at = $4, revoked_sequence = $5"
        " WHERE tenant_id = $1 AND list_id = $2 AND index = $3 AND revoked_at IS NULL RETURNING index",
        tenant,
        list_id,
        index,
        now,
        (sequence or 0) + 1,
    )
    if changed is None:
        return False
    await connection.execute(
        "UPDATE status_lists SET token = NULL WHERE tenant_id = $1 AND list_id = $2", tenant, list_id
    )
    return True


async def _revoked(source: Source, tenant: Tenant, list_id: int, sequence: int) -> dict[int, int]:
    """Give the revoked indices of a list and since which sequence they are."""
    rows = await source.fetch(
        "SELECT index, revoked_sequence FROM passes"
        " WHERE tenant_id = $1 AND list_id = $2 AND revoked_sequence IS NOT NULL AND revoked_sequence <= $3",
        tenant,
        list_id,
        sequence,
    )
    return {row["index"]: row["revoked_sequence"] for row in rows}


def _status(
    tenant: Tenant, row: asyncpg.Record, *, sequence: int, signed_at: datetime, revoked: Iterable[int]
) -> StatusList:
    issued_at_s = int(signed_at.timestamp())
    return StatusList(
        tenant=tenant,
        list_id=row["list_id"],
        sequence=sequence,
        issued_at_s=issued_at_s,
        expires_at_s=issued_at_s + int(EXPIRY.total_seconds()),
        ttl_s=TTL_S,
        bits=bits_of(row["capacity"], revoked),
    )
