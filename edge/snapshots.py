"""Pictures around an event or by order, where the door's owner wants them: off unless the configuration says how long.

An event says nothing of its pictures, and travels without them: they are named after it, stay on the door, and are
gone after their hours or when there are too many. `doorward diag` names those that are there.

Invariant: files of mode 0600 in a folder of mode 0700; what is older than `keep_hours` is deleted at the next sweep,
also after the option was turned off.
Must not: hold up a decision; pictures that cannot be had in time are none.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from edge.config_types import SnapshotsConfig
from edge.database import Journaled
from edge.ports import Camera
from wire.names import EventKind

FOLDER: Final = "snapshots"
SWEEP_S: Final = 60.0
WAITING: Final = 16
"""Events that wait for their pictures; in a flood of codes the later ones get none."""
EVENTS: Final = frozenset(
    {EventKind.ACCESS_GRANTED, EventKind.ACCESS_DENIED, EventKind.FORCED_OPEN, EventKind.OPEN_TOO_LONG}
)
_FOLDER_MODE: Final = 0o700
_MB: Final = 1_000_000
_HOUR_S: Final = 3600
_NAME: Final = re.compile(r"([0-9a-f]{16})-(\d{1,19})(-[a-z0-9-]+)?-\d\.jpg")

_log: Final = structlog.get_logger()


class Snapshots:
    """Has pictures kept for events, and deletes them when their time is over.

    Args:
        state_folder: where the folder of pictures is.
        epoch: the journal's, part of each name: after a new journal numbers begin again.
        cameras: by the reader's id.
        limits: what the configuration says.
        now_s: Unix seconds by the clock that files have their times from.
    """

    def __init__(
        self,
        state_folder: Path,
        epoch: bytes,
        *,
        cameras: Mapping[str, Camera],
        limits: SnapshotsConfig,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._folder = state_folder / FOLDER
        self._epoch = epoch.hex()
        self._cameras = cameras if limits.keep_hours else {}
        self._limits = limits
        self._now_s = now_s
        self._wanted: asyncio.Queue[tuple[int, str | None]] = asyncio.Queue(WAITING)
        for camera in self._cameras.values():
            camera.remember_pictures()

    @property
    def kept(self) -> bool:
        """Tell whether pictures are kept at all: the owner wants them, and there is a camera."""
        return bool(self._cameras)

    def take(self, seq: int) -> None:
        """Have every camera's pictures of now kept under the number of an event; returns at once."""
        with contextlib.suppress(asyncio.QueueFull):
            self._wanted.put_nowait((seq, None))

    def journaled(self, journaled: Journaled) -> None:
        """Note an event that pictures are wanted of; returns at once."""
        if self._cameras and journaled.event.kind in EVENTS:
            with contextlib.suppress(asyncio.QueueFull):
                self._wanted.put_nowait((journaled.seq, journaled.event.reader))

    async def run(self) -> None:
        """Have pictures kept as events come, and sweep; runs until cancelled."""
        while True:
            self._sweep_quietly()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    while True:
                        await self._keep(*await self._wanted.get())

    def of_events(self) -> dict[int, list[str]]:
        """Give the paths of the pictures that are there, by the event's number."""
        found: dict[int, list[str]] = {}
        for path in self._files():
            named = _NAME.fullmatch(path.name)
            if named is not None and named[1] == self._epoch:
                found.setdefault(int(named[2]), []).append(str(path))
        return found

    def sweep(self) -> None:
        """Delete what is too old, and the oldest of what is too much.

        Raises:
            OSError: the folder cannot be read, or a file not be deleted.
        """
        files = sorted(((path.stat(), path) for path in self._files()), key=lambda each: each[0].st_mtime, reverse=True)
        oldest_s = self._now_s() - self._limits.keep_hours * _HOUR_S
        size = 0
        for status, path in files:
            size += status.st_size
            if not self._limits.keep_hours or status.st_mtime < oldest_s or size > self._limits.most_mb * _MB:
                path.unlink(missing_ok=True)

    async def _keep(self, seq: int, reader: str | None) -> None:
        """Ask the camera that read, or every camera when it was none of them."""
        cameras = {name: camera for name, camera in self._cameras.items() if name == reader} or self._cameras
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        except OSError as error:
            _log.warning("snapshot_failed", seq=seq, sentence=str(error))
            return
        for name, camera in cameras.items():
            of_camera = "" if name == reader else f"-{name}"
            count = await camera.keep_pictures(self._folder / f"{self._epoch}-{seq}{of_camera}")
            _log.info("snapshot", seq=seq, reader=name, pictures=count)

    def _files(self) -> list[Path]:
        return sorted(self._folder.iterdir()) if self._folder.is_dir() else []

    def _sweep_quietly(self) -> None:
        try:
            self.sweep()
        except OSError as error:
            _log.warning("snapshot_sweep", sentence=str(error))
