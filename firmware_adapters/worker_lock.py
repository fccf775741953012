"""A lock whose relay is held by a process of its own (`relay_worker.py`).

Invariant: the deadline of an order is kept there; this end only asks, and starts the process anew when it ends, with
the time that was left: a process that dies during a fire must not lock the door.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from edge.ports import LockError, LockInfo, Reason
from firmware_adapters.relay_records import RECORDS, Done, Energise, Order, Release, Undone
from firmware_adapters.worker_records import MAX_RECORD_BYTES, Fault, decode, encode

RELAY_WORKER = "firmware_adapters.relay_worker"
# One day: longer than any scheduled unlock, short enough that a lost release ends.
LONGEST_HOLD_MS = 86_400_000
# Python and the GPIO library start in 0.1 s here, in two from a slow card.
START_DEADLINE_S = 20.0
# An order is one write, to a board on a bus at most two of 0.3 s each; the controller gives the whole call 2 s
# (edge/controller.py), a restart included.
ORDER_DEADLINE_S = 1.2
# A board on a bus may be busy or restarting: whoever is killed before it answers leaves the door open. systemd gives
# the whole service 5 s (systemd/doorward-edge.service).
END_DEADLINE_S = 3.0


class _Guard:
    """A running relay process and its socket."""

    def __init__(self, module: str, settings: bytes) -> None:
        """Start it, and wait until it holds the relay, secure. This blocks: it is done at the start of a daemon.

        Raises:
            LockError: it cannot take the relay.
        """
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.socket.sendall(settings)

    def wait_ready(self) -> None:
        """Wait until it holds the relay; end it otherwise."""
        self.socket.settimeout(START_DEADLINE_S)
        try:
            line = self.socket.recv(MAX_RECORD_BYTES)
            _expect(line, number=0)
        except (OSError, LockError) as error:
            self.end()
            raise error if isinstance(error, LockError) else _hung() from error
        self.socket.setblocking(False)  # noqa: FBT003 - the method's own argument

    def end(self) -> None:
        """Let it secure the relay and end, or kill it when it does not."""
        self.socket.close()
        # Waited for without reaping: the code is fetched below, by the one that started it.
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(END_DEADLINE_S)


class WorkerLock:
    """A relay behind a process boundary."""

    def __init__(self, info: LockInfo, module: str, settings: bytes) -> None:
        """Start the process, which takes the relay and secures it.

        Raises:
            LockError: the relay is in use, not there, or forbidden.
        """
        self._info = info
        self._start = _starter(module, settings)
        self._guard: _Guard | None = self._start()
        self._order = asyncio.Lock()
        self._number = 0
        self._until_s = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._answers: asyncio.Queue[bytes] = asyncio.Queue(maxsize=8)
        self._closed = False

    @property
    def info(self) -> LockInfo:
        """Tell where the relay is."""
        return self._info

    @property
    def worker_pid(self) -> int | None:
        """Return the id of the process that holds the relay."""
        return None if self._guard is None else self._guard.process.pid

    async def energise(self, *, hold_ms: int, cause_seq: int) -> None:  # noqa: ARG002 - a relay keeps no history
        """Unlock for `hold_ms`; see `Lock.energise`."""
        if self._closed:
            raise LockError(Reason.CLOSED, what=f"{self._info.id} was closed", remedy="open the lock again")
        if not 1 <= hold_ms <= LONGEST_HOLD_MS:
            raise LockError(
                Reason.UNSUPPORTED,
                what=f"{self._info.id} cannot be energised for {hold_ms} ms",
                remedy=f"use 1 to {LONGEST_HOLD_MS} ms",
            )
        await self._carry_out(lambda number: Energise(number, hold_ms))
        self._until_s = time.monotonic() + hold_ms / 1000

    async def release(self) -> None:
        """Secure the door now; see `Lock.release`."""
        self._until_s = 0.0
        if not self._closed:
            await self._carry_out(Release)

    async def aclose(self) -> None:
        """Let the process secure the relay and end."""
        if self._closed:
            return
        self._closed, self._until_s = True, 0.0
        await self._stop_hearing()
        guard, self._guard = self._guard, None
        if guard is not None:
            await asyncio.to_thread(guard.end)

    # --- orders --------------------------------------------------------------------------------------------

    async def _carry_out(self, order: Callable[[int], Order]) -> None:
        """Have one order carried out; once more by a new process when this one does not answer."""
        async with self._order:
            try:
                await self._ask(order)
            except LockError as error:
                if error.reason is Reason.LOST:  # the process is well, and the relay does not answer it
                    raise
                await self._replace()
                await self._ask(order)

    async def _ask(self, order: Callable[[int], Order]) -> None:
        guard = self._guard
        if guard is None:
            raise _hung()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._hear(guard))
        self._number += 1
        try:
            async with asyncio.timeout(ORDER_DEADLINE_S):
                await asyncio.get_running_loop().sock_sendall(guard.socket, encode(order(self._number)))
                _expect(await self._answers.get(), number=self._number)
        except (TimeoutError, OSError) as error:
            raise _hung() from error

    async def _hear(self, guard: _Guard) -> None:
        """Take the answers of a process until it ends; one that ends while the relay is energised is replaced."""
        loop = asyncio.get_running_loop()
        data = b"begin"
        while data:
            try:
                data = await loop.sock_recv(guard.socket, MAX_RECORD_BYTES)
            except OSError:
                data = b""
            if not self._answers.full():
                self._answers.put_nowait(data)
        if self._until_s > time.monotonic() and not self._order.locked():
            async with self._order:
                with contextlib.suppress(LockError):  # the next order says so
                    await self._replace()
                    left_ms = int((self._until_s - time.monotonic()) * 1000)
                    if left_ms >= 1:
                        await self._ask(lambda number: Energise(number, left_ms))

    async def _replace(self) -> None:
        """End the process and start another, which secures the relay first."""
        guard, self._guard = self._guard, None
        await self._stop_hearing()
        self._answers = asyncio.Queue(maxsize=8)
        if guard is not None:
            guard.process.kill()
            await asyncio.to_thread(guard.end)
        self._guard = await asyncio.to_thread(self._start)

    async def _stop_hearing(self) -> None:
        """Take nobody's answers any more; before a socket is closed, or the loop would wait on its number."""
        watch, self._watch = self._watch, None
        if watch is not None and watch is not asyncio.current_task():
            watch.cancel()
            await asyncio.wait({watch})


def _starter(module: str, settings: bytes) -> Callable[[], _Guard]:
    def start() -> _Guard:
        try:
            guard = _Guard(module, settings)
        except OSError as error:
            what = f"the relay's process cannot be started ({error.strerror})"
            raise LockError(Reason.FAULT, what=what, remedy="free memory or raise the limit of processes") from error
        guard.wait_ready()
        return guard

    return start


def _expect(data: bytes, *, number: int) -> None:
    """Accept the answer to an order.

    Raises:
        LockError: it is none; a fault is told as it is.
    """
    try:
        record = decode(data.rpartition(b"\n")[0].rpartition(b"\n")[2], RECORDS)
    except ValueError as error:
        raise _hung() from error
    if isinstance(record, Fault):
        raise LockError(Reason(record.reason), what=record.what, remedy=record.remedy)
    if isinstance(record, Undone) and record.number == number:
        remedy = "check its supply and wires; it is secured as soon as it answers"
        raise LockError(Reason.LOST, what=record.what, remedy=remedy)
    if record != Done(number):
        raise _hung()


def _hung() -> LockError:
    return LockError(
        Reason.DEADLINE,
        what="the process that holds the relay does not answer",
        remedy="it is started anew; when this comes back, look for a lack of memory",
    )
