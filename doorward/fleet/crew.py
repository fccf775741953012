"""Some simulated doors in one event loop, and the people who come to them.

Invariant: every task has the block of `open_crew` as its owner; it ends with it.
"""

import asyncio
import random
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from doorward.fleet.campus import Campus, Enrolled
from doorward.fleet.door import DoorParts, FleetDoor
from doorward.fleet.figures import Figures, take_waits
from doorward.fleet.materials import Shared
from doorward.fleet.people import draw_pause_s, draw_visit
from doorward.fleet.uplink import CountedUplink, Line, Traffic, Way, open_uplink
from sync.https_uplink import Deadlines, HttpsUplink
from sync.ports import UplinkError
from sync.surroundings import SystemSurroundings
from wire.keys import P256Signer
from wire.names import DeviceId, DoorId, Tenant

_POLL_S: Final = 0.05
_KIB: Final = 1024
CONNECTIONS_PER_S: Final = 100.0
"""How many doors start a second: a handshake with a certificate costs the cloud some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How doors of a campus are to run.

    Attributes:
        url: of the device listener.
        broker: "mqtts://host:port", None without MQTT.
        seed: of chance; doors and people are the same for the same seed, but for time.
        starts_per_s: how many doors start a second.
        https: how their requests are made; None as real doors make them.
    """

    url: str
    way: Way = Way.HTTPS
    broker: str | None = None
    seed: int = 0
    starts_per_s: float = CONNECTIONS_PER_S
    deadlines: Deadlines = field(default_factory=Deadlines)
    https: type[HttpsUplink] | None = None


class Crew:
    """Doors that run.

    Args:
        doors: by their names.
        traffic: of all of them.
        chance: decides who comes where.
    """

    def __init__(self, doors: dict[str, FleetDoor], traffic: Traffic, chance: random.Random) -> None:
        self.doors = doors
        self.failed: dict[str, UplinkError] = {}
        """Doors that the cloud does not know (any more)."""
        self._traffic = traffic
        self._chance = chance
        self._figures = Figures()

    async def run_door(self, name: str, delay_s: float) -> None:
        """Run one door until cancelled; one that the cloud refuses to know ends by itself."""
        await asyncio.sleep(delay_s)
        try:
            await self.doors[name].run()
        except UplinkError as error:
            self.failed[name] = error

    async def ready(self) -> None:
        """Wait until every door that is not refused knows its root key."""
        # Nobody signals that a door is refused.
        while not all(door.ready.is_set() for name, door in self.doors.items() if name not in self.failed):  # noqa: ASYNC110 - as said
            await asyncio.sleep(_POLL_S)

    async def people(self, taps_per_s: float) -> None:
        """Let people come until cancelled; `taps_per_s` in all, to doors chosen at random."""
        doors = list(self.doors.values())
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            next_s += draw_pause_s(self._chance, taps_per_s)
            # After a pause of the machine those who have waited come at once, as the rate demands.
            await asyncio.sleep(max(0.0, next_s - loop.time()))
            door = self._chance.choice(doors)
            if door.ready.is_set():
                door.visit(draw_visit(self._chance))

    async def drained(self) -> None:
        """Wait until the cloud has every event of every door that it knows."""
        # An acknowledgement signals nobody but its door.
        while not all(door.drained() for name, door in self.doors.items() if name not in self.failed):  # noqa: ASYNC110 - as said
            await asyncio.sleep(_POLL_S)

    def forget_waits(self) -> None:
        """Leave out of the figures how long the events so far have waited."""
        for door in self.doors.values():
            del door.journal.waits_ms[:]

    def figures(self) -> Figures:
        """Give the counts so far."""
        found = self._figures
        doors = self.doors.values()
        for door in doors:
            take_waits(found.waits, door.journal.waits_ms)
        used = resource.getrusage(resource.RUSAGE_SELF)
        found.doors = len(self.doors)
        found.connected = sum(door.ready.is_set() and door.notice_now is None for door in doors)
        found.events = sum(door.journal.last for door in doors)
        found.acknowledged = sum(door.journal.durable for door in doors)
        found.unlocks = sum(len(door.unlocks) for door in doors)
        found.cpu_s = used.ru_utime + used.ru_stime
        found.rss_bytes = used.ru_maxrss * _KIB
        found.traffic = self._traffic
        return found


@asynccontextmanager
async def open_crew(campus: Campus, orders: Orders, *, ways: Sequence[Way] = ()) -> AsyncIterator[Crew]:
    """Run the doors of a campus until the block ends.

    Args:
        campus: the doors.
        orders: how they run.
        ways: that doors take in turn, instead of that of the orders.

    Raises:
        UplinkError: their files cannot be used, or an address is none.
        CliError: as `open_uplink`.
    """
    shared, traffic, chance = Shared(), Traffic(), random.Random(orders.seed)  # noqa: S311 - must be repeatable
    ordered = [replace(orders, way=way) for way in ways] or [orders]
    doors = {
        each.door: make_door(campus, ordered[place % len(ordered)], each, shared, traffic)
        for place, each in enumerate(campus.doors)
    }
    crew = Crew(doors, traffic, chance)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(crew.run_door(name, place / orders.starts_per_s), name=name)
            for place, name in enumerate(doors)
        ]
        try:
            yield crew
        finally:
            for task in tasks:
                task.cancel()


def make_door(campus: Campus, orders: Orders, each: Enrolled, shared: Shared, traffic: Traffic) -> FleetDoor:
    """Make one door, which goes on with its journal; it does nothing before it is run."""
    key = load_pem_private_key(campus.key(each.door).read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):  # pragma: no cover - we wrote it
        raise TypeError(each.door)
    line = Line(
        url=orders.url,
        broker=orders.broker,
        tenant=Tenant(campus.tenant),
        device=DeviceId(each.device),
        certificate=campus.certificate(each.door),
        key=campus.key(each.door),
        ca=campus.ca,
        deadlines=orders.deadlines,
        https=orders.https,
    )
    opened = open_uplink(line, orders.way)
    return FleetDoor(
        DoorParts(
            tenant=Tenant(campus.tenant),
            door=DoorId(each.door),
            device=DeviceId(each.device),
            signer=P256Signer(key),
            uplink=CountedUplink(opened.uplink, traffic),
            session=opened.session,
            by_broker=opened.by_broker,
            journal_file=campus.journal(each.door),
            shared=shared,
            surroundings=SystemSurroundings(),
            chance=random.Random(),  # noqa: S311 - an epoch that no earlier run had
        )
    )
