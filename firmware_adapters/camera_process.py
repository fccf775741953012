"""The daemon's end of the camera's worker process: what it says, and how long it may take to say it.

Invariant: a worker that hangs longer than a deadline is killed; none outlives its `CameraProcess`.
"""

import os
from dataclasses import replace
from pathlib import Path

from edge.ports import ReaderLost, Reason
from firmware_adapters.camera_records import (
    MAX_RECORD_BYTES,
    Begun,
    Record,
    Settings,
    decode_record,
    encode_settings,
)
from firmware_adapters.driver_faults import Fault
from firmware_adapters.driver_process import DriverProcess, DriverStuckError, error_of, start_process

# Loading the image libraries takes 0.4 s here and about 3 s from a slow card.
START_DEADLINE_S = 20.0
# One frame: 1.4 ms typical, 50 ms at worst with zbar, four times that on a small board.
FRAME_DEADLINE_S = 1.0
# Between frames: a camera that has delivered nothing for so long is stuck.
SOURCE_DEADLINE_S = 5.0

# One thread a library (the other cores have other work), no chatter, no image of more pixels than any camera's, and
# whole frames given back to the system at once (mallopt(3), M_MMAP_THRESHOLD): 3 MB of 60.
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "500000",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_IO_MAX_IMAGE_PIXELS": "33177600",
    "OPENCV_LOG_LEVEL": "OFF",
}


class CameraProcess:
    """A running worker."""

    def __init__(self, worker: DriverProcess) -> None:
        """Take over a worker that has been started."""
        self._worker = worker
        self._deadline_s = START_DEADLINE_S

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._worker.pid

    async def next_record(self) -> Record:
        """Wait for the next record, as long as the worker may take to give it.

        Raises:
            DriverEndedError: the worker died, or hung in a frame and was killed.
            ReaderError: the source failed, is stuck, or a library is missing.
        """
        try:
            record = decode_record(await self._worker.next_line(self._deadline_s))
        except DriverStuckError as error:
            if self._deadline_s == SOURCE_DEADLINE_S:
                raise _stuck() from error
            raise
        except ValueError as error:
            raise await self._worker.ended() from error
        if isinstance(record, Fault):
            raise error_of(record)
        self._deadline_s = FRAME_DEADLINE_S if isinstance(record, Begun) else SOURCE_DEADLINE_S
        return record

    async def ask_for_pictures(self, prefix: Path) -> None:
        """Ask the worker to write its last pictures as `prefix`-1.jpg and so on; its `Kept` tells that it has.

        Raises:
            DriverEndedError: it was started without pictures, or it died.
        """
        await self._worker.send(os.fsencode(prefix) + b"\n")

    async def stop(self) -> None:
        """End the worker and wait for its end; a second call does nothing."""
        await self._worker.stop()


async def start_worker(settings: Settings) -> CameraProcess:
    """Start a worker with `settings` (their file descriptor is chosen here).

    Raises:
        ReaderError: the operating system does not start it.
    """
    worker = await start_process(
        "the camera's worker",
        "firmware_adapters.camera_worker",
        lambda records_fd: encode_settings(replace(settings, records_fd=records_fd)),
        most_line_bytes=MAX_RECORD_BYTES,
        environment=_ENVIRONMENT,
        takes_commands=settings.pictures,
    )
    return CameraProcess(worker)


def _stuck() -> ReaderLost:
    return ReaderLost(
        Reason.DEADLINE,
        what=f"the camera has delivered nothing for {SOURCE_DEADLINE_S:g} s",
        remedy="check its cable; it is opened again by itself",
    )
