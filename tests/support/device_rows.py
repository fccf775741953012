"""What `doorward edge devices` tells of a door, asked with the real program."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from edge.config import render_config
from tests.support.daemon_door import DOORWARD
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.support.daemon_door import Door


async def device_rows(door: Door) -> tuple[int | None, dict[str, dict[str, Any]]]:
    """Run the command; gives its exit code, and each device by its id, the lock by what it is."""
    file = door.folder / "devices.toml"
    file.write_text(render_config(door.config))
    told = await asyncio.create_subprocess_exec(
        DOORWARD, "edge", "devices", "--config", str(file), "--json", stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await told.communicate()
    rows = [json.loads(line) for line in out.splitlines()]
    return told.returncode, {row["id"] or row["kind"]: row for row in rows}


async def health_of(door: Door, name: str) -> tuple[str, str]:
    """Give the health of one device, and the note beside it."""
    row = (await device_rows(door))[1][name]
    return row["health"], row["note"]
