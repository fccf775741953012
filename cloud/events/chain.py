"""Check a device's stored journal, event by event, from the rows themselves.

Invariant: it reads one snapshot of the database, in bounded memory, and believes no column that the event's own bytes
do not confirm.
Must not: change anything.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import asyncpg

from cloud.database import ACQUIRE_S, Connection, Pool
from cloud.errors import CloudError, Reason
from cloud.events.models import ChainReport, ClosedChain
from wire.errors import WireError
from wire.event import CHAIN_START, event_values
from wire.names import DeviceId, Tenant

_FETCH: Final = 1_000
"""Rows held at a time: about 300 kB."""
_FETCH_S: Final = 30.0
_DEVICE, _SEQ, _KIND, _DOOR, _PREV = 1, 3, 9, 7, 23
"""Indices of `wire.event.FIELD_NAMES`."""


@dataclass(slots=True)
class Walk:
    """A walk along one journal, from event 1 to where the mark says that it ends."""

    device: DeviceId
    last: int = 0
    head: bytes = CHAIN_START
    events: int = 0
    broken_at: int | None = None

    def step(self, row: asyncpg.Record) -> None:
        """Take the next stored row, in the order of their numbers."""
        self.events += 1
        if self.broken_at is None and not self._follows(row):
            self.broken_at = self.last + 1
        if self.broken_at is None:
            self.last += 1
            self.head = hashlib.sha256(row["raw"]).digest()

    def end(self, *, durable: int, head: bytes) -> None:
        """Compare the end with what was acknowledged."""
        if self.broken_at is None and (self.last, self.head) != (durable, head):
            self.broken_at = min(self.last, durable) + (self.last != durable)

    def _follows(self, row: asyncpg.Record) -> bool:
        try:
            values = event_values(row["raw"])
        except WireError:
            return False
        columns = (self.device, row["seq"], row["kind"], row["door_id"])
        return (
            row["seq"] == self.last + 1
            and (values[_DEVICE], values[_SEQ], values[_KIND], values[_DOOR]) == columns
            and values[_PREV] == self.head
        )


async def check_chain(pool: Pool, tenant: Tenant, device: DeviceId) -> ChainReport:
    """Verify every stored event of a device.

    Raises:
        CloudError: DEVICE_UNKNOWN.
    """
    async with (
        pool.acquire(timeout=ACQUIRE_S) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        mark = await connection.fetchrow(
            "SELECT epoch, mark, head FROM devices WHERE tenant_id = $1 AND id = $2", tenant, device
        )
        if mark is None:
            raise CloudError(Reason.DEVICE_UNKNOWN, f"Institution {tenant} has no device {device!r}.")
        epochs = await connection.fetch(
            "SELECT epoch, mark, head FROM closed_epochs WHERE tenant_id = $1 AND device_id = $2 ORDER BY closed_at",
            tenant,
            device,
        )
        closed = [(row, await _walk(connection, tenant, device, row)) for row in epochs]
        walk = await _walk(connection, tenant, device, mark)
    return ChainReport(
        ok=all(each.broken_at is None for each in (walk, *(walk for _, walk in closed))),
        epoch=None if mark["epoch"] is None else mark["epoch"].hex(),
        events=walk.events,
        first=min(walk.events, 1),
        last=walk.last,
        head=walk.head.hex(),
        broken_at=walk.broken_at,
        closed=[_closed(row, walk) for row, walk in closed],
    )


async def _walk(connection: Connection, tenant: Tenant, device: DeviceId, mark: asyncpg.Record) -> Walk:
    walk = Walk(device)
    if mark["epoch"] is None:
        return walk
    rows = await connection.cursor(
        "SELECT seq, kind, door_id, raw FROM events"
        " WHERE tenant_id = $1 AND device_id = $2 AND epoch = $3 ORDER BY seq",
        tenant,
        device,
        mark["epoch"],
    )
    while page := await rows.fetch(_FETCH, timeout=_FETCH_S):
        for row in page:
            walk.step(row)
    walk.end(durable=mark["mark"], head=mark["head"])
    return walk


def _closed(row: asyncpg.Record, walk: Walk) -> ClosedChain:
    return ClosedChain(
        epoch=row["epoch"].hex(),
        ok=walk.broken_at is None,
        events=walk.events,
        last=walk.last,
        broken_at=walk.broken_at,
    )
