"""The daemon's end of the camera's worker process: what it says, and how long it may take to say it.

Invariant: a worker that hangs longer than a deadline is killed; none outlives its `CameraProcess`.
"""

from pathlib import Path

from edge.ports import ReaderLost, Reason
from firmware_adapters.camera_records import RECORDS, Begun, Keep, Record, Settings
from firmware_adapters.worker_process import Worker, WorkerStuckError
from firmware_adapters.worker_process import start_worker as start_any

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

    def __init__(self, worker: Worker[Record]) -> None:
        """Take over a worker that has been started."""
        self._worker = worker

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._worker.pid

    async def next_record(self) -> Record:
        """Wait for the next record, as long as the worker may take to give it.

        Raises:
            WorkerEndedError: the worker died, or hung in a frame and was killed.
            ReaderError: the source failed, is stuck, or a library is missing.
        """
        try:
            record = await self._worker.next_record()
        except WorkerStuckError as error:
            raise _stuck() from error
        if isinstance(record, Begun):
            self._worker.deadline_s = FRAME_DEADLINE_S
        return record

    async def ask_for_pictures(self, prefix: Path) -> None:
        """Ask the worker to write its last pictures as `prefix`-1.jpg and so on; its `Kept` tells that it has.

        Raises:
            WorkerEndedError: it died.
        """
        await self._worker.send(Keep(str(prefix)))

    async def stop(self) -> None:
        """End the worker and wait for its end; a second call does nothing."""
        await self._worker.stop()


async def start_worker(settings: Settings) -> CameraProcess:
    """Start a worker.

    Raises:
        ReaderError: the operating system does not start it.
    """
    worker = await start_any(
        "the camera's worker",
        "firmware_adapters.camera_worker",
        settings,
        records=RECORDS,
        quiet_s=SOURCE_DEADLINE_S,
        environment=_ENVIRONMENT,
    )
    return CameraProcess(worker)


def _stuck() -> ReaderLost:
    return ReaderLost(
        Reason.DEADLINE,
        what=f"the camera has delivered nothing for {SOURCE_DEADLINE_S:g} s",
        remedy="check its cable; it is opened again by itself",
    )
