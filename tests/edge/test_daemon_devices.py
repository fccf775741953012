"""The devices of a running door, as `doorward edge devices` tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from tests.support.daemon_door import Door, make_door, running
from tests.support.device_rows import device_rows
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return make_door(tmp_path, settings=DoorSettings(release_time_ms=80, open_time_ms=60_000))


async def test_devices_are_well_until_one_is_unplugged(door: Door):
    async with running(door):
        await door.scan_until(b"hello", kind="ACCESS_DENIED")
        code, told = await device_rows(door)
        assert code == ExitCode.OK
        assert {kind: each["health"] for kind, each in told.items()} == {
            "qr-1": "well",
            "lock": "well",
            "simulated-1": "well",
        }
        door.unplug()
        await door.seen(kind="READER_LOST")
        code, told = await device_rows(door)
        assert code == ExitCode.FAILED
        assert told["qr-1"]["health"] == "lost"
    code, told = await device_rows(door)
    assert code == ExitCode.UNREACHABLE
    assert told["qr-1"]["note"].startswith("daemon not running")
