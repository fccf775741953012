"""Every lane is followed by exactly one process, and taken over when that one goes, however it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cloud.broker.consumer import FILTERS
from cloud.broker.lanes import NoSeatError, share, take_seat
from cloud.broker.names import SEATS
from tests.support.cloud_parts import Parts, cloud_parts
from tests.support.linked import door_at, make_link, running
from tests.support.mosquitto import running_mosquitto
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.broker.link import BrokerLink
    from tests.support.mosquitto import Mosquitto

_ALL = list(range(len(FILTERS)))


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


@pytest.fixture(name="broker")
async def _broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


class Nobody:
    """Follows nothing."""

    async def follow(self, lane: int) -> None:
        """Do nothing."""

    async def leave(self, lane: int) -> None:
        """Do nothing."""


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17, 40, SEATS])
def test_shares_cover_all_lanes_and_differ_by_one_at_most(count: int):
    members = [2 * number for number in range(count)]
    shares = [share(members, seat) for seat in members]
    assert sum(shares) == len(FILTERS)
    assert max(shares) - min(shares) <= 1


async def test_the_last_seat_can_be_taken_and_no_other(database_url: str):
    stack = [take_seat(database_url) for _ in range(SEATS)]
    try:
        assert [(await seat.__aenter__()).seat for seat in stack] == list(range(SEATS))
        with pytest.raises(NoSeatError):
            await take_seat(database_url).__aenter__()
        await stack[7].__aexit__(None, None, None)
        async with take_seat(database_url) as freed:
            assert freed.seat == 7
    finally:
        for seat in stack:
            await seat.__aexit__(None, None, None)


async def test_who_only_has_a_seat_takes_no_share(database_url: str):
    async with take_seat(database_url), take_seat(database_url) as follower:
        await follower.join()
        await follower.balance(Nobody())
        assert sorted(follower.lanes) == _ALL


def each_once(*links: BrokerLink) -> bool:
    """Tell whether all lanes are followed, each by one."""
    return sorted(lane for link in links for lane in link.lanes) == _ALL


async def away(link: BrokerLink) -> None:
    """Wait until a link has noticed that its connection is broken."""
    await until(lambda: not link.following.is_set())


async def test_three_share_the_lanes_and_what_one_leaves_the_others_take(
    parts: Parts, broker: Mosquitto, database_url: str, tmp_path: Path
):
    made = [make_link(parts, broker, database_url, tmp_path) for _ in range(3)]
    first, second, third = (linked.link for linked in made)
    async with running(made[0]):
        async with running(made[1], lanes=len(FILTERS) // 2):
            async with running(made[2], lanes=5):
                await until(lambda: each_once(first, second, third))
                assert sorted(len(link.lanes) for link in (first, second, third)) == [5, 6, 6]
            await until(lambda: each_once(first, second))
        await until(lambda: each_once(first))


async def test_batches_of_all_lanes_are_answered_once_by_two(
    parts: Parts, broker: Mosquitto, database_url: str, tmp_path: Path
):
    made = [make_link(parts, broker, database_url, tmp_path) for _ in range(2)]
    tenant = await parts.make_tenant()
    twins = [await parts.make_device(tenant) for _ in range(24)]
    async with running(made[0]), running(made[1], lanes=len(FILTERS) // 2):
        await until(lambda: each_once(*(linked.link for linked in made)))
        for twin in twins:
            journal = twin.journal()
            journal.grow(1)
            async with door_at(broker, tenant, twin.identity.device) as door:
                assert (await door.ask(journal.batch(1, 1))).status == 200
    answered = [
        linked.registry.get_sample_value("doorward_broker_answers_total", {"status": "200"}) or 0 for linked in made
    ]
    assert sum(answered) == len(twins)
    assert min(answered) > 0


async def test_a_link_whose_database_connection_breaks_comes_back(
    parts: Parts, broker: Mosquitto, database_url: str, tmp_path: Path
):
    made = [make_link(parts, broker, database_url, tmp_path) for _ in range(2)]
    links = [linked.link for linked in made]
    async with running(made[0]), running(made[1], lanes=len(FILTERS) // 2):
        await until(lambda: each_once(*links))
        assert (
            await parts.pool.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'doorward-lanes'"
            )
            == 2
        )
        # One may be back before the other has noticed.
        await asyncio.gather(*(away(link) for link in links))
        await until(lambda: each_once(*links))
