"""The daemon's end of a worker process in which a driver runs: starts it, hears its lines within deadlines, ends it.

A driver lives apart so that one that hangs or crashes costs a reading, and not the door.
Invariant: a worker that says nothing for longer than a deadline is killed; none outlives its `DriverProcess`.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.driver_faults import Fault, FaultKind

# A killed process is gone at once, unless its driver holds it.
END_DEADLINE_S = 1.0
# A worker that does not take a command of a few hundred bytes is stuck: a pipe holds 64 KiB.
SEND_DEADLINE_S = 2.0


class DriverEndedError(Exception):
    """The worker process died or had to be killed; a new one can take over."""


class DriverStuckError(DriverEndedError):
    """The worker said nothing within its deadline, and was killed."""


class DriverProcess:
    """A running worker."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        lines: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        """Take over a worker that has been started; `name` is for people."""
        self._name = name
        self._process = process
        self._lines = lines
        self._transport = transport
        self._pidfd = -1
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._process.pid

    async def next_line(self, deadline_s: float) -> bytes:
        """Wait for the next line. A wait that is cancelled loses nothing.

        Raises:
            DriverStuckError: it said nothing for `deadline_s` and was killed.
            DriverEndedError: it died.
        """
        try:
            async with asyncio.timeout(deadline_s):
                return await self._lines.readuntil(b"\n")
        except TimeoutError as error:
            await self.stop()
            raise DriverStuckError(f"{self._name} hung and was killed") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            raise await self.ended() from error

    async def send(self, line: bytes) -> None:
        """Send a line to the worker's standard input.

        Raises:
            DriverStuckError: it does not take it, and was killed.
            DriverEndedError: it has died.
        """
        commands = self._process.stdin
        if commands is None:
            raise DriverEndedError(f"{self._name} takes no commands")
        try:
            async with asyncio.timeout(SEND_DEADLINE_S):
                commands.write(line)
                await commands.drain()
        except TimeoutError as error:
            await self.stop()
            raise DriverStuckError(f"{self._name} hung and was killed") from error
        except OSError as error:
            raise await self.ended() from error

    async def ended(self) -> DriverEndedError:
        """End the worker, and make the error that says how it ended."""
        await self.stop()
        return DriverEndedError(f"{self._name} ended (code {self._process.returncode})")

    async def stop(self) -> None:
        """End the worker and wait for its end; a second call does nothing."""
        self._transport.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        # It holds nothing that would need an orderly end, and a driver may not let it obey one. Not
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


async def start_process(
    name: str,
    module: str,
    settings: Callable[[int], str],
    *,
    most_line_bytes: int,
    environment: Mapping[str, str] | None = None,
    takes_commands: bool = False,
) -> DriverProcess:
    """Start `module` as a worker.

    Args:
        name: for people, as in "the camera's worker".
        module: is run as `python -m`.
        settings: makes its one argument, given the file descriptor that it writes its lines to.
        most_line_bytes: a longer line ends the worker.
        environment: added to the daemon's own.
        takes_commands: whether it reads standard input.

    Raises:
        ReaderError: the operating system does not start it.
    """
    read_fd, write_fd = os.pipe()
    lines = asyncio.StreamReader(limit=most_line_bytes)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines),
        os.fdopen(read_fd, "rb", buffering=0),
    )
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            module,
            settings(write_fd),
            stdin=asyncio.subprocess.PIPE if takes_commands else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(write_fd,),
            env=os.environ | dict(environment or {}),
        )
    except OSError as error:
        transport.close()
        raise ReaderError(
            Reason.FAULT,
            what=f"{name} cannot be started ({error.strerror})",
            remedy="free memory or raise the limit of processes",
        ) from error
    finally:
        os.close(write_fd)
    return DriverProcess(name, process, lines, transport)


def error_of(fault: Fault) -> ReaderError:
    """Make the port's error of what a worker told."""
    kind = ReaderLost if fault.kind is FaultKind.LOST else ReaderError
    return kind(Reason(fault.kind.value), what=fault.what, remedy=fault.remedy)
