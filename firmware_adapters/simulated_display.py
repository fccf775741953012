"""A simulated display for twins, demonstrations and tests: each text is a line of `display-ID.jsonl`.

The door's state folder stands for the device: without it the display is lost.
Invariant: a line has what a real display's rows would show, blanks at the end left out.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from edge.ports import DisplayError, DisplayInfo, Reason
from firmware_adapters.address import Address
from firmware_adapters.held_display import HeldDisplay
from firmware_adapters.simulated_folder import LOOK_EVERY_S, StateFolder, folder_identity, wall_ms

# As the serial display.
COLUMNS = 20
ROWS = 2


class FolderGlass:
    """A display that is a file."""

    def __init__(self, path: Path, display_id: str) -> None:
        """Hold the folder's display of this id.

        Raises:
            DisplayError: the folder is not there, is in use, or cannot be written.
        """
        self._identity = folder_identity(path)
        if self._identity is None:
            raise _lost(path)
        self._folder = StateFolder(path, holder=f"display-{display_id}", error=DisplayError)

    async def put(self, rows: Sequence[str]) -> None:
        """Put it on record; see `Glass.put`."""
        self._folder.append_shown({"t_wall_ms": wall_ms(), "rows": [row.rstrip() for row in rows]})

    async def gone(self) -> DisplayError:
        """Wait until the folder is gone, or another one."""
        while folder_identity(self._folder.path) == self._identity:  # noqa: ASYNC110 - the folder tells nobody
            await asyncio.sleep(LOOK_EVERY_S)
        return _lost(self._folder.path)

    async def aclose(self) -> None:
        """Let go of the folder."""
        self._folder.close()


def open_display(address: Address, display_id: str) -> HeldDisplay:
    """Make the display for an address like display+simulated:///var/lib/doorward/twin."""

    async def open_glass() -> FolderGlass:
        return FolderGlass(Path(address.path), display_id)

    return HeldDisplay(DisplayInfo(id=display_id, columns=COLUMNS, rows=ROWS, simulated=True), open_glass)


def _lost(path: Path) -> DisplayError:
    return DisplayError(
        Reason.LOST,
        what=f"the folder {path} of the simulated display is not there",
        remedy=f"make it, or bring it back: mkdir -p {path}",
    )
