"""Attending the devices of a door: what readers and wires tell is fed to the core.

Invariant: that a device is lost, and that it is back, is journaled once each and by name; what a wire said last counts
no more once it is lost; no device waits for another.
Must not: judge what was read.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

import structlog

from edge.controller import Controller
from edge.core.tap import LineChanged, Noted, PinEntered, Tap
from edge.ports import (
    Counting,
    Display,
    InputChange,
    InputLine,
    Inputs,
    InputsError,
    LineState,
    PinEntry,
    PortError,
    Reader,
    Reason,
)
from edge.screens import Screen
from wire.names import EventKind

RETRY_S: Final = 0.02
"""Adapters pace their own re-opening; one that fails to must not take the processor from the door."""

_Device = TypeVar("_Device", Reader, Display)

_log: Final = structlog.get_logger()


class DeviceState(Enum):
    """What is known of a reader, a display, or inputs."""

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"


@dataclass(slots=True)
class Attended(Generic[_Device]):
    """A reader or a display, and how it stands.

    Attributes:
        error: why it is lost; None when it is not.
    """

    device: _Device
    state: DeviceState = DeviceState.OPENING
    error: PortError | None = None

    def troubles(self) -> dict[str, int]:
        """Give what went wrong with what it read, where it counts that."""
        return dict(self.device.troubles()) if isinstance(self.device, Counting) else {}


async def attend_reader(controller: Controller, attended: Attended[Reader]) -> None:
    """Feed what a reader reads, until it is closed."""

    async def read() -> None:
        async for reading in attended.device.presentations():
            controller.feed(PinEntered(reading) if isinstance(reading, PinEntry) else Tap(reading))

    await _attend(controller, attended, read, lambda: None)


async def attend_display(controller: Controller, attended: Attended[Display], screen: Screen) -> None:
    """Hold a display until it is closed; its screen begins anew each time that it was opened.

    The journal has one kind of event for what people stand before: a display is a reader there, by its own name.
    """
    await _attend(controller, attended, attended.device.hold, screen.renew)


async def _attend(
    controller: Controller,
    attended: Attended[_Device],
    use: Callable[[], Awaitable[None]],
    opened: Callable[[], None],
) -> None:
    """Use a device until it is closed, again after each loss; call `opened` each time that it was opened."""
    name = attended.device.info.id
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(_await_open(controller, attended, opened))
        while True:
            try:
                await use()
            except PortError as error:
                _log.warning("reader_lost", reader=name, reason=error.reason.value, sentence=str(error))
                if attended.state is not DeviceState.LOST:
                    controller.feed(Noted(EventKind.READER_LOST, name))
                attended.state, attended.error = DeviceState.LOST, error
                if opening.done():
                    opening = tasks.create_task(_await_open(controller, attended, opened))
                await asyncio.sleep(RETRY_S)
            else:
                break
        opening.cancel()


async def _await_open(controller: Controller, attended: Attended[_Device], opened: Callable[[], None]) -> None:
    await attended.device.opened()
    if attended.state is DeviceState.LOST:
        controller.feed(Noted(EventKind.READER_RESTORED, attended.device.info.id))
    attended.state, attended.error = DeviceState.OPEN, None
    opened()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long inputs are waited for.

    Attributes:
        first_word_s: in which inputs that were opened tell how their wires are: a board on a bus has 3 s for a look,
            others tell soon.
        close_s: in which they are closed: a question on a bus is waited for, less than 3 s with its turns.
        first_pause_s, longest_pause_s: between attempts to watch lost ones.
    """

    first_word_s: float = 5.0
    close_s: float = 5.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 5.0

    def next_pause_s(self, before_s: float, watched_s: float) -> float:
        """Give the pause after a loss: doubled each time, and the first one again after they were watched for long.

        "Long" is the longest pause, so that a loose plug writes no more than one pair of events in that time.

        Args:
            before_s: the pause before this attempt; 0 for none.
            watched_s: how long this attempt lasted.
        """
        if not before_s or watched_s >= self.longest_pause_s:
            return self.first_pause_s
        return min(2 * before_s, self.longest_pause_s)


@dataclass(slots=True)
class AttendedInputs:
    """The inputs at one device address, and how they stand.

    Attributes:
        id: what the journal calls them.
        url: the address.
        lines: the wires that are taken from there; what it tells of others is not heard.
        opener: opens the device; raises InputsError.
        error: why they are lost; None when they are not.
    """

    id: str
    url: str
    lines: frozenset[InputLine]
    opener: Callable[[], Inputs]
    pace: Pace = Pace()
    state: DeviceState = DeviceState.OPENING
    error: PortError | None = None
    _opened: Inputs | None = None

    def open(self) -> Inputs:
        """Open the device, unless it is open.

        Raises:
            InputsError: it cannot be used now.
        """
        if self._opened is None:
            self._opened = self.opener()
        return self._opened

    async def aclose(self) -> None:
        """Free the device; one that does not let go in time is left to itself."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(PortError, TimeoutError):
                async with asyncio.timeout(self.pace.close_s):
                    await opened.aclose()


async def attend_inputs(controller: Controller, attended: AttendedInputs) -> None:
    """Feed what the wires of one address tell, until it is closed; open it anew after each fault, after a pause."""
    loop, pause_s = asyncio.get_running_loop(), 0.0
    while True:
        began_s = loop.time()
        try:
            await _hear(controller, attended)
        except PortError as error:
            _lose(controller, attended, error)
        else:
            return
        pause_s = attended.pace.next_pause_s(pause_s, loop.time() - began_s)
        await attended.aclose()
        await asyncio.sleep(pause_s)


async def _hear(controller: Controller, attended: AttendedInputs) -> None:
    changes = attended.open().changes()
    try:
        async with asyncio.timeout(attended.pace.first_word_s):
            change = await anext(changes, None)
    except TimeoutError as error:
        what = f"the inputs {attended.url} do not tell how their wires are within {attended.pace.first_word_s:g} s"
        remedy = "check them; they are opened again by themselves"
        raise InputsError(Reason.DEADLINE, what=what, remedy=remedy) from error
    while change is not None:
        _take(controller, attended, change)
        change = await anext(changes, None)


def _take(controller: Controller, attended: AttendedInputs, change: InputChange) -> None:
    if attended.state is DeviceState.LOST:
        controller.feed(Noted(EventKind.INPUTS_RESTORED, attended.id))
    attended.state, attended.error = DeviceState.OPEN, None
    if change.line in attended.lines:
        controller.feed(LineChanged(change.line, change.state))


def _lose(controller: Controller, attended: AttendedInputs, error: PortError) -> None:
    _log.error("inputs_lost", inputs=attended.id, reason=error.reason.value, sentence=str(error))
    if attended.state is not DeviceState.LOST:
        controller.feed(Noted(EventKind.INPUTS_LOST, attended.id))
        for line in InputLine:  # also an exit button that was pressed: nobody would see it let go
            if line in attended.lines:
                controller.feed(LineChanged(line, LineState.UNKNOWN))
    attended.state, attended.error = DeviceState.LOST, error
