"""The one running system of the suite: a cloud, doors that reach it through a proxy, people at them, the oracle."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncpg

from doorward.fleet.campus import Campus, enrol_fleet, open_campus
from doorward.fleet.crew import Crew, Orders, open_crew
from doorward.fleet.people import Granted, draw_visit
from doorward.fleet.uplink import Way
from sync import ways
from sync.https_uplink import Deadlines
from tests.faults.odd_door import believing_a_broker
from tests.faults.real_door import RealDoor, open_real_door
from tests.faults.service import HOST, Service
from tests.faults.volume import Volume, make_volume, why_no_volume
from tests.support.clouds import reachable_folder
from tests.support.oracle import Report, consult
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from doorward.fleet.door import FleetDoor
    from doorward.fleet.journal import DoorRecord

DOORS: Final = 16
SPARE: Final = 24
"""Doors that are enrolled and do not run: devices that will be stolen, copied or made anew."""
TAPS_PER_S: Final = 24.0
CLOUD_MIB: Final = 2_048
EDGE_MIB: Final = 64
RECOVERY_S: Final = 120.0
"""Whoever takes longer to recover has not recovered."""
QUICK: Final = Deadlines(connect_s=3.0, send_s=3.0, fetch_s=6.0, beyond_wait_s=3.0, knock_s=0.5)
"""A tenth of a door's usual patience: the suite is to be over today."""
_POLL_S: Final = 0.01


class NotRecoveredError(AssertionError):
    """The system did not come back."""


class LostError(AssertionError):
    """The cloud does not hold what it has acknowledged."""

    def __init__(self, report: Report) -> None:
        super().__init__("; ".join(report.sentences()))
        self.report = report


@dataclass
class System:
    """What faults are injected into.

    Attributes:
        volume: under the cloud's state; None when this machine cannot mount one.
        edge_volume: the same for real doors' state folders.
        campus: all enrolled doors; the first `DOORS` run.
        proxy, broker_proxy: between doors and the cloud's listener, between doors and the broker.
        past: records of journals that no door continues.
        stack: what ends with the system.
    """

    folder: Path
    service: Service
    proxy: TcpProxy
    broker_proxy: TcpProxy
    campus: Campus
    crew: Crew
    chance: random.Random
    volume: Volume | None
    edge_volume: Volume | None
    stack: AsyncExitStack
    past: list[DoorRecord] = field(default_factory=list)
    spares: list[str] = field(default_factory=list)
    _people: asyncio.Task[None] | None = None
    _real_door: RealDoor | None = None

    async def real_door(self) -> RealDoor:
        """Give the real door, made when it is first asked for."""
        if self._real_door is None:
            self._real_door = await open_real_door(self)
        return self._real_door

    async def enrol_more(self, count: int = 8) -> None:
        """Enrol further spare doors."""
        before = len(self.campus.doors)
        self.campus = await _enrol(self.service, self.campus.folder, before + count)
        self.spares += [each.door for each in self.campus.doors[before:]]

    @property
    def doors(self) -> list[FleetDoor]:
        """The doors that run."""
        return list(self.crew.doors.values())

    @property
    def orders(self) -> Orders:
        """How a further door is to run."""
        return Orders(url=self.proxy.url, broker=self.broker_url, deadlines=QUICK)

    @property
    def broker_url(self) -> str:
        """Where doors reach the broker."""
        return f"mqtts://{HOST}:{self.broker_proxy.port}"

    def broker_words(self) -> str:
        """Give what the broker has said."""
        return self.service.broker_log.read_text(errors="replace")

    @property
    def https_doors(self) -> list[FleetDoor]:
        """The doors that know no broker."""
        return self.doors[::2]

    @property
    def broker_doors(self) -> list[FleetDoor]:
        """The doors that go through the broker while it works: every other one."""
        return self.doors[1::2]

    def part(self) -> None:
        """Cut every door off, whichever way it goes."""
        self.proxy.partition()
        self.broker_proxy.partition()

    def join(self) -> None:
        """End `part`, and whatever else keeps doors out."""
        for proxy in (self.proxy, self.broker_proxy):
            proxy.heal()
            proxy.admit()

    async def by_broker(self, least: int) -> bool:
        """Wait until so many doors go through the broker; False when they do not in time."""
        began_s = time.monotonic()
        while sum(door.parts.by_broker() for door in self.broker_doors) < least:
            if time.monotonic() - began_s > RECOVERY_S:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def bring_people(self) -> None:
        """Let people come, if they do not already."""
        if self._people is None or self._people.done():
            self._people = asyncio.create_task(self.crew.people(TAPS_PER_S))

    async def send_people_away(self) -> None:
        """Let nobody come any more."""
        if self._people is not None:
            self._people.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._people
            self._people = None
        for door in self.doors:
            door.leave_alone()

    def visit_all(self) -> None:
        """Let somebody in at every door, now."""
        for door in self.doors:
            visit = draw_visit(self.chance)
            while not isinstance(visit, Granted):
                visit = draw_visit(self.chance)
            door.visit(visit)

    async def recovered(self) -> float:
        """Wait until everything that is journaled now is durable; gives the seconds that took.

        Raises:
            NotRecoveredError: it is not, in time.
        """
        began_s = time.monotonic()
        wanted = [(door, door.journal.last) for door in self.doors]
        while any(door.journal.durable < last for door, last in wanted):
            if time.monotonic() - began_s > RECOVERY_S:
                raise NotRecoveredError(self._stuck())
            await asyncio.sleep(_POLL_S)
        return time.monotonic() - began_s

    async def check(self) -> Report:
        """Let the doors hand over everything, and ask the oracle."""
        await self.send_people_away()
        await self.recovered()
        real = [] if self._real_door is None else [await self._real_door.record()]
        records = [*(door.record() for door in self.doors), *self.past, *real]
        report = await self.consult(records)
        self.bring_people()
        return report

    async def look(self) -> Report:
        """Ask the oracle now, while the doors are cut off: is all there that was acknowledged?

        Later the doors would hand over again what the cloud has lost, and nobody would know.

        Raises:
            LostError: it is not.
        """
        report = await self.consult([*(door.record() for door in self.doors), *self.past])
        if not report.sound:
            raise LostError(report)
        return report

    async def consult(self, records: list[DoorRecord]) -> Report:
        """Ask the oracle about these journals; the database may still be starting."""
        connection = await self.database()
        try:
            return await consult(connection, records)
        finally:
            await connection.close()

    async def database(self) -> asyncpg.Connection[asyncpg.Record]:
        """Connect to the cloud's database, past the cloud."""
        async with asyncio.timeout(RECOVERY_S):
            while True:
                try:
                    return await asyncpg.connect(self.service.database_url(), timeout=5)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(0.05)

    def _stuck(self) -> str:
        late = [door for door in self.doors if not door.drained()]
        said = [f"{door.parts.door}: {door.notice_now.sentence}" for door in late if door.notice_now is not None]
        return f"{len(late)} doors have not handed over their events; {'; '.join(said[:3])}; {self.service.words()}"


@asynccontextmanager
async def running_system(
    seed: int, *, doors: int = DOORS, spare: int = SPARE, odd: tuple[str, ...] = (), believing: bool = False
) -> AsyncIterator[System]:
    """Run the system until the block ends; with an odd cloud, or doors that believe a broker, for negative controls."""
    folder = reachable_folder()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cloud_volume = edge_volume = None
        if why_no_volume() is None:
            cloud_volume = stack.enter_context(make_volume(folder, "cloud-disk", size_mib=CLOUD_MIB))
            edge_volume = stack.enter_context(make_volume(folder, "edge-disk", size_mib=EDGE_MIB))
        base = folder if cloud_volume is None else cloud_volume.root
        service = Service.on_kept_ports(stack, base / "cloud", folder / "cloud.log", odd=odd)
        stack.push_async_callback(service.kill_database)
        await service.start()
        stack.push_async_callback(service.stop)
        proxy = await stack.enter_async_context(tcp_proxy(HOST, service.device_port))
        await service.start_broker()
        stack.push_async_callback(service.stop_broker)
        broker_proxy = await stack.enter_async_context(tcp_proxy(HOST, service.broker_port))
        campus = await _enrol(service, folder / "fleet", doors + spare)
        broker = f"mqtts://{HOST}:{broker_proxy.port}"
        orders = Orders(url=proxy.url, broker=broker, seed=seed, deadlines=QUICK)
        stack.enter_context(_impatient())
        taken = (Way.HTTPS,) if believing else (Way.HTTPS, Way.MQTT)
        crew = await stack.enter_async_context(open_crew(campus.first(doors), orders, ways=taken))
        await crew.ready()
        if believing:
            await stack.enter_async_context(believing_a_broker(crew.doors.values(), campus, service.broker_port))
        system = System(
            folder=folder,
            service=service,
            proxy=proxy,
            broker_proxy=broker_proxy,
            campus=campus,
            crew=crew,
            chance=random.Random(seed),
            volume=cloud_volume,
            edge_volume=edge_volume,
            stack=stack,
            spares=[each.door for each in campus.doors[doors:]],
        )
        stack.push_async_callback(system.send_people_away)
        system.bring_people()
        await system.recovered()
        assert believing or await system.by_broker(len(system.broker_doors)), service.broker_log.read_text(
            errors="replace"
        )[-2_000:]
        yield system


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Have doors try a broker again after a tenth of the usual time, and never wait longer than a few seconds."""
    before = ways.FIRST_CEILING_S, ways.LAST_CEILING_S
    vars(ways).update(FIRST_CEILING_S=1.0, LAST_CEILING_S=4.0)
    try:
        yield
    finally:
        vars(ways).update(FIRST_CEILING_S=before[0], LAST_CEILING_S=before[1])


async def _enrol(service: Service, folder: Path, count: int) -> Campus:
    def enrol() -> Campus:
        with service.api() as api:
            return enrol_fleet(api, service.device_url, open_campus(folder), count, lambda *_: None)

    return await asyncio.to_thread(enrol)
