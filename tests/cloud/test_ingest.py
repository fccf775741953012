"""Ingest on a real PostgreSQL: what is acknowledged is stored once, whatever arrives."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from cloud.errors import CloudError, Reason
from cloud.events.ingest import MAX_WAITING_A_DEVICE, MAX_WAITING_BYTES, STUCK_S, Ingest, JournalConflict
from cloud.events.metrics import IngestMetrics
from cloud.issuing.keys import KeyRole
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from tests.support.clouds import reachable_folder
from tests.support.door_batches import NOW_MS, Journal
from tests.support.waiting import DEADLINE_S
from wire.batch import Acknowledgement, open_acknowledgement
from wire.keys import Ed25519Signer, Signer
from wire.names import EventKind, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def send(parts: Parts, twin: Twin, body: bytes) -> Acknowledgement:
    answer = await parts.ingest.submit(twin.identity, body)
    return open_acknowledgement(answer, await parts.acknowledger(twin))


async def refusal(parts: Parts, twin: Twin, body: bytes) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await parts.ingest.submit(twin.identity, body)
    return caught.value


def grown(twin: Twin, count: int, *, epoch: bytes = b"epoch-01") -> Journal:
    made = twin.journal(epoch=epoch)
    made.grow(count)
    return made


async def test_an_acknowledgement_names_the_last_stored_event_and_its_hash(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 5)
    answer = await send(parts, twin, journal.batch(1, 5))
    assert (answer.device, answer.epoch) == (twin.identity.device, journal.epoch)
    assert (answer.durable, answer.head, answer.backed_up) == (5, journal.head, 0)
    assert answer.issued_at_ms == parts.clock.now().timestamp() * 1000
    assert await parts.stored(twin) == journal.events


async def test_a_batch_sent_twice_is_stored_once_and_acknowledged_twice(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 5)
    first = await send(parts, twin, journal.batch(1, 5))
    assert await send(parts, twin, journal.batch(1, 5)) == first
    assert await parts.stored(twin) == journal.events


async def test_an_old_batch_is_acknowledged_with_the_newest_mark(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 9)
    await send(parts, twin, journal.batch(1, 9))
    assert (await send(parts, twin, journal.batch(2, 4))).durable == 9
    assert await parts.stored(twin) == journal.events


async def test_the_same_batch_many_times_at_once_is_stored_once(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 50)
    answers = await asyncio.gather(*(send(parts, twin, journal.batch(1, 50)) for _ in range(MAX_WAITING_A_DEVICE)))
    assert {answer.durable for answer in answers} == {50}
    assert await parts.stored(twin) == journal.events


async def test_two_services_given_the_same_batches_at_once_store_them_once(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 200)
    async with another_service(parts) as other:
        for first in range(1, 200, 20):
            body = journal.batch(first, first + 19)
            await asyncio.gather(parts.ingest.submit(twin.identity, body), other.submit(twin.identity, body))
    assert await parts.stored(twin) == journal.events


@asynccontextmanager
async def another_service(
    parts: Parts, *, stuck_s: float = STUCK_S, max_waiting_bytes: int = MAX_WAITING_BYTES
) -> AsyncIterator[Ingest]:
    metrics = IngestMetrics(CollectorRegistry())
    signers = parts.issuing.acknowledgement_signer
    other = Ingest(
        parts.pool, signers, metrics, now=parts.clock.now, stuck_s=stuck_s, max_waiting_bytes=max_waiting_bytes
    )
    worker = asyncio.create_task(other.run())
    try:
        yield other
    finally:
        worker.cancel()
        await asyncio.wait((worker,), timeout=DEADLINE_S)


async def test_a_gap_is_refused_with_the_number_to_go_on_from(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 10)
    await send(parts, twin, journal.batch(1, 3))
    error = await refusal(parts, twin, journal.batch(5, 10))
    assert isinstance(error, JournalConflict)
    assert (error.reason, error.durable) == (Reason.SEQUENCE_GAP, 3)
    assert await parts.stored(twin) == journal.events[:3]


async def test_batches_of_two_epochs_at_once_are_answered_each_for_its_own_journal(parts: Parts):
    twin = await parts.make_twin()
    old, new = grown(twin, 4), grown(twin, 3, epoch=b"epoch-02")
    await send(parts, twin, old.batch(1, 1))
    await parts.pool.execute("UPDATE devices SET accepted_epoch = $2 WHERE id = $1", twin.identity.device, new.epoch)
    answers = await asyncio.gather(send(parts, twin, old.batch(1, 4)), send(parts, twin, new.batch(1, 3)))
    assert [(answer.epoch, answer.durable) for answer in answers] == [(old.epoch, 4), (new.epoch, 3)]


async def test_the_backed_up_mark_is_told_to_the_door(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 6)
    await send(parts, twin, journal.batch(1, 4))
    await parts.pool.execute("UPDATE devices SET backed_up = 3 WHERE id = $1", twin.identity.device)
    assert (await send(parts, twin, journal.batch(5, 6))).backed_up == 3


async def test_a_device_that_was_revoked_meanwhile_is_refused(parts: Parts):
    twin = await parts.make_twin()
    await parts.pool.execute("UPDATE devices SET status = 'revoked' WHERE id = $1", twin.identity.device)
    assert (await refusal(parts, twin, grown(twin, 1).batch(1, 1))).reason is Reason.DEVICE_REVOKED


async def test_a_bad_batch_does_not_spoil_those_that_arrive_with_it(parts: Parts):
    good, gapped, bad = [await parts.make_twin() for _ in range(3)]
    journal = grown(good, 5)
    answers = await asyncio.gather(
        parts.ingest.submit(good.identity, journal.batch(1, 5)),
        parts.ingest.submit(gapped.identity, grown(gapped, 5).batch(2, 5)),
        parts.ingest.submit(bad.identity, b"garbage"),
        return_exceptions=True,
    )
    reasons = [answer.reason for answer in answers if isinstance(answer, CloudError)]
    assert reasons == [Reason.SEQUENCE_GAP, Reason.BATCH_INVALID]
    assert await parts.stored(good) == journal.events


async def test_a_row_that_the_database_refuses_costs_only_its_own_batch(parts: Parts):
    good, bad = await parts.make_twin(), await parts.make_twin()
    journal, refused = grown(good, 3), bad.journal()
    refused.grow(1, kind=EventKind.FIRE)
    await send(parts, good, journal.batch(1, 1))
    await parts.pool.execute(f"ALTER TABLE events ADD CONSTRAINT no_fire CHECK (kind <> {EventKind.FIRE:d})")
    answers = await asyncio.gather(
        parts.ingest.submit(bad.identity, refused.batch(1, 1)),
        parts.ingest.submit(good.identity, journal.batch(2, 3)),
        return_exceptions=True,
    )
    await parts.pool.execute("ALTER TABLE events DROP CONSTRAINT no_fire")
    assert isinstance(answers[0], CloudError)
    assert answers[0].reason is Reason.BATCH_INVALID
    assert await parts.stored(good) == journal.events
    assert await parts.stored(bad) == []


async def test_a_partition_that_somebody_dropped_is_made_again(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 4)
    await send(parts, twin, journal.batch(1, 2))
    for name in await partitions(parts):
        await parts.pool.execute(f"DROP TABLE {name}")
    assert (await send(parts, twin, journal.batch(3, 4))).durable == 4
    assert await parts.stored(twin) == journal.events[2:]


async def partitions(parts: Parts) -> list[str]:
    rows = await parts.pool.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits ORDER BY 1")
    return [row["name"] for row in rows if "idx" not in row["name"]]


async def test_events_go_to_the_partition_of_their_day(parts: Parts):
    twin = await parts.make_twin()
    journal = twin.journal(start_ms=NOW_MS - int(timedelta(days=2) / timedelta(milliseconds=1)))
    journal.grow(1)
    journal.start_ms = NOW_MS
    journal.grow(1)
    await send(parts, twin, journal.batch(1, 2))
    rows = await parts.pool.fetch(
        "SELECT tableoid::regclass::text AS name FROM events WHERE device_id = $1 ORDER BY seq", twin.identity.device
    )
    assert [row["name"] for row in rows] == ["events_20251007", "events_20251009"]


async def test_two_services_that_need_the_same_new_day_both_get_it(parts: Parts):
    one, two = await parts.make_twin(), await parts.make_twin()
    for name in await partitions(parts):
        await parts.pool.execute(f"DROP TABLE {name}")
    async with another_service(parts) as other:
        await asyncio.gather(
            parts.ingest.submit(one.identity, grown(one, 3).batch(1, 3)),
            other.submit(two.identity, grown(two, 3).batch(1, 3)),
        )
    assert len(await parts.stored(one)) == len(await parts.stored(two)) == 3


async def test_one_device_may_have_only_so_many_batches_waiting(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, MAX_WAITING_A_DEVICE)
    async with stalled(parts, twin):
        waiting = [asyncio.create_task(send(parts, twin, journal.batch(1, 1)))]
        await parts.until_waiting()
        sends = (send(parts, twin, journal.batch(1, last)) for last in range(2, MAX_WAITING_A_DEVICE + 1))
        waiting += [asyncio.create_task(each) for each in sends]
        await on_their_way(parts.ingest, MAX_WAITING_A_DEVICE)
        error = await refusal(parts, twin, journal.batch(1, 1))
    assert (error.reason, error.retry_after_s) == (Reason.INGEST_BUSY, 1)
    await asyncio.gather(*waiting)
    assert parts.counted("doorward_ingest_waiting_batches") == 0
    assert await parts.stored(twin) == journal.events


@asynccontextmanager
async def stalled(parts: Parts, twin: Twin) -> AsyncIterator[None]:
    """Hold the device's row, so that the ingest's transaction waits."""
    async with parts.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM devices WHERE id = $1 FOR UPDATE", twin.identity.device)
        yield


async def test_a_full_queue_sends_devices_away_for_a_while(parts: Parts):
    held, other = await parts.make_twin(), await parts.make_twin()
    first, second = grown(held, 5), grown(other, 5)
    room = len(first.batch(1, 5)) + 2 * len(second.batch(1, 4))
    async with another_service(parts, max_waiting_bytes=room) as small:
        async with stalled(parts, held):
            sending = asyncio.create_task(small.submit(held.identity, first.batch(1, 5)))
            await parts.until_waiting()
            waiting = asyncio.create_task(small.submit(other.identity, second.batch(1, 4)))
            await on_their_way(small, 2)
            with pytest.raises(CloudError) as caught:
                await small.submit(other.identity, second.batch(1, 5))
        await asyncio.gather(sending, waiting)
        assert (caught.value.reason, caught.value.retry_after_s) == (Reason.INGEST_BUSY, 1)
        await on_their_way(small, 0)
        await small.submit(other.identity, second.batch(1, 5))
    assert await parts.stored(held) == first.events
    assert await parts.stored(other) == second.events


async def on_their_way(service: Ingest, count: int) -> None:
    """Wait until so many batches are not answered yet."""
    async with asyncio.timeout(DEADLINE_S):
        found = await service.check()
        while found.value != count:
            await asyncio.sleep(0.005)
            found = await service.check()


async def test_a_database_that_is_away_is_answered_with_try_again(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 3)
    await send(parts, twin, journal.batch(1, 1))
    async with stalled(parts, twin):
        sending = asyncio.create_task(send(parts, twin, journal.batch(2, 3)))
        for pid in await parts.until_waiting():
            await parts.pool.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(CloudError) as caught:
            await sending
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.DATABASE_UNAVAILABLE, 2)
    assert await parts.stored(twin) == journal.events[:1]
    assert (await send(parts, twin, journal.batch(2, 3))).durable == 3


class BrokenSigner:
    """A key whose device has failed."""

    public_key = Ed25519Signer(bytes(32)).public_key

    def sign(self, message: bytes) -> bytes:
        raise RuntimeError(f"no answer for {len(message)} bytes")


async def test_an_unexpected_fault_costs_its_group_and_not_the_service(parts: Parts):
    twin, healthy = await parts.make_twin(), await parts.make_twin()
    keyring = parts.issuing.keyring

    async def signers(tenant: Tenant) -> Signer:
        broken = tenant == twin.identity.tenant
        return BrokenSigner() if broken else await keyring.signer(tenant, KeyRole.ACKNOWLEDGEMENT)

    service = Ingest(parts.pool, signers, IngestMetrics(CollectorRegistry()), now=parts.clock.now)
    worker = asyncio.create_task(service.run())
    with pytest.raises(CloudError) as caught:
        await service.submit(twin.identity, grown(twin, 2).batch(1, 2))
    assert caught.value.reason is Reason.INTERNAL
    await service.submit(healthy.identity, grown(healthy, 2).batch(1, 2))
    worker.cancel()
    await asyncio.wait((worker,), timeout=DEADLINE_S)
    assert (await send(parts, twin, grown(twin, 2).batch(1, 2))).durable == 2


async def test_a_stop_answers_those_who_wait(database_url: str, tmp_path: Path):
    async with cloud_parts(database_url, tmp_path) as parts:
        twin = await parts.make_twin()
        async with stalled(parts, twin):
            sending = asyncio.create_task(parts.ingest.submit(twin.identity, grown(twin, 1).batch(1, 1)))
            await parts.until_waiting()
            other = asyncio.create_task(parts.ingest.submit(twin.identity, grown(twin, 2).batch(1, 2)))
            await on_their_way(parts.ingest, 2)
            stop_worker(parts)
            answers = await asyncio.gather(sending, other, return_exceptions=True)
    assert [answer.reason for answer in answers if isinstance(answer, CloudError)] == [Reason.INGEST_BUSY] * 2


def stop_worker(_parts: Parts) -> None:
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "Ingest.run":
            task.cancel()


async def test_the_health_check_tells_when_a_batch_is_stuck(parts: Parts):
    twin = await parts.make_twin()
    async with another_service(parts, stuck_s=0.0) as impatient:
        assert (await impatient.check()).ok
        async with stalled(parts, twin):
            sending = asyncio.create_task(impatient.submit(twin.identity, grown(twin, 1).batch(1, 1)))
            await parts.until_waiting()
            found = await impatient.check()
        await sending
        assert not found.ok
        assert "waited" in str(found.detail)
        assert (await impatient.check()).ok


_CUTS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)).map(lambda ends: (min(ends), max(ends))), max_size=8)


@settings(max_examples=40)
@given(sent=_CUTS, together=st.booleans())
def test_any_order_of_any_cuts_ends_with_exactly_the_journal(
    sent: list[tuple[int, int]],
    together: bool,  # noqa: FBT001 - drawn by name
    database_url: str,
):
    asyncio.run(send_all(database_url, sent, together=together))


async def send_all(database_url: str, sent: list[tuple[int, int]], *, together: bool) -> None:
    """Send pieces in some order, one by one or at once, then do as a door does: rewind to the mark and go on."""
    folder = reachable_folder()
    async with cloud_parts(database_url, folder) as parts:
        twin = await parts.make_twin()
        journal = grown(twin, 12)
        pieces = [parts.ingest.submit(twin.identity, journal.batch(first, last)) for first, last in sent]
        if together:
            await asyncio.gather(*pieces, return_exceptions=True)
        else:
            for piece in pieces:
                await asyncio.gather(piece, return_exceptions=True)
        durable = await parts.pool.fetchval("SELECT mark FROM devices WHERE id = $1", twin.identity.device)
        assert await parts.stored(twin) == journal.events[:durable]
        if durable < 12:
            assert (await send(parts, twin, journal.batch(durable + 1, 12))).head == journal.head
        assert await parts.stored(twin) == journal.events


async def test_rows_say_what_the_events_say(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 1)
    await send(parts, twin, journal.batch(1, 1))
    row = await parts.pool.fetchrow("SELECT * FROM events WHERE device_id = $1", twin.identity.device)
    assert isinstance(row, asyncpg.Record)
    assert dict(row) == {
        "tenant_id": twin.identity.tenant,
        "device_id": twin.identity.device,
        "epoch": journal.epoch,
        "received_at": parts.clock.now(),
        "seq": 1,
        "at": parts.clock.now() - timedelta(hours=1) + timedelta(seconds=1),
        "kind": EventKind.ACCESS_GRANTED,
        "door_id": "main-entrance",
        "reason": None,
        "credential": b"\0\0\0\0\0\7",
        "raw": journal.events[0],
    }
