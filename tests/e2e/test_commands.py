"""An operator orders, a real door acts once and answers; what is old, foreign or repeated moves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from tests.support.clouds import enrol, reachable_folder
from tests.support.commands import Ran, run_program
from tests.support.twin import Daemon, Twin, cloud_process, make_twin, moment
from tests.support.waiting import DEADLINE_S, until
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


async def opened(*wanted: tuple[Twin, int]) -> None:
    """Wait until doors have opened so often, and see that none has more; a cloud may know before the lock moves."""
    await until(lambda: all(openings(twin) >= count for twin, count in wanted))
    assert [openings(twin) for twin, _ in wanted] == [count for _, count in wanted]


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
    assert (ran.record["state"], ran.record["device"]) == ("executed", east.device.name)
    await opened((east, 1), (west, 0))

    # The same key is the same order; another door is another order.
    first = await order(cloud, key="press-1")
    assert (await order(cloud, key="press-1"))["id"] == first["id"]
    assert (await answered(cloud, first["id"]))["state"] == "executed"
    elsewhere = await order(cloud, OTHER)
    assert (await answered(cloud, elsewhere["id"], OTHER))["state"] == "executed"
    await opened((east, 2), (west, 1))

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
    await opened((east, 3), (west, 1))
    for daemon in daemons:
        await daemon.stop()
    assert (openings(east), openings(west)) == (3, 1)


async def ran(folder: Path, *arguments: str) -> Ran:
    """Give an order from the command line, and wait for the answers."""
    common = ("cloud", "command", "--tenant", TENANT, "--state", folder / "cloud", "--wait", "--json")
    return await asyncio.to_thread(run_program, *common, *arguments)


async def test_a_site_rests_as_ordered_until_it_is_released_and_each_door_answers(
    cloud: RunningCloud, folder: Path, plug_in: PlugIn
):
    twins = [await plug_in(DOOR), await plug_in(OTHER)]
    daemons = [await Daemon.start(twin) for twin in twins]
    for daemon in daemons:
        await daemon.ready()
    done = await ran(folder, "--site", "campus", "mode", "--mode", "unlocked", "--hold", "10m")
    assert done.code == ExitCode.OK, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [(each["door"], each["mode"], each["hold_s"], each["state"]) for each in told] == [
        (door, "unlocked", 600, "executed") for door in (DOOR, OTHER)
    ]
    for twin in twins:
        await mode(twin, "unlocked")
    # One door is released, the other is locked down; a mode does not undo that.
    assert (await ran(folder, DOOR, "release")).code == ExitCode.OK
    await mode(twins[0], "locked")
    assert (await cloud.api.put(f"{DOORS}/{OTHER}/lockdown", json={"on": True})).is_success
    await mode(twins[1], "locked_down")
    done = await ran(folder, "--site", "campus", "mode", "--mode", "unlocked", "--hold", "10m")
    assert done.code == ExitCode.FAILED
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [(each["door"], each["state"], each["reason"]) for each in told] == [
        (DOOR, "executed", None),
        (OTHER, "refused", "DOOR_LOCKED_DOWN"),
    ]
    assert f"{OTHER} (DOOR_LOCKED_DOWN)" in done.complaint["message"]
    await mode(twins[1], "locked_down")
    for daemon in daemons:
        await daemon.stop()


async def test_a_door_is_refreshed_and_started_again_by_order_once(cloud: RunningCloud, folder: Path, plug_in: PlugIn):
    twin = await plug_in(DOOR)
    daemon = await Daemon.start(twin)
    await daemon.ready()
    assert (await ran(folder, DOOR, "refresh")).code == ExitCode.OK
    refused = await ran(folder, DOOR, "snapshot")
    assert (refused.code, refused.record["reason"]) == (ExitCode.FAILED, "COMMAND_UNSUPPORTED")
    assert "not done at east (COMMAND_UNSUPPORTED)" in refused.complaint["message"]
    done = await ran(folder, DOOR, "reboot", "--expires", "600")
    assert (done.code, done.record["state"]) == (ExitCode.OK, "executed")
    async with asyncio.timeout(DEADLINE_S):
        assert await daemon.process.wait() == ExitCode.RESTART
    daemon.notices.close()
    daemon = await Daemon.start(twin)  # as systemd does; the order still holds at the cloud
    await daemon.ready()
    assert (await ran(folder, DOOR, "unlock")).code == ExitCode.OK
    assert daemon.process.returncode is None
    events = [parse_event(data) for _, data in twin.journal()]
    rules = [event.rule for event in events if event.kind is EventKind.COMMAND_EXECUTED]
    assert rules == ["refresh", "reboot", "unlock"]
    assert [each["state"] for each in await commands(cloud) if each["action"] == "reboot"] == ["executed"]
    await daemon.stop()


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
    await opened((twin, 1))
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
