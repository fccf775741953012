"""One real door: `doorward edge run` on a twin, its store on a volume that can lose its power, its relay outside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx

from cloud.server import Addresses
from tests.faults.service import HOST
from tests.support.clouds import RunningCloud, enrol
from tests.support.oracle import read_store
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.twin import Daemon, Twin, Wallets, make_twin
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from doorward.fleet.journal import DoorRecord
    from tests.faults.system import System

DOOR: Final = "real-door"
HOLDERS: Final = 60
TAP_EVERY_S: Final = 0.02
PATIENCE_S: Final = 60.0
_RELEASE_MS: Final = 50


@dataclass
class RealDoor:
    """The door, its daemon while one runs, and people who hold codes before its scanner while they do."""

    twin: Twin
    wallets: Wallets
    proxy: TcpProxy
    outside: Path
    tenant: str
    daemon: Daemon | None = None
    _people: asyncio.Task[None] | None = field(default=None)

    async def start(self) -> None:
        """Start the daemon and wait until it serves."""
        self.daemon = await Daemon.start(self.twin)
        await self.daemon.ready()

    async def running(self) -> None:
        """See to it that the daemon runs and people come."""
        if self.daemon is None:
            await self.start()
        if self._people is None or self._people.done():
            self._people = asyncio.create_task(self._scan_for_ever())

    async def kill(self) -> None:
        """End the daemon as a power cut does."""
        if self.daemon is not None:
            await self.daemon.kill()
            self.daemon = None

    async def decided_again(self) -> float:
        """Wait until somebody is let in; gives the seconds that took."""
        began_s, before = time.monotonic(), self.unlocks()
        await until(lambda: len(self.unlocks()) > len(before), deadline_s=PATIENCE_S)
        return time.monotonic() - began_s

    def unlocks(self) -> list[int]:
        """Give the numbers of the events that moved the relay."""
        file = self.outside / "relay.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        records = [json.loads(line) for line in lines]
        return [each["cause_seq"] for each in records if each["action"] == "energise"]

    async def record(self) -> DoorRecord:
        """Send people away, wait until the cloud has everything, end the daemon, and read its store."""
        await self.running()
        await self.send_people_away()
        async with asyncio.timeout(PATIENCE_S):
            while not await self._synchronised():  # noqa: ASYNC110 - the daemon tells when it is asked
                await asyncio.sleep(0.05)
        await self.kill()
        found = read_store(self.twin.folder, tenant=self.tenant, unlocks=self.unlocks())
        assert len(found.unlocks) == len(set(found.unlocks)), "the relay moved twice for one event"
        return found

    async def send_people_away(self) -> None:
        """Let nobody come any more."""
        if self._people is not None:
            self._people.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._people
            self._people = None

    async def bring(self, command: bytes) -> dict[str, object]:
        """Bring a signed command to the door's socket; gives what became of it."""
        reader, writer = await asyncio.open_unix_connection(self.twin.folder / "diag.sock", limit=1 << 20)
        text = base64.urlsafe_b64encode(command).decode().rstrip("=")
        writer.write(json.dumps({"ask": "command", "command": text}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            answer: dict[str, dict[str, object]] = json.loads(await reader.readline())
        writer.close()
        return answer["command"]

    async def aclose(self) -> None:
        """End everything."""
        await self.send_people_away()
        await self.kill()
        await self.twin.aclose()

    async def _synchronised(self) -> bool:
        status = (await self.twin.ask("status"))["status"]
        assert isinstance(status, dict)
        return bool(status["journal"]["last"] == status["journal"]["durable"])

    async def _scan_for_ever(self) -> None:
        """Present codes as fast as people never do; every third one twice."""
        for number in itertools.count():
            text = self.wallets.code(number)
            self.twin.scan(text)
            if number % 3 == 0:
                self.twin.scan(text)
            await asyncio.sleep(TAP_EVERY_S)


async def open_real_door(system: System) -> RealDoor:
    """Make the door at the system's institution; it ends with the system."""
    service, tenant = system.service, system.campus.tenant
    proxy = await system.stack.enter_async_context(tcp_proxy(HOST, service.device_port))
    token = (service.state / "operator.token").read_text().strip()
    addresses = Addresses(api_url=f"http://{HOST}:{service.api_port}", device_url=proxy.url)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=addresses.api_url, headers=headers, timeout=30) as api:
        cloud = RunningCloud(service.state, addresses, token, api)
        place = f"/api/v1/institutions/{tenant}/doors"
        (await api.post(place, json={"id": DOOR, "site": "campus"})).raise_for_status()
        rules = {"settings": {"releaseTimeMs": _RELEASE_MS}, "accessLevels": [{"id": 1, "schedules": [0]}]}
        (await api.put(f"{place}/{DOOR}/policy", json=rules)).raise_for_status()
        device = await enrol(addresses.device_url, await cloud.claim(tenant, DOOR))
        base = system.folder if system.edge_volume is None else system.edge_volume.root
        twin = await make_twin(base / "door", cloud, tenant, device)
        wallets = Wallets("campus")
        await wallets.issue(cloud, tenant, HOLDERS)
    # What the relay did happened in the world: no power cut takes it back.
    outside = system.folder / "relay"
    outside.mkdir()
    (twin.folder / "door").symlink_to(outside)
    os.sync()
    door = RealDoor(twin, wallets, proxy, outside, tenant)
    system.stack.push_async_callback(door.aclose)
    return door
