"""Writing when devices were heard, beside the ingest, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from cloud.devices.last_seen import LastSeen
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from cloud.database import Connection

_LOCK = "SELECT FROM devices WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE"


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def _make_sorted(parts: Parts, count: int) -> list[Twin]:
    """Make devices whose rows lie in the table in the opposite of the order in which they are locked."""
    tenant = await parts.make_tenant()
    made = [await parts.make_device(tenant) for _ in range(count)]
    ids = await parts.pool.fetch("SELECT id FROM devices WHERE tenant_id = $1 ORDER BY id DESC", tenant)
    for row in ids:
        await parts.pool.execute("UPDATE devices SET mark = mark WHERE tenant_id = $1 AND id = $2", tenant, row["id"])
    by_id = {twin.identity.device: twin for twin in made}
    return [by_id[row["id"]] for row in reversed(ids)]


def _heard(parts: Parts, twins: list[Twin]) -> LastSeen:
    """Note devices in the opposite of the order in which they are locked."""
    last_seen = LastSeen(parts.pool, now=parts.clock.now)
    for twin in reversed(twins):
        last_seen.touch(twin.identity.tenant, twin.identity.device)
    return last_seen


async def _lock(connection: Connection, twin: Twin) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await connection.execute(_LOCK, twin.identity.tenant, twin.identity.device)


async def _last_seen(parts: Parts, twins: list[Twin]) -> list[datetime | None]:
    query = "SELECT last_seen FROM devices WHERE tenant_id = $1 AND id = $2"
    return [await parts.pool.fetchval(query, twin.identity.tenant, twin.identity.device) for twin in twins]


async def test_writing_locks_devices_in_the_order_of_the_ingest(parts: Parts):
    first, second, third = twins = await _make_sorted(parts, 3)
    last_seen = _heard(parts, twins)
    async with parts.pool.acquire() as connection, connection.transaction():
        await _lock(connection, first)
        flushing = asyncio.create_task(last_seen.flush())
        await parts.until_waiting()
        await _lock(connection, second)
        await _lock(connection, third)
        await connection.execute("UPDATE devices SET mark = 7 WHERE id = $1", first.identity.device)
    await flushing
    assert await _last_seen(parts, twins) == [parts.clock.now()] * 3
    assert await parts.pool.fetchval("SELECT mark FROM devices WHERE id = $1", first.identity.device) == 7


async def test_a_later_time_replaces_what_was_written_and_others_keep_theirs(parts: Parts):
    twins = await _make_sorted(parts, 2)
    began = parts.clock.now()
    await _heard(parts, twins).flush()
    parts.clock.advance(timedelta(seconds=5))
    await _heard(parts, twins[:1]).flush()
    assert await _last_seen(parts, twins) == [began + timedelta(seconds=5), began]


async def test_processes_that_write_the_same_devices_at_once_write_them_all(parts: Parts):
    twins = await _make_sorted(parts, 100)
    chance = random.Random(3)
    with capture_logs() as logs:
        for _ in range(10):
            parts.clock.advance(timedelta(seconds=5))
            writing = [_heard(parts, chance.sample(twins, len(twins))) for _ in range(4)]
            await asyncio.gather(*(last_seen.flush() for last_seen in writing))
            assert await _last_seen(parts, twins) == [parts.clock.now()] * len(twins)
    assert logs == []
