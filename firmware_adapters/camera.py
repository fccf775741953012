"""A camera that reads QR codes, with the decoding in a worker process (`camera_worker.py`).

Invariants: a code that stays in view is one presentation; whatever happens to the worker, the reader either reads
on with a new one or raises.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge.ports import Feedback, Medium, Presentation, ReaderError, ReaderInfo, Reason
from firmware_adapters.address import AdapterError, Address, AddressFault
from firmware_adapters.camera_process import CameraProcess, start_worker
from firmware_adapters.camera_records import (
    Begun,
    Idle,
    Kept,
    Ready,
    Record,
    Seen,
    Settings,
    SourceKind,
    Unchanged,
    Unreadable,
)
from firmware_adapters.driver_process import DriverEndedError
from firmware_adapters.pacing import ReopenPacing
from firmware_adapters.repeat_filter import RepeatFilter

# The largest QR code there is: version 40, level L, bytes.
MAX_CODE_BYTES = 2953
# Workers in a row that end before they are ready: then it is the installation, not a frame.
MOST_FAILED_STARTS = 3
# The worker hears between two frames, and writes four files of 60 kB.
PICTURES_DEADLINE_S = 2.0


@dataclass(slots=True)
class CameraStatistics:
    """What a camera has done since it was made.

    Args:
        frames: frames looked at.
        unchanged: of these, skipped because nothing had moved.
        unreadable: of these, not an image.
        fallbacks: of these, looked at in one of the expensive ways as well.
        codes: codes found, repeats included.
        repeats: of these, still in view and so not presented.
        ignored_codes: codes beyond the number considered in one frame.
        worker_restarts: workers that died or hung and were replaced.
        has_zbar: whether zbar is installed.
    """

    frames: int = 0
    unchanged: int = 0
    unreadable: int = 0
    fallbacks: int = 0
    codes: int = 0
    repeats: int = 0
    ignored_codes: int = 0
    worker_restarts: int = 0
    has_zbar: bool = False


class CameraReader:
    """Reads the QR codes before a camera."""

    def __init__(self, reader_id: str, settings: Settings, *, repeat_ms: int) -> None:
        """Prepare a reader; no process is started before `presentations` is iterated.

        Args:
            reader_id: the id the configuration gives it.
            settings: the source and how to read it.
            repeat_ms: how long a payload must have been out of view to count again; 0 counts every frame.
        """
        self._info = ReaderInfo(reader_id, frozenset({Medium.CAMERA}), frozenset(), MAX_CODE_BYTES)
        self._settings = settings
        self._repeats = RepeatFilter(window_ms=repeat_ms)
        self._pacing = ReopenPacing()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._iterating = False
        self._worker: CameraProcess | None = None
        self._kept: asyncio.Future[int] | None = None
        self._failed_starts = 0
        self.statistics = CameraStatistics()

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is."""
        return self._info

    @property
    def worker_pid(self) -> int | None:
        """Return the process id of the decoder at work, None when there is none."""
        return None if self._worker is None else self._worker.pid

    async def presentations(self) -> AsyncIterator[Presentation]:
        """Yield one presentation a code that comes into view; see `Reader.presentations`."""
        if self._iterating:
            raise ReaderError(
                Reason.BUSY,
                what=f"camera {self._info.id} is being read already",
                remedy="end the first iteration before the next",
            )
        self._iterating = True
        try:
            while not self._closing.is_set():
                record = await self._next_record()
                for presentation in self._presented_by(record):
                    yield presentation
        except ReaderError:
            if not self._closing.is_set():
                raise
        finally:
            self._iterating = False
            await self._drop_worker()

    async def opened(self) -> None:
        """Wait until the source delivers or is known to be watched; see `Reader.opened`."""
        await self._opened.wait()

    async def show(self, feedback: Feedback) -> None:
        """Do nothing: a camera has no capabilities."""

    def troubles(self) -> Mapping[str, int]:
        """Tell what was in the way of reading; see `Counting.troubles`."""
        counted = {
            "code beyond those of one frame": self.statistics.ignored_codes,
            "unreadable frame": self.statistics.unreadable,
            "decoder replaced": self.statistics.worker_restarts,
        }
        return {what: count for what, count in counted.items() if count}

    def remember_pictures(self) -> None:
        """Keep the last pictures from the next worker on; see `Camera.remember_pictures`."""
        self._settings = replace(self._settings, pictures=True)

    async def keep_pictures(self, prefix: Path) -> int:
        """Write the last pictures; see `Camera.keep_pictures`."""
        worker = self._worker
        if worker is None or self._kept is not None:
            return 0
        self._kept = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PICTURES_DEADLINE_S):
                await worker.ask_for_pictures(prefix)
                return await self._kept
        except (TimeoutError, DriverEndedError):
            return 0
        finally:
            self._kept = None

    async def aclose(self) -> None:
        """End the worker and the iteration."""
        self._closing.set()
        await self._drop_worker()

    async def _next_record(self) -> Record | None:
        """Hear the worker, or replace it when it has ended; None when there is nothing to hear yet."""
        if self._worker is None:
            await self._start_paced()
            return None
        try:
            return await self._worker.next_record()
        except DriverEndedError as error:
            await self._drop_worker()
            self.statistics.worker_restarts += 1
            self._failed_starts += 1
            if self._failed_starts > MOST_FAILED_STARTS and not self._closing.is_set():
                raise ReaderError(
                    Reason.FAULT,
                    what=f"camera {self._info.id}: {error}, {self._failed_starts} times in a row",
                    remedy="run python -m firmware_adapters.camera_worker by hand to see why",
                ) from error
            return None

    async def _start_paced(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pacing.pause_s()):
                await self._closing.wait()
        if not self._closing.is_set():
            self._worker = await start_worker(self._settings)

    def _presented_by(self, record: Record | None) -> list[Presentation]:
        """Count a record, and return the presentations it brings."""
        statistics = self.statistics
        match record:
            case Ready(zbar=zbar):
                statistics.has_zbar = zbar
            case Begun(name=name):
                statistics.frames += 1
                if self._settings.source is SourceKind.FILES:
                    # Should this frame kill the worker, the next one begins after it.
                    self._settings = replace(self._settings, after=name)
            case Unreadable():
                statistics.unreadable += 1
                self._works()
            case Unchanged(at_ms=at_ms):
                statistics.unchanged += 1
                self._repeats.unchanged(at_ms=at_ms)
                self._works()
            case Idle():
                self._works()
            case Kept(count=count):
                self._answer(count)
            case Seen():
                self._works()
                return self._presentations_in(record)
            case _:
                pass
        return []

    def _presentations_in(self, seen: Seen) -> list[Presentation]:
        new = self._repeats.new_in(seen.codes, at_ms=seen.at_ms)
        self.statistics.codes += len(seen.codes)
        self.statistics.repeats += len(seen.codes) - len(new)
        self.statistics.ignored_codes += seen.ignored
        self.statistics.fallbacks += seen.fallback
        return [Presentation(self._info.id, Medium.CAMERA, code, seen.at_ms) for code in new]

    def _works(self) -> None:
        self._opened.set()
        self._pacing.succeeded()
        self._failed_starts = 0

    def _answer(self, count: int) -> None:
        if self._kept is not None and not self._kept.done():
            self._kept.set_result(count)

    async def _drop_worker(self) -> None:
        self._opened.clear()
        self._answer(0)
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()


def open_folder(address: Address, reader_id: str) -> CameraReader:
    """Make the reader for an address like camera+files:///run/doorward/frames?fps=15."""
    return _reader(address, reader_id, SourceKind.FILES, address.path)


def open_device(address: Address, reader_id: str) -> CameraReader:
    """Make the reader for an address like camera:///dev/video0 or camera:0."""
    return _reader(address, reader_id, SourceKind.DEVICE, address.path)


def open_http(address: Address, reader_id: str) -> CameraReader:
    """Make the reader for an address like camera+http://10.0.0.7:8080/stream.mjpg."""
    return _reader(address, reader_id, SourceKind.HTTP, f"http://{address.host}{address.path}")


def open_csi(address: Address, reader_id: str) -> CameraReader:
    """Make the reader for an address like camera+csi:0.

    Raises:
        AdapterError: it names no number.
    """
    number = address.path.lstrip("/")
    if not (number.isascii() and number.isdigit()):
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {address.url!r} names no CSI camera by its number",
            remedy="write it like camera+csi:0",
        )
    return _reader(address, reader_id, SourceKind.CSI, number)


def _reader(address: Address, reader_id: str, source: SourceKind, place: str) -> CameraReader:
    options = address.options
    settings = Settings(
        source=source,
        place=place,
        fps=options["fps"],
        width=options.get("width", 0),
        height=options.get("height", 0),
        fallbacks_per_s=options["fallbacks"],
        gate=options["repeat_ms"] > 0,
    )
    return CameraReader(reader_id, settings, repeat_ms=options["repeat_ms"])
