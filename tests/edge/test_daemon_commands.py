"""Commands at a running door: a mode for a while, over a restart too, its end, a restart, pictures."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from doorward.errors import ExitCode
from edge.config import SnapshotsConfig
from edge.daemon import Ending, serve
from edge.snapshots import FOLDER
from tests.support.daemon_door import Door, killed, make_door, running
from tests.support.images import code, frame_with, png
from tests.support.waiting import DEADLINE_S, until
from wire.names import Action, DoorMode
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return make_door(tmp_path, settings=DoorSettings(release_time_ms=80))


async def ordered(door: Door, counter: int, action: Action, **what: DoorMode | int) -> dict[str, Any]:
    """Deliver a command and give what the journal says of it."""
    told = await door.deliver(door.command(counter=counter, action=action, **what))  # type: ignore[arg-type]
    return {name: told[name] for name in ("carried_out", "reason", "mode")}


async def test_a_door_rests_as_ordered_until_it_is_released(door: Door):
    async with running(door):
        told = await door.deliver(
            door.command(counter=1, action=Action.MODE, mode=DoorMode.UNLOCKED, hold_s=600),
        )
        assert [(each["kind"], each["rule"]) for each in told["events"]] == [
            ("COMMAND_EXECUTED", "mode-unlocked"),
            ("MODE_CHANGED", "command"),
        ]
        await until(lambda: door.energised() == 1)
        status = await door.status()
        assert (status["mode"], status["rests_by"], status["ordered_until"][-1]) == ("unlocked", "command", "Z")
        assert await ordered(door, 2, Action.RELEASE) == {"carried_out": True, "reason": None, "mode": "locked"}
        await until(lambda: door.relay()[-1]["action"] == "release")
        status = await door.status()
        assert (status["rests_by"], status["ordered_until"]) == ("policy", None)


async def test_an_order_ends_by_itself(door: Door):
    async with running(door):
        told = await ordered(door, 1, Action.MODE, mode=DoorMode.UNLOCKED, hold_s=2)
        assert told["mode"] == "unlocked"
        await door.stands(mode="locked", rests_by="policy")


@pytest.mark.parametrize("mode", [DoorMode.UNLOCKED, DoorMode.BLOCKED])
async def test_an_order_outlives_the_daemon(door: Door, mode: DoorMode):
    async with killed(door):
        told = await ordered(door, 1, Action.MODE, mode=mode, hold_s=600)
        assert told["mode"] == mode.name.lower()
    async with running(door):
        await door.stands(mode=mode.name.lower(), rests_by="command")
        told = await ordered(door, 2, Action.UNLOCK)
        assert told["reason"] == ("DOOR_BLOCKED" if mode is DoorMode.BLOCKED else None)


async def test_an_order_that_ended_while_the_daemon_was_away_is_over(door: Door):
    async with running(door):
        await ordered(door, 1, Action.MODE, mode=DoorMode.UNLOCKED, hold_s=600)
    door.set_clock(door.now_s() + 600)
    async with running(door):
        await door.stands(mode="locked", rests_by="policy", ordered_until=None)
        changed = [each for each in await door.events() if each["kind"] == "MODE_CHANGED"]
        assert [each["rule"] for each in changed] == ["command", "policy"]


async def test_a_restart_is_answered_carried_out_and_not_repeated(door: Door):
    order = door.command(counter=1, action=Action.REBOOT)
    async with killed(door) as process:
        await ordered(door, 0, Action.MODE, mode=DoorMode.UNLOCKED, hold_s=600)
        await until(lambda: door.energised() == 1)
        told = await door.deliver(order)
        assert told["carried_out"]
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == ExitCode.RESTART
    assert door.relay()[-1]["action"] == "release"  # secured, as by any clean end
    async with running(door):
        await door.stands(mode="unlocked")
        told = await door.deliver(order)
        assert (told["carried_out"], told["reason"]) == (False, "COMMAND_REPLAYED")
        kinds = [(each["kind"], each.get("rule")) for each in await door.events()]
    ends = kinds.index(("COMMAND_EXECUTED", "reboot"))
    assert kinds[ends + 1 :][:3] == [("STOPPED", None), ("MODE_CHANGED", "command"), ("STARTED", None)]
    assert kinds.count(("COMMAND_EXECUTED", "reboot")) == kinds.count(("STARTED", None)) - 1 == 1


async def test_a_daemon_that_is_stopped_does_not_ask_to_be_started_again(door: Door):
    stop = asyncio.Event()
    stop.set()
    assert await serve(door.config, stop) is Ending.STOPPED


async def test_a_door_refuses_what_it_is_not_equipped_for(door: Door):
    async with running(door):
        for counter, action in enumerate((Action.SNAPSHOT, Action.REFRESH), start=1):
            told = await ordered(door, counter, action)
            assert (told["carried_out"], told["reason"]) == (False, "COMMAND_UNSUPPORTED")


@pytest.mark.parametrize("keep_hours", [0, 1])
async def test_pictures_are_taken_by_order_and_named_after_its_answer(door: Door, keep_hours: int):
    frames = door.folder / "frames"
    frames.mkdir()
    (frames / "1.png").write_bytes(png(frame_with(code("NO PASS"))))
    door.config = replace(door.config, snapshots=SnapshotsConfig(keep_hours=keep_hours))
    door.read_by({"eye": f"camera+files://{frames}?fps=30"})
    async with running(door):
        denied = await door.seen(kind="ACCESS_DENIED")
        told = await door.deliver(door.command(counter=1, action=Action.SNAPSHOT))
        if not keep_hours:
            assert told["reason"] == "COMMAND_UNSUPPORTED"
            return
        (answer,) = told["events"]
        assert (answer["kind"], answer["rule"]) == ("COMMAND_EXECUTED", "snapshot")
        assert answer["seq"] > denied["seq"]
        await until(lambda: any(f"-{answer['seq']}-eye-" in each.name for each in (door.folder / FOLDER).glob("*.jpg")))
        shown = await door.seen(kind="COMMAND_EXECUTED")
        assert [f"-{answer['seq']}-eye-" in path for path in shown["snapshots"]] == [True] * len(shown["snapshots"])
