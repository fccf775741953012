"""An operator orders, a real door acts once and answers; what is old, foreign or repeated moves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from tests.support.clouds import enrol, reachable_folder
from tests.support.commands import run_program
from tests.support.twin import Daemon, Twin, cloud_process, make_twin, moment
from tests.support.waiting import DEADLINE_S
from wire.command_list import parse_command_list
from wire.event import parse_event
from wire.messages import DEVICE_COMMANDS
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path
    from typing import Any

    from tests.support.clouds import RunningCloud

    PlugIn = Callable[[str], Awaitable[Twin]]

TENANT, DOOR, OTHER = "north", "east", "west"
KILLS, SEED, LONGEST_S = 6, 5, 0.12
DOORS = f"/api/v1/institutions/{TENANT}/doors"
RULES = {"settings": {"releaseTimeMs": 50}, "accessLevels": [{"id": 1, "schedules": [0]}]}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = reachable_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def cloud(folder: Path) -> AsyncIterator[RunningCloud]:
    async with cloud_process(folder / "cloud") as running:
        await running.make_door(TENANT, DOOR)
        made = await running.api.post(DOORS, json={"id": OTHER, "site": "campus"})
        assert made.status_code == 201, made.text
        for door in (DOOR, OTHER):
            assert (await running.api.put(f"{DOORS}/{door}/policy", json=RULES)).is_success
        yield running


@pytest.fixture
async def plug_in(cloud: RunningCloud, folder: Path) -> AsyncIterator[PlugIn]:
    """Enrol a door and make its twin, which is ended with the test, however that ends."""
    async with contextlib.AsyncExitStack() as stack:

        async def plug_in(door: str) -> Twin:
            device = await enrol(cloud.addresses.device_url, await cloud.claim(TENANT, door))
            twin = await make_twin(folder / door, cloud, TENANT, device)
            stack.push_async_callback(twin.aclose)
            return twin

        yield plug_in


async def order(cloud: RunningCloud, door: str = DOOR, *, key: str | None = None, **body: object) -> dict[str, Any]:
    headers = {} if key is None else {"idempotency-key": key}
    given = await cloud.api.post(f"{DOORS}/{door}/commands", json={"action": "unlock", **body}, headers=headers)
    assert given.status_code == 201, given.text
    found: dict[str, Any] = given.json()
    return found


async def commands(cloud: RunningCloud, door: str = DOOR) -> list[dict[str, Any]]:
    listed = await cloud.api.get(f"{DOORS}/{door}/commands")
    assert listed.status_code == 200, listed.text
    found: list[dict[str, Any]] = listed.json()["data"]
    return found


async def answered(cloud: RunningCloud, command: str, door: str = DOOR) -> dict[str, Any]:
    """Wait for what became of a command."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = next(each for each in await commands(cloud, door) if each["id"] == command)
            if found["event"] is not None:
                return found
            await asyncio.sleep(0.02)


async def became(cloud: RunningCloud, command: str, state: str) -> None:
    """Wait for a state that no event brings."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if (command, state) in [(each["id"], each["state"]) for each in await commands(cloud)]:
                return
            await asyncio.sleep(0.05)


def openings(twin: Twin) -> int:
    return len([line for line in twin.relay() if line["action"] == "energise"])


async def mode(twin: Twin, wanted: str) -> None:
    """Wait for how a door rests."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status = (await twin.ask("status"))["status"]
            assert isinstance(status, dict)
            if status["mode"] == wanted:
                return
            await asyncio.sleep(0.02)


async def test_orders_reach_their_door_once_and_are_answered(cloud: RunningCloud, folder: Path, plug_in: PlugIn):
    east, west = await plug_in(DOOR), await plug_in(OTHER)
    daemons = [await Daemon.start(twin) for twin in (east, west)]
    for daemon in daemons:
        await daemon.ready()

    # From the command line to the relay, and back as an event.
    arguments = ("cloud", "command", "--tenant", TENANT, DOOR, "unlock", "--wait", "--state", folder / "cloud")
    ran = await asyncio.to_thread(run_program, *arguments, "--json")
    assert ran.code == ExitCode.OK, ran.err
    assert (ran.record["state"], ran.record["device"], openings(east), openings(west)) == (
        *("executed", east.device.name),
        *(1, 0),
    )

    # The same key is the same order; another door is another order.
    first = await order(cloud, key="press-1")
    assert (await order(cloud, key="press-1"))["id"] == first["id"]
    assert (await answered(cloud, first["id"]))["state"] == "executed"
    elsewhere = await order(cloud, OTHER)
    assert (await answered(cloud, elsewhere["id"], OTHER))["state"] == "executed"
    assert (openings(east), openings(west)) == (2, 1)

    # What east was sent is worth nothing a second time, nor at west.
    async with east.device.client() as client:
        sent = parse_command_list((await client.get(DEVICE_COMMANDS)).content)
    assert sent.last == first["counter"]
    for twin, reason in ((east, "COMMAND_REPLAYED"), (west, "COMMAND_FOREIGN")):
        socket = twin.folder / "diag.sock"
        ran = await asyncio.to_thread(
            run_program, "diag", "command", "-", "--socket", socket, "--json", stdin=sent.commands[-1]
        )
        assert (ran.code, ran.record["reason"]) == (ExitCode.FAILED, reason)
    assert (openings(east), openings(west)) == (2, 1)
    assert (await answered(cloud, first["id"]))["state"] == "executed"

    # A door without power does after its return what still holds, and nothing twice.
    await daemons[0].kill()
    missed = await order(cloud, expiresInS=1)
    await became(cloud, missed["id"], "expired")
    held = await order(cloud, expiresInS=60)
    daemons[0] = await Daemon.start(east)
    await daemons[0].ready()
    assert (await answered(cloud, held["id"]))["state"] == "executed"
    assert [each["state"] for each in await commands(cloud) if each["id"] == missed["id"]] == ["expired"]
    for daemon in daemons:
        await daemon.stop()
    assert (openings(east), openings(west)) == (3, 1)


async def test_a_lockdown_reaches_a_door_that_was_away_and_stays(cloud: RunningCloud, folder: Path, plug_in: PlugIn):
    twin = await plug_in(DOOR)
    lockdown = ("cloud", "lockdown", "--tenant", TENANT, "--state", folder / "cloud", "--json")
    ran = await asyncio.to_thread(run_program, *lockdown, "campus", "on")
    assert ran.code == ExitCode.OK, ran.err
    assert ran.record["doors"] == [{"door": door, "on": True, "policy_version": 2} for door in (DOOR, OTHER)]

    daemon = await Daemon.start(twin)  # it was provisioned before, and away when the order was given
    await daemon.ready()
    await mode(twin, "locked_down")
    refused = await order(cloud)
    found = await answered(cloud, refused["id"])
    assert (found["state"], found["reason"], openings(twin)) == ("refused", "DOOR_LOCKED_DOWN", 0)
    # Other rules do not end it, and neither does a restart.
    put = await cloud.api.put(f"{DOORS}/{DOOR}/policy", json={**RULES, "settings": {"releaseTimeMs": 60}})
    assert put.json() == {"version": 3}
    await daemon.kill()
    daemon = await Daemon.start(twin)
    await daemon.ready()
    await mode(twin, "locked_down")

    ran = await asyncio.to_thread(run_program, *lockdown, "--door", DOOR, "off")
    assert ran.record["doors"] == [{"door": DOOR, "on": False, "policy_version": 4}]
    await mode(twin, "locked")
    assert (await answered(cloud, (await order(cloud))["id"]))["state"] == "executed"
    assert openings(twin) == 1
    await daemon.stop()


async def test_a_door_that_is_killed_about_an_order_does_not_do_it_twice(cloud: RunningCloud, plug_in: PlugIn):
    twin = await plug_in(DOOR)
    given = []
    for number in range(KILLS):
        daemon = await Daemon.start(twin)
        await daemon.ready()
        given.append(await order(cloud, expiresInS=60))
        await asyncio.sleep(moment(SEED, number, LONGEST_S))  # the moment of the fault, not a wait for something
        await daemon.kill()
    daemon = await Daemon.start(twin)
    await daemon.ready()
    for each in given:
        assert (await answered(cloud, each["id"]))["state"] == "executed"
    await daemon.stop()

    events = [(number, parse_event(data)) for number, data in twin.journal()]
    done = {number: event.credential for number, event in events if event.kind is EventKind.COMMAND_EXECUTED}
    assert sorted(name.hex() for name in done.values() if name) == sorted(each["id"] for each in given)
    causes = [line["cause_seq"] for line in twin.relay() if line["action"] == "energise"]
    assert len(causes) == len(set(causes))
    assert set(causes) <= set(done)
