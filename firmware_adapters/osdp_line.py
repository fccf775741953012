"""One RS-485 line with its readers, shared by everything in this process that listens to one of them.

Invariants: a port has one worker process, which knows every member of the line; what a member has not taken yet is
bounded; the worker ends with the line's last member.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias
from weakref import WeakValueDictionary

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.osdp_records import (
    RECORDS,
    Beat,
    Card,
    Keys,
    KeySet,
    Local,
    Lost,
    Ready,
    Record,
    Secure,
    Settings,
    Show,
    Why,
)
from firmware_adapters.pacing import ReopenPacing
from firmware_adapters.sealed_key import KeyFileError, read_key
from firmware_adapters.worker_process import WorkerEndedError, WorkerProcess, start_worker
from firmware_adapters.worker_records import Fault, decode, encode

WORKER = "firmware_adapters.osdp_worker"
# A reader that babbles fills no memory: of what nobody takes, the newest counts.
MOST_WAITING = 64
CLOSE_DEADLINE_S = 3.0

Heard: TypeAlias = Secure | Card | Keys | Local | KeySet | ReaderError

# What is wrong with a reader that is not in its secure channel, and what a person does.
_LOSSES: Mapping[Why, tuple[Reason, str, str]] = MappingProxyType(
    {
        Why.SILENT: (
            Reason.LOST,
            "does not answer",
            "check its wires, address and speed; it is called again by itself",
        ),
        Why.WRONG_KEY: (
            Reason.FAULT,
            "answers, but not with the key in {key}",
            "put it into install mode and set its key with: doorward edge osdp-key",
        ),
        Why.RESTARTED: (Reason.LOST, "has left its secure channel", "nothing, if it was restarted; it is called again"),
        Why.TWICE: (Reason.FAULT, "answers twice: two readers have this address", "give one of them another address"),
        Why.GARBLED: (
            Reason.FAULT,
            "answers, and nothing comes of it",
            "check for a second reader with this address, the speed, and the line's termination",
        ),
    },
)


@dataclass(slots=True)
class Member:
    """Something that listens to one reader of a line.

    Args:
        address: of the reader.
        key_file: with its secure channel base key.
        name: for messages.
        talks: whether it is the reader itself, of which a line has one an address; others listen only.
    """

    address: int
    key_file: Path
    name: str
    talks: bool
    waiting: deque[Heard] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, heard: Heard) -> None:
        """Take what the line tells."""
        self.waiting.append(heard)
        self.arrived.set()

    async def next(self, *, wait_s: float | None) -> Heard | None:
        """Return what was heard next, None when there is nothing within `wait_s`, or when `wake` was called."""
        if not self.waiting:
            self.arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.arrived.wait()
        return self.waiting.popleft() if self.waiting else None

    def wake(self) -> None:
        """End a wait for what comes next."""
        self.arrived.set()


class OsdpLine:
    """The control panel's end of one line."""

    def __init__(self, path: str) -> None:
        """Know the port; nothing is opened before `run`."""
        self.path = path
        self._members: list[Member] = []
        self._states: dict[int, Secure | ReaderError] = {}
        self._locals: dict[int, Local] = {}
        self._pump: asyncio.Task[None] | None = None
        self._worker: WorkerProcess | None = None
        self._baud = 0
        self._changed = False

    @property
    def worker_pid(self) -> int | None:
        """Return the process id of the worker, None when there is none."""
        return None if self._worker is None else self._worker.pid

    def join(self, member: Member, *, baud: int) -> None:
        """Make a member part of the line; its reader is called from the next start of the worker on.

        The speed is the line's: that of the first member holds.
        """
        self._baud = self._baud if self._members else baud
        self._members.append(member)
        self._changed = True

    def other_reader(self, member: Member) -> str | None:
        """Return the name of the reader that had this address first, None when this one has it."""
        first = next(each for each in self._members if each.talks and each.address == member.address)
        return None if first is member else first.name

    def is_watched(self, address: int) -> bool:
        """Tell whether somebody watches the case and the supply of this reader."""
        return any(not each.talks and each.address == address for each in self._members)

    def speed_differs(self, baud: int) -> bool:
        """Tell whether the line runs at another speed."""
        return baud != self._baud

    def run(self, member: Member) -> None:
        """See that the worker runs, and let the member hear from now on, beginning with how its reader stands."""
        member.waiting.clear()
        state = self._states.get(member.address)
        if state is not None:
            member.hear(state)
        if member.address in self._locals:
            member.hear(self._locals[member.address])
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._work())
        elif self._changed and self._worker is not None:
            # Somebody joined later: the worker ends, and the next one knows all.
            self._pump.cancel()
            self._pump = asyncio.get_running_loop().create_task(self._work(after=self._pump))

    async def leave(self, member: Member) -> None:
        """Take a member out of the line; with the last one the worker ends and the port is free."""
        if member not in self._members:
            return
        self._members.remove(member)
        if not self._members and self._pump is not None:
            pump, self._pump = self._pump, None
            pump.cancel()
            await asyncio.wait({pump}, timeout=CLOSE_DEADLINE_S)

    async def show(self, orders: list[Show]) -> None:
        """Send orders to a reader; they are dropped when it is away.

        Raises:
            ReaderLost: the worker does not take them.
        """
        if self._worker is None:
            return
        try:
            for order in orders:
                await self._worker.send(encode(order))
        except WorkerEndedError as error:
            raise self._ended(error) from error

    # --- the worker ----------------------------------------------------------------------------------------

    async def _work(self, after: asyncio.Task[None] | None = None) -> None:
        """Keep a worker running, started anew with a growing pause while it fails."""
        if after is not None:
            await asyncio.wait({after}, timeout=CLOSE_DEADLINE_S)
        pacing = ReopenPacing()
        while True:
            await asyncio.sleep(pacing.pause_s())
            try:
                await self._work_once(pacing)
            except ReaderError as error:
                for address in {member.address for member in self._members}:
                    self._tell(address, error)

    async def _work_once(self, pacing: ReopenPacing) -> None:
        keys = self._keys()
        self._changed = False
        settings = Settings(self.path, self._baud, list(keys), [key.hex() for key in keys.values()])
        try:
            self._worker = await start_worker(WORKER, encode(settings))
            while True:
                record = decode(await self._worker.next_line(), RECORDS)
                if isinstance(record, Fault):
                    raise fault_error(record)
                if isinstance(record, Ready):
                    pacing.succeeded()
                self._take(record)
        except WorkerEndedError as error:
            raise self._ended(error) from error
        except ValueError as error:
            raise self._ended(WorkerEndedError("the worker tells nonsense")) from error
        finally:
            worker, self._worker = self._worker, None
            if worker is not None:
                await worker.leave()

    def _keys(self) -> dict[int, bytes]:
        """Return the key of each address; a reader whose key cannot be read is told so and not called.

        Raises:
            ReaderError: no reader's key can be read.
        """
        keys: dict[int, bytes] = {}
        fault: ReaderError | None = None
        for member in self._members:
            try:
                keys.setdefault(member.address, read_key(member.key_file))
            except KeyFileError as error:
                fault = ReaderError(Reason.PERMISSION, what=error.what, remedy=error.remedy)
                self._tell(member.address, fault)
        if not keys and fault is not None:
            raise fault
        return keys

    def _take(self, record: Record) -> None:
        match record:
            case Secure(address):
                self._tell(address, record)
            case Lost(address, why):
                self._tell(address, self._loss(address, Why(why)))
            case Local(address):
                self._locals[address] = record
                self._pass_on(address, record)
            case Card(address) | Keys(address) | KeySet(address):
                self._pass_on(address, record)
            case Ready() | Beat() | Fault():
                pass

    def _tell(self, address: int, state: Secure | ReaderError) -> None:
        self._locals.pop(address, None)
        self._states[address] = state
        self._pass_on(address, state)

    def _pass_on(self, address: int, heard: Heard) -> None:
        for member in self._members:
            if member.address == address:
                member.hear(heard)

    def _loss(self, address: int, why: Why) -> ReaderError:
        member = next(each for each in self._members if each.address == address)
        reason, clause, remedy = _LOSSES[why]
        kind = ReaderLost if reason is Reason.LOST else ReaderError
        what = f"the OSDP reader {address} on {self.path} {clause.format(key=member.key_file)}"
        return kind(reason, what=what, remedy=remedy)

    def _ended(self, error: WorkerEndedError) -> ReaderLost:
        return ReaderLost(
            Reason.FAULT, what=f"the OSDP line {self.path}: {error}", remedy="it is started again by itself"
        )


def fault_error(fault: Fault) -> ReaderError:
    """Turn a worker's last word into the port's error."""
    reason = Reason(fault.reason)
    kind = ReaderLost if reason is Reason.LOST else ReaderError
    return kind(reason, what=fault.what, remedy=fault.remedy)


_LINES: WeakValueDictionary[str, OsdpLine] = WeakValueDictionary()
"""The lines in use, by port: a port is one thing in a process, as it is in the kernel. Nothing is held here alone."""


def line_at(path: str) -> OsdpLine:
    """Return the line on a port; the same one to everybody who asks while it is in use."""
    line = _LINES.get(path)
    if line is None:
        line = _LINES[path] = OsdpLine(path)
    return line
