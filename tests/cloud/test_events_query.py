"""Asking for events, and checking stored journals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import CloudError, Reason
from cloud.events.chain import check_chain
from cloud.events.models import AccessEvent, ChainReport
from cloud.events.query import Filter, list_events, read_cursor
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from tests.support.door_batches import NOW_MS, Journal
from wire.event import chain_hash
from wire.names import DeviceId, EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_START = datetime.fromtimestamp(NOW_MS / 1000, UTC)
_LAST_BYTE_INVERTED = "set_byte(raw, length(raw) - 1, get_byte(raw, length(raw) - 1) # 255)"


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def store(parts: Parts, twin: Twin, journal: Journal) -> None:
    for first in range(1, len(journal.events) + 1, 100):
        await parts.ingest.submit(twin.identity, journal.batch(first, min(first + 99, len(journal.events))))


async def stored_twin(parts: Parts, count: int) -> tuple[Twin, Journal]:
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(count)
    await store(parts, twin, journal)
    return twin, journal


async def pages(parts: Parts, twin: Twin, wanted: Filter, *, limit: int) -> list[list[AccessEvent]]:
    found, after = [], None
    while True:
        page = await list_events(parts.pool, twin.identity.tenant, wanted, after=after, limit=limit)
        found.append(page.data)
        after = page.next
        if after is None:
            return found


async def test_pages_hold_every_event_once_in_order(parts: Parts):
    twin, _ = await stored_twin(parts, 25)
    found = await pages(parts, twin, Filter(), limit=10)
    assert [[event.seq for event in page] for page in found] == [
        list(range(1, 11)),
        list(range(11, 21)),
        list(range(21, 26)),
    ]


async def test_a_last_page_that_is_full_has_no_next(parts: Parts):
    twin, _ = await stored_twin(parts, 10)
    assert [len(page) for page in await pages(parts, twin, Filter(), limit=5)] == [5, 5]


async def test_pages_do_not_split_or_repeat_events_of_the_same_instant(parts: Parts):
    tenant = await parts.make_tenant()
    twins = [await parts.make_device(tenant) for _ in range(5)]
    for twin in twins:
        journal = twin.journal()
        journal.grow(4)
        await store(parts, twin, journal)
    found = [event for page in await pages(parts, twins[0], Filter(), limit=3) for event in page]
    assert len({(event.device, event.seq) for event in found}) == len(found) == 20
    assert [event.at for event in found] == sorted(event.at for event in found)


async def test_filters_by_kind_door_and_time(parts: Parts):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(3)
    journal.grow(2, kind=EventKind.ACCESS_DENIED)
    journal.door = "side-door"
    journal.grow(2)
    await store(parts, twin, journal)
    for wanted, numbers in (
        (Filter(kind=EventKind.ACCESS_DENIED), [4, 5]),
        (Filter(door="side-door"), [6, 7]),
        (Filter(door="side-door", kind=EventKind.ACCESS_DENIED), []),
        (Filter(since=_START + timedelta(seconds=3), until=_START + timedelta(seconds=6)), [3, 4, 5]),
    ):
        (page,) = await pages(parts, twin, wanted, limit=100)
        assert [event.seq for event in page] == numbers


async def test_one_institution_never_sees_the_events_of_another(parts: Parts):
    await stored_twin(parts, 3)
    other = await parts.make_twin()
    assert await pages(parts, other, Filter(), limit=100) == [[]]


async def test_an_event_is_shown_with_names(parts: Parts):
    twin, journal = await stored_twin(parts, 1)
    ((event,),) = await pages(parts, twin, Filter(), limit=1)
    assert event == AccessEvent(
        device=twin.identity.device,
        epoch=journal.epoch.hex(),
        seq=1,
        at=_START + timedelta(seconds=1),
        received_at=parts.clock.now(),
        wall_ms=NOW_MS + 1000,
        monotonic_ms=6_000,
        boot=1,
        clock="trusted",
        door="main-entrance",
        access_point="entry",
        kind="access_granted",
        step="grant",
        reason=None,
        granted=True,
        pass_id="000000000007",
        assurance="rotating",
        reader="qr-1",
        rule="level-7",
        policy_version=3,
        trust_version=1,
        status_sequence=881,
        status_age_s=12,
        elapsed_us=2_345,
        count=None,
        prev="00" * 32,
        hash=journal.head.hex(),
    )


async def test_a_kind_that_only_newer_doors_know_keeps_its_number(parts: Parts):
    twin, journal = await stored_twin(parts, 1)
    newer = journal.events[0].replace(b"\x09\x01\x0a", b"\x09\x18\xc8\x0a")
    await parts.pool.execute("UPDATE events SET raw = $2, kind = 200 WHERE device_id = $1", twin.identity.device, newer)
    ((event,),) = await pages(parts, twin, Filter(), limit=1)
    assert event.kind == "unknown_200"


@given(st.text(max_size=200))
def test_a_cursor_that_is_not_ours_is_refused(cursor: str):
    with pytest.raises(CloudError) as caught:
        read_cursor(cursor)
    assert caught.value.reason is Reason.QUERY_INVALID


async def chain_of(parts: Parts, twin: Twin) -> ChainReport:
    return await check_chain(parts.pool, twin.identity.tenant, twin.identity.device)


async def test_a_whole_chain_is_good(parts: Parts):
    twin, journal = await stored_twin(parts, 2_500)
    assert await chain_of(parts, twin) == ChainReport(
        ok=True,
        epoch=journal.epoch.hex(),
        events=2_500,
        first=1,
        last=2_500,
        head=journal.head.hex(),
        broken_at=None,
        closed=[],
    )


async def test_a_device_without_events_has_a_good_empty_chain(parts: Parts):
    report = await chain_of(parts, await parts.make_twin())
    assert (report.ok, report.epoch, report.events, report.first, report.last) == (True, None, 0, 0, 0)


async def test_closed_epochs_are_checked_as_well(parts: Parts):
    twin, _ = await stored_twin(parts, 4)
    journal = twin.journal(epoch=b"epoch-02")
    journal.grow(2)
    await parts.pool.execute("UPDATE devices SET accepted_epoch = $2 WHERE id = $1", twin.identity.device, b"epoch-02")
    await store(parts, twin, journal)
    report = await chain_of(parts, twin)
    assert (report.ok, report.last, [(each.ok, each.last) for each in report.closed]) == (True, 2, [(True, 4)])
    await parts.pool.execute(
        "DELETE FROM events WHERE device_id = $1 AND epoch = $2", twin.identity.device, b"epoch-01"
    )
    report = await chain_of(parts, twin)
    assert (report.ok, report.broken_at, [each.broken_at for each in report.closed]) == (False, None, [1])


@pytest.mark.parametrize(
    ("damage", "broken_at"),
    [
        ("DELETE FROM events WHERE device_id = $1 AND seq = 5", 5),
        ("DELETE FROM events WHERE device_id = $1 AND seq >= 8", 8),
        ("DELETE FROM events WHERE device_id = $1", 1),
        (f"UPDATE events SET raw = {_LAST_BYTE_INVERTED} WHERE device_id = $1 AND seq = 6", 6),  # noqa: S608 - ours
        ("UPDATE events SET raw = 'no event' WHERE device_id = $1 AND seq = 7", 7),
        ("UPDATE events SET kind = 2 WHERE device_id = $1 AND seq = 3", 3),
        ("UPDATE events SET door_id = 'other' WHERE device_id = $1 AND seq = 3", 3),
        ("UPDATE events SET seq = 11 WHERE device_id = $1 AND seq = 10", 10),
        ("UPDATE devices SET mark = 9 WHERE id = $1", 10),
        ("UPDATE devices SET mark = 12 WHERE id = $1", 11),
        ("UPDATE devices SET head = sha256('x') WHERE id = $1", 10),
        ("INSERT INTO events SELECT * FROM events WHERE device_id = $1 AND seq = 2", 3),
    ],
)
async def test_any_damage_is_found_where_it_is(parts: Parts, damage: str, broken_at: int):
    twin, _ = await stored_twin(parts, 10)
    await parts.pool.execute(damage, twin.identity.device)
    report = await chain_of(parts, twin)
    assert (report.ok, report.broken_at) == (False, broken_at)


async def test_an_altered_event_whose_hash_was_mended_is_found_at_the_next(parts: Parts):
    twin, journal = await stored_twin(parts, 10)
    altered = journal.events[3].replace(b"level-7", b"level-8")
    assert chain_hash(altered) != journal.head_at(4)
    await parts.pool.execute(
        "UPDATE events SET raw = $2 WHERE device_id = $1 AND seq = 4", twin.identity.device, altered
    )
    assert (await chain_of(parts, twin)).broken_at == 5


async def test_the_chain_of_an_unknown_device_is_not_found(parts: Parts):
    tenant = await parts.make_tenant()
    with pytest.raises(CloudError) as caught:
        await check_chain(parts.pool, tenant, DeviceId("nobody"))
    assert caught.value.reason is Reason.DEVICE_UNKNOWN
