"""The daemon's end of a worker process in which a driver runs: starts it, talks with it within deadlines, ends it.

A driver that parses what a stranger shows or sends, or that hangs, lives there: it costs a reading, and not the door.
Invariant: a worker that is not heard for a deadline is killed; its socket ends with the daemon, however that ends, and
the worker with its socket. Must not: log what is said.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.worker_records import MAX_RECORD_BYTES, Fault, FaultKind, decode, encode

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Loading a library takes at most 0.4 s here and 3 s from a slow card; opening a PN532 on a serial port 0.5 s more.
START_DEADLINE_S = 20.0
# A worker that does not take an order of a few hundred bytes is stuck: a socket holds 200 KiB.
SEND_DEADLINE_S = 2.0
# A killed process is gone at once, unless its driver holds it.
END_DEADLINE_S = 1.0

_Record = TypeVar("_Record", bound="DataclassInstance")


class WorkerEndedError(Exception):
    """The worker process died or had to be killed; a new one can take over."""


class WorkerStuckError(WorkerEndedError):
    """The worker, which had been at work, was silent or deaf for its deadline, and was killed."""


class Worker(Generic[_Record]):
    """A running worker.

    `deadline_s` is how long its next record may take. Each record sets it to the usual one; whoever takes a record
    after which less is due says so.
    """

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        records: Mapping[str, type[_Record]],
        quiet_s: float,
    ) -> None:
        """Take over a worker that has been started; see `start_worker`."""
        self._name = name
        self._process = process
        self._reader = reader
        self._writer = writer
        self._records: Mapping[str, type[_Record | Fault]] = {**records, Fault.__name__: Fault}
        self._quiet_s = quiet_s
        self.deadline_s = START_DEADLINE_S
        self._pidfd = -1
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._process.pid

    async def next_record(self) -> _Record:
        """Wait for the next record, as long as the worker may take to give it. A wait that is cancelled loses nothing.

        Raises:
            WorkerStuckError: it was at work, said nothing for the usual deadline and was killed.
            WorkerEndedError: it died, or hung elsewhere or talked nonsense and was killed.
            ReaderError: the device failed, or a library is missing.
        """
        try:
            async with asyncio.timeout(self.deadline_s):
                line = await self._reader.readuntil(b"\n")
            record: _Record | Fault = decode(line, self._records)
        except TimeoutError as error:
            raise await self._hung(at_work=self.deadline_s == self._quiet_s) from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError) as error:
            raise await self._ended() from error
        if isinstance(record, Fault):
            kind = ReaderLost if record.kind is FaultKind.LOST else ReaderError
            raise kind(Reason(record.kind.value), what=record.what, remedy=record.remedy)
        self.deadline_s = self._quiet_s
        return record

    async def send(self, order: "DataclassInstance") -> None:
        """Give the worker an order.

        Raises:
            WorkerStuckError: it does not take it, and was killed.
            WorkerEndedError: it has died.
        """
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                self._writer.write(encode(order))
                await self._writer.drain()
        except TimeoutError as error:
            raise await self._hung(at_work=True) from error
        except OSError as error:
            raise await self._ended() from error

    async def leave(self) -> None:
        """Let the worker end in its own order: it finds its socket closed. Kill it when it does not."""
        self._writer.transport.abort()
        await self._wait()
        await self.stop()

    async def stop(self) -> None:
        """End the worker at once and wait for its end; a second call does nothing."""
        self._writer.transport.abort()
        # Not Process.kill(): that may reap the process before the event loop does, and lose its code.
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # it has ended; its code is still to be fetched below
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        await self._wait()
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_DEADLINE_S):
                await self._process.wait()

    async def _hung(self, *, at_work: bool) -> WorkerEndedError:
        await self.stop()
        return (WorkerStuckError if at_work else WorkerEndedError)(f"{self._name} hung and was killed")

    async def _ended(self) -> WorkerEndedError:
        await self.leave()  # its code is told, and it may still be on its way out
        return WorkerEndedError(f"{self._name} ended (code {self._process.returncode})")


async def start_worker(
    name: str,
    module: str,
    settings: "DataclassInstance",
    *,
    records: Mapping[str, type[_Record]],
    quiet_s: float,
    environment: Mapping[str, str] | None = None,
) -> Worker[_Record]:
    """Start `python -m module` and give it its settings through its socket: arguments are for all to see.

    Args:
        name: for people, as in "the camera's worker".
        module: its one argument is the descriptor of its socket (`worker_parent.Parent`).
        settings: its first line.
        records: what it may tell besides a `Fault`, by name.
        quiet_s: how long it may be silent once it is at work.
        environment: added to the daemon's own.

    Raises:
        ReaderError: the operating system does not start it.
    """
    with contextlib.ExitStack() as undo:
        ours, theirs = socket.socketpair()
        undo.callback(theirs.close)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_RECORD_BYTES)
        # Whatever ends this early: a worker whose socket is closed ends by itself.
        on_failure = undo.enter_context(contextlib.ExitStack())
        on_failure.callback(writer.transport.abort)
        writer.write(encode(settings))
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
                env=os.environ | dict(environment or {}),
            )
        except OSError as error:
            raise ReaderError(
                Reason.FAULT,
                what=f"{name} cannot be started ({error.strerror})",
                remedy="free memory or raise the limit of processes",
            ) from error
        on_failure.pop_all()
    return Worker(name, process, reader, writer, records=records, quiet_s=quiet_s)
