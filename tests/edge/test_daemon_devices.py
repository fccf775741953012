"""The devices of a running door, as `doorward edge devices` tells them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from doorward.errors import ExitCode
from edge.config import render_config
from tests.support.daemon_door import DOORWARD, Door, make_door, running
from tests.support.waiting import DEADLINE_S
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return make_door(tmp_path, settings=DoorSettings(release_time_ms=80, open_time_ms=60_000))


async def devices(door: Door) -> tuple[int | None, dict[str, dict[str, Any]]]:
    """Run the command; gives its exit code and the devices by kind."""
    file = door.folder / "devices.toml"
    file.write_text(render_config(door.config))
    told = await asyncio.create_subprocess_exec(
        DOORWARD, "edge", "devices", "--config", str(file), "--json", stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await told.communicate()
    rows = [json.loads(line) for line in out.splitlines()]
    return told.returncode, {row["kind"]: row for row in rows}


async def test_devices_are_well_until_one_is_unplugged(door: Door):
    async with running(door):
        await door.scan_until(b"hello", kind="ACCESS_DENIED")
        code, told = await devices(door)
        assert code == ExitCode.OK
        assert {kind: each["health"] for kind, each in told.items()} == {
            "reader": "well",
            "lock": "well",
            "inputs": "well",
        }
        door.unplug()
        await door.seen(kind="READER_LOST")
        code, told = await devices(door)
        assert code == ExitCode.FAILED
        assert told["reader"]["health"] == "lost"
    code, told = await devices(door)
    assert code == ExitCode.UNREACHABLE
    assert told["reader"]["note"].startswith("daemon not running")
