"""A provisioned door's daemon and a real broker: batches, news and health go through it, and round it when it fails."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from doorward.diag import Diagnostics
from edge.config import load_config
from edge.daemon import serve
from firmware_adapters.simulated import send_control
from sync.surroundings import SystemSurroundings
from tests.support.installer import door, provision
from tests.support.mosquitto import Mosquitto, running_mosquitto
from tests.support.peer_broker import BrokerPeer, cloud_at
from tests.support.peer_cloud import PeerCloud
from tests.support.peer_listener import PeerListener, listening
from tests.support.waiting import DEADLINE_S, until
from wire.health import Way, parse_health
from wire.messages import DEVICE_EVENTS, DEVICE_HEALTH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.e2e


@dataclass(slots=True)
class Life:
    """A door that runs, its cloud, and the broker between them."""

    folder: Path
    listener: PeerListener
    broker: Mosquitto

    @property
    def cloud(self) -> PeerCloud:
        return self.listener.cloud

    def posted(self, path: str) -> int:
        """Count what came over HTTPS."""
        return self.listener.requests.count(f"POST {path}")

    def stored(self) -> int:
        """Count the events that the cloud has."""
        return sum(len(journal.events) for journal in self.cloud.journals.values())

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(Diagnostics(self.folder / "diag.sock").status)

    async def sync(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.status())["sync"]
        return found

    async def decides_by(self, *, policy: int) -> None:
        """Wait until a version of the policy is in force."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self.status())["policy_version"] != policy:  # noqa: ASYNC110 - asked of the daemon
                await asyncio.sleep(0.05)

    async def goes(self, way: str) -> dict[str, Any]:
        """Wait until the door says that batches take a way, and give all it says of that."""
        async with asyncio.timeout(DEADLINE_S):
            while (said := await self.sync())["way"] != way:  # noqa: ASYNC110 - asked of the daemon
                await asyncio.sleep(0.05)
        return said

    async def quiet(self) -> None:
        """Wait until the cloud has all that the door has journaled."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self.sync())["pending"] != 0:  # noqa: ASYNC110 - asked of the daemon
                await asyncio.sleep(0.05)

    async def has_reported(self) -> None:
        """Wait until the door says so, which it does once the broker has confirmed what the cloud may have by then."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self.sync())["health"]["last_reported"] is None:  # noqa: ASYNC110 - asked of the daemon
                await asyncio.sleep(0.05)

    async def press(self) -> None:
        """Press the exit button, and wait until the cloud has the event."""
        before = self.stored()
        await send_control(self.folder / "twin", "rex press")
        await until(lambda: self.stored() > before)


def answers(path: Path) -> bool:
    """Tell whether a daemon listens; its journal may reach the cloud before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        return peer.connect_ex(str(path)) == 0


WITHOUT_MQTT = """
import sys
sys.modules["aiomqtt"] = None
from pathlib import Path
from edge.config import load_config
from edge.daemon import run
run(load_config(Path(sys.argv[1])))
"""


@asynccontextmanager
async def living(tmp_path: Path) -> AsyncIterator[tuple[Life, BrokerPeer]]:
    """Provision a door of a cloud with a broker, and run its daemon inside the block."""
    cloud, folder = PeerCloud(SystemSurroundings()), tmp_path / "door"
    async with (
        listening(PeerListener(cloud, tmp_path / "cloud")) as listener,
        running_mosquitto(listener.authority()) as broker,
        cloud_at(broker, cloud) as peer,
    ):
        listener.more["broker"] = broker.url
        done = await provision(replace(door(listener, folder), readers={}))
        assert done.broker == broker.url
        stop = asyncio.Event()
        daemon = asyncio.create_task(serve(load_config(done.config), stop))
        await until(lambda: (folder / "diag.sock").is_socket() or daemon.done())
        try:
            yield Life(folder, listener, broker), peer
        finally:
            stop.set()
            async with asyncio.timeout(DEADLINE_S):
                await daemon


async def test_all_goes_through_the_broker_while_it_works(tmp_path: Path):
    async with living(tmp_path) as (life, peer):
        said = await life.goes("mqtt")
        assert (said["broker_error"], said["health"]["error"]) == (None, None)
        await life.quiet()
        posted = life.posted(DEVICE_EVENTS)  # the first batch goes to the cloud itself
        assert posted
        await life.press()
        assert (peer.batches >= 1, life.posted(DEVICE_EVENTS)) == (True, posted)
        life.cloud.publish_policy()
        await peer.announce()
        await life.decides_by(policy=2)
        await until(lambda: bool(life.cloud.reports))
        told = parse_health(life.cloud.reports[-1])
        assert (told.way, told.durable > 0, life.posted(DEVICE_HEALTH)) == (Way.MQTT, True, 0)
        await life.has_reported()


async def test_a_broker_that_dies_is_gone_round_and_comes_back(tmp_path: Path):
    async with living(tmp_path) as (life, _):
        await life.goes("mqtt")
        await life.broker.kill()
        said = await life.goes("https")
        assert "cannot be reached" in said["broker_error"]
        before = life.posted(DEVICE_EVENTS)
        await life.press()
        assert life.posted(DEVICE_EVENTS) > before
        # News comes by long questions now.
        life.cloud.publish_policy()
        await life.decides_by(policy=2)
        await life.broker.start()
        async with cloud_at(life.broker, life.cloud) as again:
            await life.goes("mqtt")
            await life.press()
            assert again.batches >= 1


async def test_a_door_without_the_package_uses_https_and_says_what_to_install(tmp_path: Path):
    cloud, folder = PeerCloud(SystemSurroundings()), tmp_path / "door"
    async with listening(PeerListener(cloud, tmp_path / "cloud")) as listener:
        listener.more["broker"] = "mqtts://127.0.0.1:1"
        done = await provision(replace(door(listener, folder), readers={}))
        daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", WITHOUT_MQTT, done.config)
        try:
            await until(lambda: bool(cloud.journals) or daemon.returncode is not None)
            await until(lambda: answers(folder / "diag.sock") or daemon.returncode is not None)
            status = await asyncio.to_thread(Diagnostics(folder / "diag.sock").status)
            assert status["sync"]["way"] == "https"
            assert "pip install 'doorward[mqtt]'" in status["sync"]["broker_error"]
        finally:
            daemon.terminate()
            async with asyncio.timeout(DEADLINE_S):
                await daemon.wait()
