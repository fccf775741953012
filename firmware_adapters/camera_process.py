"""The daemon's end of the camera's worker process: starts it, hears it within deadlines, ends it.

Invariant: a worker that hangs longer than a deadline is killed; none outlives its `CameraProcess`.
"""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.camera_records import (
    MAX_RECORD_BYTES,
    Begun,
    Fault,
    FaultKind,
    Record,
    Settings,
    decode_record,
    encode_settings,
)

# Loading the image libraries takes 0.4 s here and about 3 s from a slow card.
START_DEADLINE_S = 20.0
# One frame: 1.4 ms typical, 50 ms at worst with zbar, four times that on a small board.
FRAME_DEADLINE_S = 1.0
# Between frames: a camera that has delivered nothing for so long is stuck.
SOURCE_DEADLINE_S = 5.0
# A killed process is gone at once, unless its driver holds it.
END_DEADLINE_S = 1.0

# One thread a library (the other cores have other work), no chatter, no image of more pixels than any camera's, and
# whole frames given back to the system at once (mallopt(3), M_MMAP_THRESHOLD): 3 MB of 60.
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "500000",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_IO_MAX_IMAGE_PIXELS": "33177600",
    "OPENCV_LOG_LEVEL": "OFF",
}


class WorkerEndedError(Exception):
    """The worker process died or had to be killed; a new one can take over after `frame`."""


class CameraProcess:
    """A running worker."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        records: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        """Take over a worker that has been started."""
        self._process = process
        self._records = records
        self._transport = transport
        self._deadline_s = START_DEADLINE_S
        self._pidfd = -1
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._process.pid

    async def next_record(self) -> Record:
        """Wait for the next record, as long as the worker may take to give it.

        Raises:
            WorkerEndedError: the worker died, or hung in a frame and was killed.
            ReaderError: the source failed, is stuck, or a library is missing.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                line = await self._records.readuntil(b"\n")
            record = decode_record(line)
        except TimeoutError as error:
            await self.stop()
            if self._deadline_s == SOURCE_DEADLINE_S:
                raise _stuck() from error
            raise WorkerEndedError("the camera's worker hung and was killed") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError) as error:
            await self.stop()
            raise WorkerEndedError(f"the camera's worker ended (code {self._process.returncode})") from error
        if isinstance(record, Fault):
            kind = ReaderLost if record.kind is FaultKind.LOST else ReaderError
            raise kind(Reason(record.kind.value), what=record.what, remedy=record.remedy)
        self._deadline_s = FRAME_DEADLINE_S if isinstance(record, Begun) else SOURCE_DEADLINE_S
        return record

    def ask_for_pictures(self, prefix: Path) -> bool:
        """Ask the worker to write its last pictures as `prefix`-1.jpg and so on; False when it cannot be asked."""
        questions = self._process.stdin
        if questions is None or questions.is_closing():
            return False
        questions.write(os.fsencode(prefix) + b"\n")
        return True

    async def stop(self) -> None:
        """End the worker and wait for its end; a second call does nothing."""
        self._transport.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        # It holds nothing that would need an orderly end, and an image library may not let it obey one. Not
        # Process.kill(): that may reap the process before the event loop does, and lose its code.
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # it has ended; its code is still to be fetched below
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_DEADLINE_S):
                await self._process.wait()
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


async def start_worker(settings: Settings) -> CameraProcess:
    """Start a worker with `settings` (their file descriptor is chosen here).

    Raises:
        ReaderError: the operating system does not start it.
    """
    read_fd, write_fd = os.pipe()
    records = asyncio.StreamReader(limit=MAX_RECORD_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(records),
        os.fdopen(read_fd, "rb", buffering=0),
    )
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "firmware_adapters.camera_worker",
            encode_settings(replace(settings, records_fd=write_fd)),
            stdin=asyncio.subprocess.PIPE if settings.pictures else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(write_fd,),
            env=os.environ | _ENVIRONMENT,
        )
    except OSError as error:
        transport.close()
        raise ReaderError(
            Reason.FAULT,
            what=f"the camera's worker cannot be started ({error.strerror})",
            remedy="free memory or raise the limit of processes",
        ) from error
    finally:
        os.close(write_fd)
    return CameraProcess(process, records, transport)


def _stuck() -> ReaderLost:
    return ReaderLost(
        Reason.DEADLINE,
        what=f"the camera has delivered nothing for {SOURCE_DEADLINE_S:g} s",
        remedy="check its cable; it is opened again by itself",
    )
