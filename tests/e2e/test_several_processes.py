"""Two cloud processes on one database: doors send to both, one is killed, and every journal is stored exactly once."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest
import pytest_asyncio

from cloud.cluster import ClusterOptions, PrivateCluster
from tests.support.cloud_parts import keys_of
from tests.support.clouds import enrol, reachable_folder
from tests.support.commands import run_program
from tests.support.door_batches import Journal
from tests.support.serving import SendingDoor, Serving
from tests.support.waiting import DEADLINE_S
from wire.keys import P256Signer
from wire.messages import EST_CACERTS
from wire.names import DeviceId, KeyPurpose
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Effort

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_DOORS = 4


@pytest_asyncio.fixture(name="database_url")
async def _database_url() -> AsyncIterator[str]:
    cluster = PrivateCluster(reachable_folder(), ClusterOptions(start_s=120))
    yield await cluster.start(lambda _: None)
    await cluster.stop()


@pytest_asyncio.fixture(name="pair")
async def _pair(database_url: str) -> AsyncIterator[tuple[Serving, Serving]]:
    """Two processes that were started at the same instant on an empty database and an empty state folder."""
    state = reachable_folder() / "cloud"
    pair = (Serving(state, database_url), Serving(state, database_url))
    await asyncio.gather(*(each.start() for each in pair))
    yield pair
    for each in pair:
        await each.kill()


async def make_door(pair: tuple[Serving, Serving], tenant: str, events: int) -> SendingDoor:
    """Make an institution at one process, claim at the other, enrol at the first."""
    one, two = pair
    place = f"/api/v1/institutions/{tenant}"
    async with one.operator() as api, two.operator() as other:
        assert (await api.post("/api/v1/institutions", json={"id": tenant, "name": tenant})).status_code == 201
        made = await other.post(f"{place}/doors", json={"id": "main-entrance", "site": "campus"})
        assert made.status_code == 201, made.text
        claim = (await other.post(f"{place}/doors/main-entrance/claims")).json()["claimCode"]
        bundle = parse_pinned((await other.get(f"{place}/trust")).content).open()
        (key,) = keys_of(bundle, KeyPurpose.ACKNOWLEDGEMENT)
    device = await enrol(one.device_url, claim)
    journal = Journal(DeviceId(device.name), P256Signer(device.key))
    journal.grow(events)
    return SendingDoor(device, journal, key.key)


async def test_doors_send_to_both_and_one_is_killed(pair: tuple[Serving, Serving], database_url: str, effort: Effort):
    kills = effort.pick(usual=3, long=200)
    doors = [await make_door(pair, f"tenant-{number}", 120 * kills) for number in range(_DOORS)]
    chance = random.Random(kills)
    for number in range(kills):
        victim = pair[number % 2]
        killing = asyncio.create_task(kill_after(victim, chance.uniform(0.1, 0.6)))
        await asyncio.gather(*(send_to_both(door, pair, chance, until=120 * (number + 1) - 40) for door in doors))
        await killing
        await victim.start()
    await asyncio.gather(*(send_to_both(door, pair, chance, until=120 * kills) for door in doors))
    connection = await asyncpg.connect(database_url)
    for door in doors:
        rows = await connection.fetch("SELECT raw FROM events WHERE device_id = $1 ORDER BY seq", door.device.name)
        assert [row["raw"] for row in rows] == door.journal.events
    assert await connection.fetchval("SELECT count(*) FROM devices WHERE quarantined_at IS NOT NULL") == 0
    await connection.close()
    async with pair[0].operator() as api:
        for number, door in enumerate(doors):
            chain = await api.get(f"/api/v1/institutions/tenant-{number}/devices/{door.device.name}/chain")
            assert chain.json()["ok"]


async def kill_after(victim: Serving, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await victim.kill()


async def send_to_both(door: SendingDoor, pair: tuple[Serving, Serving], chance: random.Random, *, until: int) -> None:
    """Send now to one process, now to the other, now to both at once, whether they answer or not."""
    while door.durable < until:
        chosen = chance.choice([pair[:1], pair[1:], pair])
        sent = await asyncio.gather(*(door.send(to, chance.randrange(1, 15)) for to in chosen), return_exceptions=True)
        faults = [fault for fault in sent if isinstance(fault, BaseException)]
        for fault in faults:
            if not isinstance(fault, httpx.TransportError):
                raise fault


async def test_processes_that_start_together_share_ca_and_token_and_one_backup(
    pair: tuple[Serving, Serving], database_url: str
):
    one, two = pair
    to = one.state.with_name("backups")
    command = ("cloud", "backup", "--state", str(one.state), "--to", str(to))
    done = await asyncio.to_thread(run_program, *command, environment={"DATABASE_URL": database_url})
    assert done.code == 0, done.err
    (backup,) = to.iterdir()
    assert (backup / "ca" / "device-ca.pem").read_bytes() == (one.state / "ca" / "device-ca.pem").read_bytes()
    async with httpx.AsyncClient(verify=False, timeout=DEADLINE_S) as client:  # noqa: S501 - the CA is what is asked for
        answers = [await client.get(each.device_url + EST_CACERTS) for each in pair]
    assert answers[0].content == answers[1].content
    for each in pair:
        async with each.operator() as api:
            assert (await api.get("/api/v1/institutions/none/devices")).status_code == 404  # known, and answered
    announced = one.state / "cloud.json"
    later = two if two.api_url.encode() in announced.read_bytes() else one
    assert await (one if later is two else two).stop() == 0
    assert later.api_url.encode() in announced.read_bytes()
    assert await later.stop() == 0
    assert not announced.exists()
