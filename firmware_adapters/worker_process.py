"""The daemon's end of a worker process that holds a device: starts it, talks with it within deadlines, ends it.

A driver in C that parses what a stranger's wire sends, or that hangs, lives there: it costs the device, not the door.
Invariant: a worker that is not heard for a deadline is killed; a socket ends with its daemon, however that ends.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys

from firmware_adapters.worker_records import MAX_RECORD_BYTES

# Loading a library takes 0.1 s here and a second from a slow card.
START_DEADLINE_S = 20.0
# A worker tells that it is alive four times a second (worker_parent.BEAT_S); a loaded small board may pause it.
BEAT_DEADLINE_S = 3.0
SEND_DEADLINE_S = 2.0
END_DEADLINE_S = 1.0


class WorkerEndedError(Exception):
    """The worker process died or had to be killed."""


class WorkerProcess:
    """A running worker."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take over a worker that has been started."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self._deadline_s = START_DEADLINE_S
        self._pidfd = -1
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._process.pid

    async def next_line(self) -> bytes:
        """Wait for the next record, as long as the worker may take to give it.

        Raises:
            WorkerEndedError: it died, or hung and was killed.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                line = await self._reader.readuntil(b"\n")
        except TimeoutError as error:
            await self.stop()
            raise WorkerEndedError("the worker hung and was killed") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            await self.stop()
            raise WorkerEndedError(f"the worker ended (code {self._process.returncode})") from error
        self._deadline_s = BEAT_DEADLINE_S
        return line

    async def send(self, line: bytes) -> None:
        """Give the worker one line.

        Raises:
            WorkerEndedError: it is gone, or takes nothing.
        """
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                self._writer.write(line)
                await self._writer.drain()
        except (TimeoutError, OSError) as error:
            raise WorkerEndedError("the worker takes no orders") from error

    async def leave(self) -> None:
        """Let the worker end in its own order: it finds its socket closed. Kill it when it does not."""
        self._writer.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_DEADLINE_S):
                await self._process.wait()
        await self.stop()

    async def stop(self) -> None:
        """End the worker at once and wait for its end; a second call does nothing."""
        self._writer.transport.abort()
        # Not Process.kill(): that may reap the process before the event loop does, and lose its code.
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_DEADLINE_S):
                await self._process.wait()
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


async def start_worker(module: str, settings: bytes) -> WorkerProcess:
    """Start `python -m module` and give it its settings, one line, through its socket: arguments are for all to see.

    Raises:
        WorkerEndedError: the operating system does not start it.
    """
    with contextlib.ExitStack() as undo:
        ours, theirs = socket.socketpair()
        undo.callback(theirs.close)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_RECORD_BYTES)
        # Whatever ends this early: a worker whose socket is closed ends by itself.
        on_failure = undo.enter_context(contextlib.ExitStack())
        on_failure.callback(writer.transport.abort)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                module,
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            raise WorkerEndedError(f"the worker cannot be started ({error.strerror})") from error
        worker = WorkerProcess(process, reader, writer)
        await worker.send(settings)
        on_failure.pop_all()
    return worker
