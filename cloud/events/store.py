"""One transaction: lock the marks, add the rows, move the marks, commit.

Invariant: rows, marks and quarantines change together or not at all; device rows are locked in one order everywhere.
Must not: answer anybody; what is returned is committed.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Final

from cloud.database import Connection
from cloud.events.admission import Alarm, DeviceKey, Mark, Older, Plan, after_the_end, arrange, broken
from cloud.events.reading import ReadBatch
from cloud.events.rows import COLUMNS, copy_stream
from wire.event import CHAIN_START
from wire.names import DeviceId, Tenant

_COPY_BYTES: Final = 1024 * 1024
"""Piece by which a COPY is handed to the connection, so that its buffer stays small."""

_LOCK: Final = """
    SELECT devices.tenant_id, devices.id, devices.epoch, devices.mark, devices.head, devices.backed_up,
        devices.accepted_epoch, devices.quarantined_at IS NOT NULL AS quarantined
    FROM devices JOIN unnest($1::text[], $2::text[]) AS asked (tenant_id, id) USING (tenant_id, id)
    WHERE devices.status = 'active'
    ORDER BY devices.tenant_id, devices.id FOR NO KEY UPDATE OF devices"""
_CLOSED: Final = """
    SELECT tenant_id, device_id, epoch, mark FROM closed_epochs
    JOIN unnest($1::text[], $2::text[]) AS asked (tenant_id, device_id) USING (tenant_id, device_id)"""
_CLOSE: Final = """
    INSERT INTO closed_epochs (tenant_id, device_id, epoch, mark, head, closed_at) VALUES ($1, $2, $3, $4, $5, $6)"""
_MOVE: Final = """
    UPDATE devices SET epoch = moved.epoch, mark = moved.mark, head = moved.head, backed_up = moved.backed_up,
        accepted_epoch = CASE WHEN accepted_epoch <> moved.epoch THEN accepted_epoch END
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bigint[])
        AS moved (tenant_id, id, epoch, mark, head, backed_up)
    WHERE devices.tenant_id = moved.tenant_id AND devices.id = moved.id"""
_QUARANTINE: Final = """
    UPDATE devices SET quarantined_at = $3, quarantine_reason = $4, quarantine_epoch = $5
    WHERE tenant_id = $1 AND id = $2"""
_STORED: Final = """
    SELECT asked.place, events.raw
    FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[], $5::bigint[])
        AS asked (place, tenant_id, device_id, epoch, seq)
    JOIN events USING (tenant_id, device_id, epoch, seq)"""


async def store(connection: Connection, batches: Sequence[ReadBatch], *, now: datetime) -> Plan:
    """Store what is new of these batches in one transaction.

    Args:
        connection: outside a transaction; the partitions of the batches' days exist.
        batches: in order of arrival.
        now: for the record of closed epochs and quarantines.

    Returns:
        the plan as carried out.

    Raises:
        asyncpg.PostgresError: nothing was changed.
    """
    async with connection.transaction():
        marks = await _lock(connection, {(batch.tenant, batch.device) for batch in batches})
        await _add_closed(connection, marks, batches)
        plan = arrange(marks, batches)
        if plan.runs:
            await connection.copy_to_table(
                "events", source=_pieces(copy_stream(plan.runs)), columns=COLUMNS, format="binary"
            )
        await _compare(connection, plan, batches, marks)
        for (tenant, device), mark in plan.closing:
            await connection.execute(_CLOSE, tenant, device, mark.epoch, mark.durable, mark.head, now)
        if plan.marks:
            await _move(connection, plan.marks)
        for (tenant, device), alarm in plan.alarms.items():
            await connection.execute(_QUARANTINE, tenant, device, now, alarm.reason.name, alarm.epoch)
    return plan


async def _lock(connection: Connection, keys: set[DeviceKey]) -> dict[DeviceKey, Mark]:
    rows = await connection.fetch(_LOCK, [tenant for tenant, _ in keys], [device for _, device in keys])
    return {
        (Tenant(row["tenant_id"]), DeviceId(row["id"])): Mark(
            epoch=row["epoch"],
            durable=row["mark"],
            head=row["head"] or CHAIN_START,
            backed_up=row["backed_up"],
            accepted=row["accepted_epoch"],
            quarantined=row["quarantined"],
        )
        for row in rows
    }


async def _add_closed(connection: Connection, marks: dict[DeviceKey, Mark], batches: Sequence[ReadBatch]) -> None:
    """Read the closed epochs of those devices that speak of another than their open one."""
    keys = {
        (batch.tenant, batch.device) for batch in batches if _is_other(marks.get((batch.tenant, batch.device)), batch)
    }
    if not keys:
        return
    closed: dict[DeviceKey, dict[bytes, int]] = {}
    for row in await connection.fetch(_CLOSED, [tenant for tenant, _ in keys], [device for _, device in keys]):
        closed.setdefault((Tenant(row["tenant_id"]), DeviceId(row["device_id"])), {})[row["epoch"]] = row["mark"]
    for key, ends in closed.items():
        marks[key] = replace(marks[key], closed=ends)


def _is_other(mark: Mark | None, batch: ReadBatch) -> bool:
    return mark is not None and mark.epoch is not None and mark.epoch != batch.epoch


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _COPY_BYTES):
        yield data[start : start + _COPY_BYTES]


async def _compare(
    connection: Connection, plan: Plan, batches: Sequence[ReadBatch], marks: Mapping[DeviceKey, Mark]
) -> None:
    """Refuse a batch that repeats old numbers with other events, and quarantine its device.

    Rows that retention has removed cannot be compared; the number alone says that they were stored. What was stored of
    a closed journal is refused without more ado: whoever carried it once can bring it again.
    """
    older = {place: verdict for place, verdict in enumerate(plan.verdicts) if isinstance(verdict, Older)}
    if not older:
        return
    asked = [(place, batches[place], verdict.seq) for place, verdict in older.items()]
    rows = await connection.fetch(
        _STORED,
        [place for place, _, _ in asked],
        [batch.tenant for _, batch, _ in asked],
        [batch.device for _, batch, _ in asked],
        [batch.epoch for _, batch, _ in asked],
        [seq for _, _, seq in asked],
    )
    now = {**marks, **plan.marks}
    for place, verdict in older.items():
        if verdict.closed:
            plan.verdicts[place] = after_the_end()
    for row in rows:
        place = row["place"]
        if hashlib.sha256(row["raw"]).digest() != older[place].head:
            batch = batches[place]
            key = (batch.tenant, batch.device)
            refusal = plan.verdicts[place] = after_the_end() if older[place].closed else broken(now[key].durable)
            plan.alarms.setdefault(key, Alarm(refusal.reason, batch.epoch, batch.first))


async def _move(connection: Connection, marks: Mapping[DeviceKey, Mark]) -> None:
    await connection.execute(
        _MOVE,
        [tenant for tenant, _ in marks],
        [device for _, device in marks],
        [mark.epoch for mark in marks.values()],
        [mark.durable for mark in marks.values()],
        [mark.head for mark in marks.values()],
        [mark.backed_up for mark in marks.values()],
    )


def touched_days(batches: Sequence[ReadBatch]) -> set[int]:
    """Give the days whose partitions the batches need."""
    return set(chain.from_iterable(batch.days for batch in batches))
