"""The fault suite's oracle finds every fault that is planted in a database that it found in order before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from doorward.fleet.journal import DoorRecord
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from tests.support.oracle import Report, Verdict, consult
from wire.event import CHAIN_START, chain_hash
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.door_batches import Journal

EVENTS = 12
DELETE_ONE = "DELETE FROM events WHERE tenant_id = $1 AND device_id = $2 AND seq = $3"
ALTER_ONE = "UPDATE events SET raw = $4 WHERE tenant_id = $1 AND device_id = $2 AND seq = $3"
REPEAT_ONE = (
    "INSERT INTO events (tenant_id, device_id, epoch, received_at, seq, at, kind, door_id, reason, credential, raw)"
    " SELECT tenant_id, device_id, epoch, received_at, seq, at, kind, door_id, reason, credential, raw FROM events"
    " WHERE tenant_id = $1 AND device_id = $2 AND seq = $3"
)


class Stored:
    """A journal that the cloud has stored, and the device's record of it."""

    def __init__(self, parts: Parts, twin: Twin, journal: Journal) -> None:
        self.parts = parts
        self.twin = twin
        self.journal = journal

    def record(self, *, durable: int = EVENTS) -> DoorRecord:
        """Give what the device knows of itself; every third event moved the lock."""
        return DoorRecord(
            tenant=self.twin.identity.tenant,
            device=self.twin.identity.device,
            epoch=self.journal.epoch,
            hashes=b"".join(map(chain_hash, self.journal.events)),
            unlocks=tuple(range(1, len(self.journal.events) + 1, 3)),
            durable=durable,
        )

    async def plant(self, statement: str, *given: object) -> None:
        """Change the rows of this device."""
        await self.parts.pool.execute(statement, self.twin.identity.tenant, self.twin.identity.device, *given)

    async def verdict(self, record: DoorRecord | None = None) -> Verdict:
        return (await self.report(record)).verdicts[0]

    async def report(self, record: DoorRecord | None = None) -> Report:
        async with self.parts.pool.acquire() as connection:
            return await consult(connection, [record or self.record()])


@pytest.fixture
async def stored(database_url: str, tmp_path: Path) -> AsyncIterator[Stored]:
    async with cloud_parts(database_url, tmp_path) as parts:
        twin = await parts.make_twin()
        journal = twin.journal()
        journal.grow(EVENTS)
        await parts.ingest.submit(twin.identity, journal.batch(1, EVENTS))
        found = Stored(parts, twin, journal)
        assert (await found.report()).complete
        yield found


async def test_what_is_in_order_is_found_in_order(stored: Stored):
    report = await stored.report()
    assert (report.events, report.lost, report.duplicate, report.broken) == (EVENTS, 0, 0, 0)
    assert report.sentences() == []


async def test_a_lost_event_is_found(stored: Stored):
    await stored.plant(DELETE_ONE, 5)
    verdict = await stored.verdict()
    assert not verdict.ok
    assert (verdict.lost, verdict.missing, verdict.unlocks_missing) == ((5,), (), ())
    assert "lost 5" in verdict.sentence()


async def test_a_lost_end_is_found(stored: Stored):
    await stored.plant("DELETE FROM events WHERE tenant_id = $1 AND device_id = $2 AND seq > $3", 9)
    report = await stored.report()
    assert report.verdicts[0].lost == (10, 11, 12)
    assert report.lost == 3
    assert report.verdicts[0].mark_wrong == "the mark is 12, the rows end at 9"


async def test_an_acknowledged_event_that_was_rolled_back_with_its_mark_is_found(stored: Stored):
    await stored.plant("DELETE FROM events WHERE tenant_id = $1 AND device_id = $2 AND seq > $3", 9)
    await stored.plant(
        "UPDATE devices SET mark = 9, head = $3 WHERE tenant_id = $1 AND id = $2", stored.journal.head_at(9)
    )
    verdict = await stored.verdict()
    assert (verdict.lost, verdict.mark_wrong) == ((10, 11, 12), None)


async def test_a_whole_journal_that_is_gone_is_found(stored: Stored):
    await stored.plant("DELETE FROM events WHERE tenant_id = $1 AND device_id = $2")
    await stored.plant("UPDATE devices SET mark = 0, head = NULL, epoch = NULL WHERE tenant_id = $1 AND id = $2")
    verdict = await stored.verdict()
    assert verdict.lost == tuple(range(1, EVENTS + 1))


async def test_what_was_never_acknowledged_is_missing_and_not_lost(stored: Stored):
    stored.journal.grow(2)
    report = await stored.report(replace(stored.record(), unlocks=(1,)))
    assert report.verdicts[0].missing == (13, 14)
    assert (report.ok, report.complete, report.lost) == (True, False, 0)


async def test_an_unlock_whose_event_is_nowhere_is_found(stored: Stored):
    stored.journal.grow(1)
    verdict = await stored.verdict(stored.record())  # event 13 moved the lock, and is not stored
    assert (verdict.ok, verdict.unlocks_missing) == (False, (13,))


async def test_a_duplicate_is_found(stored: Stored):
    await stored.plant(REPEAT_ONE, 7)
    report = await stored.report()
    assert (report.verdicts[0].duplicate, report.duplicate, report.ok) == ((7,), 1, False)


async def test_an_event_that_the_device_never_wrote_is_found(stored: Stored):
    stored.journal.grow(1)
    await stored.parts.ingest.submit(stored.twin.identity, stored.journal.batch(13, 13))
    shorter = replace(stored.record(), hashes=stored.record().hashes[:-32], unlocks=())
    verdict = await stored.verdict(shorter)
    assert (verdict.invented, verdict.ok) == ((13,), False)


async def test_an_altered_event_is_found_by_its_hash_and_breaks_the_chain(stored: Stored):
    other = stored.twin.journal(start_ms=1)
    other.grow(EVENTS, kind=EventKind.EGRESS)
    await stored.plant(ALTER_ONE, 6, other.events[5])
    verdict = await stored.verdict()
    assert verdict.different == (6,)
    assert verdict.broken == (6, 7)


async def test_an_altered_history_that_chains_in_itself_is_found(stored: Stored):
    other = stored.twin.journal(start_ms=1)
    other.grow(EVENTS)
    for seq, data in enumerate(other.events, start=1):
        await stored.plant(ALTER_ONE, seq, data)
    await stored.plant("UPDATE devices SET head = $3 WHERE tenant_id = $1 AND id = $2", other.head)
    verdict = await stored.verdict()
    assert verdict.broken == ()
    assert verdict.different == tuple(range(1, EVENTS + 1))
    assert verdict.mark_wrong == "the head at 12 is not the device's"


async def test_bytes_that_are_no_event_are_found(stored: Stored):
    await stored.plant(ALTER_ONE, 3, b"rubbish")
    assert (await stored.verdict()).broken == (3,)


async def test_two_events_in_each_others_place_are_found(stored: Stored):
    for seq, other in ((3, 4), (4, 3)):
        await stored.plant(ALTER_ONE, seq, stored.journal.events[other - 1])
    verdict = await stored.verdict()
    assert set(verdict.broken) >= {3, 4}
    assert verdict.different == (3, 4)


async def test_a_mark_that_the_rows_do_not_bear_out_is_found(stored: Stored):
    await stored.plant("UPDATE devices SET mark = 11 WHERE tenant_id = $1 AND id = $2")
    assert (await stored.verdict()).mark_wrong == "the mark is 11, the rows end at 12"


async def test_a_head_that_is_not_the_devices_is_found(stored: Stored):
    await stored.plant("UPDATE devices SET head = $3 WHERE tenant_id = $1 AND id = $2", CHAIN_START)
    verdict = await stored.verdict()
    assert (verdict.ok, verdict.mark_wrong) == (False, "the head at 12 is not the device's")


async def test_a_closed_epoch_is_judged_like_the_present_one(stored: Stored):
    second = stored.twin.journal(epoch=b"epoch-02")
    second.grow(2)
    await stored.plant("UPDATE devices SET accepted_epoch = $3 WHERE tenant_id = $1 AND id = $2", second.epoch)
    await stored.parts.ingest.submit(stored.twin.identity, second.batch(1, 2))
    assert (await stored.report()).complete
    await stored.plant(DELETE_ONE + " AND epoch = $4", 2, stored.journal.epoch)
    assert (await stored.verdict()).lost == (2,)
