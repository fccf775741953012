"""A device whose journal contradicts what is stored is held until an operator has decided, and works on meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog

from cloud.devices.quarantine import Quarantines
from cloud.errors import CloudError, Reason
from cloud.events.ingest import QUARANTINE_RETRY_S, JournalConflict
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from tests.support.clouds import Device, RunningCloud
from tests.support.door_batches import Journal
from wire.batch import Acknowledgement, open_acknowledgement
from wire.keys import P256Signer
from wire.messages import DEVICE_CHANGES, DEVICE_EVENTS, DEVICE_TRUST
from wire.names import DeviceId, EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

OTHER = b"epoch-02"


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


@pytest.fixture(name="quarantines")
def _quarantines(parts: Parts) -> Quarantines:
    return Quarantines(parts.pool, parts.registry)


async def send(parts: Parts, twin: Twin, body: bytes) -> Acknowledgement:
    return open_acknowledgement(await parts.ingest.submit(twin.identity, body), await parts.acknowledger(twin))


async def refused(parts: Parts, twin: Twin, body: bytes) -> tuple[Reason, int | None]:
    with pytest.raises(JournalConflict) as caught:
        await parts.ingest.submit(twin.identity, body)
    assert caught.value.retry_after_s in {None, QUARANTINE_RETRY_S}
    return caught.value.reason, caught.value.retry_after_s


def grown(twin: Twin, count: int, *, epoch: bytes = b"epoch-01") -> Journal:
    made = twin.journal(epoch=epoch)
    made.grow(count)
    return made


def forked(journal: Journal, at: int, count: int = 5) -> Journal:
    copied = journal.branched(at)
    copied.grow(count, kind=EventKind.ACCESS_DENIED)
    return copied


async def held(parts: Parts, twin: Twin) -> tuple[str, bytes] | None:
    row = await parts.pool.fetchrow(
        "SELECT quarantine_reason, quarantine_epoch FROM devices WHERE id = $1", twin.identity.device
    )
    assert row is not None
    return None if row[0] is None else (row[0], row[1])


HELD = (Reason.DEVICE_QUARANTINED, QUARANTINE_RETRY_S)


async def release(quarantines: Quarantines, twin: Twin, accept_epoch: bytes | None) -> None:
    await quarantines.release(twin.identity.tenant, twin.identity.device, accept_epoch=accept_epoch)


@pytest.mark.parametrize(("first", "last"), [(1, 8), (4, 5), (5, 6), (7, 8)])
async def test_a_fork_quarantines_wherever_it_shows(parts: Parts, first: int, last: int):
    twin = await parts.make_twin()
    journal = grown(twin, 6)
    await send(parts, twin, journal.batch(1, 6))
    before = parts.counted("doorward_ingest_alarms_total", reason="CHAIN_BROKEN")
    found = await refused(parts, twin, forked(journal, 4).batch(first, last))
    assert found == (Reason.CHAIN_BROKEN, QUARANTINE_RETRY_S)
    assert await held(parts, twin) == ("CHAIN_BROKEN", journal.epoch)
    assert parts.counted("doorward_ingest_alarms_total", reason="CHAIN_BROKEN") == before + 1
    journal.grow(2)
    assert await refused(parts, twin, journal.batch(7, 8)) == HELD
    assert await refused(parts, twin, journal.batch(1, 6)) == HELD
    assert await refused(parts, twin, grown(twin, 1, epoch=OTHER).batch(1, 1)) == HELD
    assert await parts.stored(twin) == journal.events[:6]
    assert parts.counted("doorward_ingest_alarms_total", reason="CHAIN_BROKEN") == before + 1


async def test_a_batch_that_breaks_in_itself_quarantines(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 6)
    torn = twin.journal()
    torn.events = [*journal.events[:3], *forked(journal, 3).events[3:6]]
    assert (await refused(parts, twin, torn.batch(1, 6)))[0] is Reason.CHAIN_BROKEN
    assert await held(parts, twin) == ("CHAIN_BROKEN", journal.epoch)
    assert await parts.stored(twin) == []


async def test_repetitions_gaps_and_a_revoked_certificate_are_no_alarm(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 9)
    await send(parts, twin, journal.batch(1, 5))
    await send(parts, twin, journal.batch(1, 5))
    await send(parts, twin, journal.batch(2, 3))
    assert await refused(parts, twin, journal.batch(8, 9)) == (Reason.SEQUENCE_GAP, None)
    assert await held(parts, twin) is None
    assert (await send(parts, twin, journal.batch(6, 9))).durable == 9


async def test_a_further_journal_does_not_shut_the_first_one_out(parts: Parts, quarantines: Quarantines):
    twin = await parts.make_twin()
    journal, clone = grown(twin, 7), grown(twin, 3, epoch=OTHER)
    await send(parts, twin, journal.batch(1, 4))
    assert await refused(parts, twin, clone.batch(1, 3)) == (Reason.EPOCH_UNEXPECTED, QUARANTINE_RETRY_S)
    assert await held(parts, twin) == ("EPOCH_UNEXPECTED", OTHER)
    assert await refused(parts, twin, journal.batch(5, 7)) == HELD
    await release(quarantines, twin, None)
    assert (await send(parts, twin, journal.batch(5, 7))).durable == 7
    assert await refused(parts, twin, clone.batch(1, 3)) == (Reason.EPOCH_UNEXPECTED, QUARANTINE_RETRY_S)
    assert await parts.stored(twin) == journal.events


async def test_an_accepted_journal_begins_once_and_closes_the_one_before(parts: Parts, quarantines: Quarantines):
    twin = await parts.make_twin()
    old, new, third = grown(twin, 7), grown(twin, 3, epoch=OTHER), grown(twin, 1, epoch=b"epoch-03")
    await send(parts, twin, old.batch(1, 4))
    await refused(parts, twin, new.batch(1, 3))
    await release(quarantines, twin, OTHER)
    assert await refused(parts, twin, new.batch(2, 3)) == (Reason.SEQUENCE_GAP, None)
    answer = await send(parts, twin, new.batch(1, 3))
    assert (answer.epoch, answer.durable) == (OTHER, 3)
    assert await refused(parts, twin, old.batch(5, 7)) == (Reason.EPOCH_CLOSED, QUARANTINE_RETRY_S)
    assert await held(parts, twin) == ("EPOCH_CLOSED", old.epoch)
    await release(quarantines, twin, None)
    assert await refused(parts, twin, third.batch(1, 1)) == (Reason.EPOCH_UNEXPECTED, QUARANTINE_RETRY_S)
    assert await parts.stored(twin) == [*old.events[:4], *new.events]


async def test_what_is_stored_of_a_closed_journal_may_come_again(parts: Parts, quarantines: Quarantines):
    """Whoever carried it once can bring it again: a broker, or a process that hung."""
    twin = await parts.make_twin()
    old, new = grown(twin, 4), grown(twin, 3, epoch=OTHER)
    await send(parts, twin, old.batch(1, 4))
    await release(quarantines, twin, OTHER)
    await send(parts, twin, new.batch(1, 2))
    for first, last in ((1, 4), (2, 3)):
        assert (await refused(parts, twin, old.batch(first, last)))[0] is Reason.EPOCH_CLOSED
    assert await held(parts, twin) is None
    assert (await send(parts, twin, new.batch(3, 3))).durable == 3
    other = forked(old, 3)
    assert (await refused(parts, twin, other.batch(1, 4)))[0] is Reason.EPOCH_CLOSED
    assert await held(parts, twin) == ("EPOCH_CLOSED", old.epoch)


async def test_a_journal_accepted_beforehand_causes_no_alarm_and_the_old_one_goes_on_until_then(
    parts: Parts, quarantines: Quarantines
):
    twin = await parts.make_twin()
    old, new = grown(twin, 4), grown(twin, 2, epoch=OTHER)
    await send(parts, twin, old.batch(1, 2))
    await release(quarantines, twin, OTHER)
    assert (await send(parts, twin, old.batch(3, 4))).durable == 4
    assert (await send(parts, twin, new.batch(1, 2))).epoch == OTHER
    assert await held(parts, twin) is None


async def test_an_acceptance_can_be_taken_back(parts: Parts, quarantines: Quarantines):
    twin = await parts.make_twin()
    await send(parts, twin, grown(twin, 2).batch(1, 2))
    await release(quarantines, twin, OTHER)
    await release(quarantines, twin, None)
    assert (await refused(parts, twin, grown(twin, 1, epoch=OTHER).batch(1, 1)))[0] is Reason.EPOCH_UNEXPECTED


async def test_what_cannot_be_released_is_told(parts: Parts, quarantines: Quarantines):
    twin = await parts.make_twin()
    old, new = grown(twin, 2), grown(twin, 2, epoch=OTHER)
    await send(parts, twin, old.batch(1, 2))
    for epoch, reason in ((None, Reason.DEVICE_NOT_QUARANTINED), (old.epoch, Reason.EPOCH_STORED)):
        with pytest.raises(CloudError) as caught:
            await release(quarantines, twin, epoch)
        assert caught.value.reason is reason
    await release(quarantines, twin, OTHER)
    await send(parts, twin, new.batch(1, 2))
    with pytest.raises(CloudError) as caught:
        await release(quarantines, twin, old.epoch)
    assert caught.value.reason is Reason.EPOCH_CLOSED
    with pytest.raises(CloudError) as caught:
        await quarantines.release(twin.identity.tenant, "nobody", accept_epoch=None)
    assert caught.value.reason is Reason.DEVICE_UNKNOWN


async def test_the_gauge_counts_devices_in_quarantine(parts: Parts, quarantines: Quarantines):
    twin = await parts.make_twin()
    before = await quarantines.count()
    await send(parts, twin, grown(twin, 2).batch(1, 2))
    await refused(parts, twin, grown(twin, 1, epoch=OTHER).batch(1, 1))
    await quarantines.count()
    assert parts.counted("doorward_devices_quarantined") == before + 1
    await release(quarantines, twin, None)
    assert parts.counted("doorward_devices_quarantined") == before
    await refused(parts, twin, grown(twin, 1, epoch=OTHER).batch(1, 1))
    await parts.pool.execute("UPDATE devices SET status = 'revoked' WHERE id = $1", twin.identity.device)
    assert await quarantines.count() == before


async def test_a_rolled_back_mark_is_no_break_the_door_sends_again(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 12)
    await send(parts, twin, journal.batch(1, 4))
    mark = await parts.pool.fetchrow("SELECT mark, head FROM devices WHERE id = $1", twin.identity.device)
    assert mark is not None
    await send(parts, twin, journal.batch(5, 9))
    # what a restored backup looks like: the rows and the mark of an earlier moment
    await parts.pool.execute("DELETE FROM events WHERE device_id = $1 AND seq > 4", twin.identity.device)
    await parts.pool.execute("UPDATE devices SET mark = $2, head = $3 WHERE id = $1", twin.identity.device, *mark)
    with pytest.raises(JournalConflict) as caught:
        await parts.ingest.submit(twin.identity, journal.batch(10, 12))
    assert (caught.value.reason, caught.value.durable) == (Reason.SEQUENCE_GAP, 4)
    assert (await send(parts, twin, journal.batch(5, 12))).durable == 12
    assert await held(parts, twin) is None
    assert await parts.stored(twin) == journal.events


async def test_two_writers_at_the_same_instant_store_one_story_and_alarm_once(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 9)
    await send(parts, twin, journal.batch(1, 3))
    copied = forked(journal, 4)
    answers = await asyncio.gather(
        *(parts.ingest.submit(twin.identity, each.batch(4, 6)) for each in (journal, copied, journal, copied)),
        return_exceptions=True,
    )
    reasons = {answer.reason for answer in answers if isinstance(answer, CloudError)}
    assert reasons <= {Reason.CHAIN_BROKEN, Reason.DEVICE_QUARANTINED}
    assert Reason.CHAIN_BROKEN in reasons
    assert await parts.stored(twin) in (journal.events[:6], copied.events[:6])


# --- over real HTTP ----------------------------------------------------------------------------------------


def journal_of(device: Device, count: int, *, epoch: bytes = b"epoch-01") -> Journal:
    made = Journal(DeviceId(device.name), P256Signer(device.key), epoch=epoch)
    made.grow(count)
    return made


async def post(device: Device, body: bytes) -> httpx.Response:
    async with device.client() as client:
        return await client.post(DEVICE_EVENTS, content=body)


async def test_a_door_in_quarantine_keeps_getting_its_documents(cloud: RunningCloud):
    device = await cloud.enrolled("held-1")
    place = f"/api/v1/institutions/held-1/devices/{device.name}/quarantine/release"
    assert (await post(device, journal_of(device, 3).batch(1, 3))).status_code == 200
    clone = journal_of(device, 2, epoch=OTHER)
    first, then = await post(device, clone.batch(1, 2)), await post(device, journal_of(device, 3).batch(1, 3))
    assert [(each.status_code, each.json()["reason"]) for each in (first, then)] == [
        (409, "EPOCH_UNEXPECTED"),
        (409, "DEVICE_QUARANTINED"),
    ]
    assert {each.headers["retry-after"] for each in (first, then)} == {str(QUARANTINE_RETRY_S)}
    async with device.client() as door:
        assert (await door.get(DEVICE_TRUST)).status_code == 200
        assert (await door.get(DEVICE_CHANGES, params={"trust": 0, "policy": 0, "wait_s": 0})).status_code == 200
    (seen,) = (await cloud.api.get("/api/v1/institutions/held-1/devices")).json()["data"]
    assert (seen["quarantine"]["reason"], seen["quarantine"]["epoch"]) == ("EPOCH_UNEXPECTED", OTHER.hex())
    assert seen["quarantine"]["since"]
    for body, status in (({}, 400), ({"acceptEpoch": "xyz"}, 400), ({"acceptEpoch": b"epoch-01".hex()}, 409)):
        assert (await cloud.api.post(place, json=body)).status_code == status
    answer = await cloud.api.post(place, json={"acceptEpoch": OTHER.hex()})
    assert (answer.status_code, answer.json()["quarantine"], answer.json()["acceptedEpoch"]) == (200, None, OTHER.hex())
    assert (await post(device, clone.batch(1, 2))).status_code == 200
    (seen,) = (await cloud.api.get("/api/v1/institutions/held-1/devices")).json()["data"]
    assert (seen["epoch"], seen["mark"], seen["acceptedEpoch"]) == (OTHER.hex(), 2, None)


async def test_the_alarm_is_told_though_nobody_waits_for_the_answer(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 6)
    await send(parts, twin, journal.batch(1, 6))
    before = parts.counted("doorward_ingest_alarms_total", reason="CHAIN_BROKEN")
    with structlog.testing.capture_logs() as log:
        async with parts.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT FROM devices WHERE id = $1 FOR UPDATE", twin.identity.device)
            sending = asyncio.create_task(parts.ingest.submit(twin.identity, forked(journal, 4).batch(4, 8)))
            await parts.until_waiting()
            sending.cancel()
            await asyncio.wait((sending,))
        assert await refused(parts, twin, journal.batch(1, 6)) == HELD
    assert parts.counted("doorward_ingest_alarms_total", reason="CHAIN_BROKEN") == before + 1
    (alarm,) = [entry for entry in log if entry["event"] == "journal_alarm"]
    assert (alarm["reason"], alarm["device"], alarm["first"]) == ("CHAIN_BROKEN", twin.identity.device, 4)
