"""kill -9 of the service at the worst moments: nothing acknowledged is lost, nothing is stored twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest

from tests.support.cloud_parts import keys_of
from tests.support.clouds import Device, enrol
from tests.support.door_batches import Journal
from tests.support.waiting import DEADLINE_S, until
from wire.batch import open_acknowledgement
from wire.keys import P256Signer, PublicKey
from wire.messages import DEVICE_EVENTS
from wire.names import DeviceId, KeyPurpose
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Effort

pytestmark = [pytest.mark.fault, pytest.mark.slow]

_TENANT = "killed"
_LOCK = 4711
_WAIT = f"""
    CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock({_LOCK}); RETURN NULL; END $$"""
_AT_THE_LOCK = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {_LOCK} AND NOT granted"  # noqa: S608
_OTHER_SESSIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_BEFORE_COMMIT = "CREATE TRIGGER hold AFTER UPDATE OF mark ON devices EXECUTE FUNCTION wait_here()"
_IN_COMMIT = (
    "CREATE CONSTRAINT TRIGGER hold AFTER UPDATE OF mark ON devices DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION wait_here()"
)


@dataclass(slots=True)
class Service:
    """A service process that is killed and started again on the same state and database."""

    state: Path
    database_url: str
    process: asyncio.subprocess.Process | None = None
    api_url: str = ""
    device_url: str = ""

    async def start(self) -> None:
        """Start it and wait until it serves."""
        command = (sys.executable, "-m", "cloud", "--state", str(self.state))
        self.process = await asyncio.create_subprocess_exec(
            *command,
            "--api",
            "127.0.0.1:0",
            "--devices",
            "127.0.0.1:0",
            env={**os.environ, "DATABASE_URL": self.database_url},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(self._serves)

    def _serves(self) -> bool:
        assert self.process is not None
        try:
            found = json.loads((self.state / "cloud.json").read_text())
        except FileNotFoundError:
            return False
        self.api_url, self.device_url = found["api_url"], found["device_url"]
        return bool(found["pid"] == self.process.pid)

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[httpx.AsyncClient]:
        """Talk to its API."""
        headers = {"authorization": f"Bearer {(self.state / 'operator.token').read_text().strip()}"}
        async with httpx.AsyncClient(base_url=self.api_url, headers=headers, timeout=DEADLINE_S) as api:
            yield api


@dataclass(slots=True)
class Door:
    """A door that sends its journal and believes only verified acknowledgements."""

    device: Device
    journal: Journal
    key: PublicKey
    durable: int = 0

    async def send(self, service: Service, count: int) -> None:
        """Send the next events after those that are known to be durable."""
        first = self.durable + 1
        body = self.journal.batch(first, min(first + count - 1, len(self.journal.events)))
        async with replace(self.device, url=service.device_url).client() as client:
            answer = await client.post(DEVICE_EVENTS, content=body)
        assert answer.status_code == 200, answer.text
        found = open_acknowledgement(answer.content, self.key)
        assert found.head == self.journal.head_at(found.durable)
        assert found.durable >= self.durable
        self.durable = found.durable


@pytest.fixture(name="service")
async def _service(state: Path, database_url: str) -> AsyncIterator[Service]:
    service = Service(state, database_url)
    await service.start()
    yield service
    await service.kill()


@pytest.fixture(name="database")
async def _database(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.execute("DROP TRIGGER IF EXISTS hold ON devices; DROP FUNCTION IF EXISTS wait_here")
    await connection.execute("TRUNCATE institutions, events CASCADE")
    await connection.close()


async def make_door(service: Service, events: int) -> Door:
    async with service.operator() as api:
        place = f"/api/v1/institutions/{_TENANT}"
        await api.post("/api/v1/institutions", json={"id": _TENANT, "name": _TENANT})
        await api.post(f"{place}/doors", json={"id": "main-entrance", "site": "campus"})
        claim = (await api.post(f"{place}/doors/main-entrance/claims")).json()["claimCode"]
        bundle = parse_pinned((await api.get(f"{place}/trust")).content).open()
        (key,) = keys_of(bundle, KeyPurpose.ACKNOWLEDGEMENT)
    device = await enrol(service.device_url, claim)
    journal = Journal(DeviceId(device.name), P256Signer(device.key))
    journal.grow(events)
    return Door(device, journal, key.key)


async def stored(database: asyncpg.Connection[asyncpg.Record]) -> list[bytes]:
    return [row["raw"] for row in await database.fetch("SELECT raw FROM events ORDER BY seq")]


async def asks_until(database: asyncpg.Connection[asyncpg.Record], question: str, answer: int) -> None:
    """Ask the database again and again until it gives this number."""
    async with asyncio.timeout(DEADLINE_S):
        found = await database.fetchval(question)
        while found != answer:
            await asyncio.sleep(0.01)
            found = await database.fetchval(question)


@pytest.mark.parametrize(
    ("trigger", "survives"), [(_BEFORE_COMMIT, False), (_IN_COMMIT, True)], ids=["before the commit", "in the commit"]
)
async def test_a_kill_between_copy_and_answer_neither_loses_nor_doubles(
    service: Service, database: asyncpg.Connection[asyncpg.Record], *, trigger: str, survives: bool
):
    door = await make_door(service, 60)
    await door.send(service, 20)
    await database.execute(_WAIT)
    await database.execute(trigger)
    await database.execute("SELECT pg_advisory_lock($1)", _LOCK)
    sending = asyncio.create_task(door.send(service, 20))
    await asks_until(database, _AT_THE_LOCK, 1)
    await service.kill()
    with pytest.raises(httpx.TransportError):
        await sending
    await database.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    await asks_until(database, _OTHER_SESSIONS, 0)
    assert await stored(database) == door.journal.events[: 40 if survives else 20]
    await database.execute("DROP TRIGGER hold ON devices")
    await service.start()
    assert door.durable == 20
    await door.send(service, 20)
    assert door.durable == 40
    await door.send(service, 20)
    assert await stored(database) == door.journal.events


async def test_kills_at_random_moments_end_with_exactly_the_journal(
    service: Service, database: asyncpg.Connection[asyncpg.Record], effort: Effort
):
    kills = effort.pick(usual=6, long=1_000)
    door = await make_door(service, 40 * kills)
    chance = random.Random(kills)
    for _ in range(kills):
        killing = asyncio.create_task(kill_after(service, chance.uniform(0.0, 0.08)))
        await send_until_it_breaks(door, service, chance)
        await killing
        await service.start()
    while door.durable < len(door.journal.events):
        await door.send(service, 500)
    assert await stored(database) == door.journal.events


async def kill_after(service: Service, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await service.kill()


async def send_until_it_breaks(door: Door, service: Service, chance: random.Random) -> None:
    while door.durable < len(door.journal.events):
        try:
            await door.send(service, chance.randrange(1, 12))
        except httpx.TransportError:
            return
