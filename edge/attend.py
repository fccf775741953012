"""Attending the devices of a door: what readers and wires tell is fed to the core.

Invariant: that a device is lost, and that it is back, is journaled once each; what a wire said last counts no more once
it is lost.
Must not: judge what was read.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Final

import structlog

from edge.controller import Controller
from edge.core.tap import LineChanged, Noted, PinEntered, Tap
from edge.ports import Counting, InputLine, Inputs, LineState, PinEntry, PortError, Reader
from wire.names import EventKind

INPUTS_RETRY_S: Final = 1.0
READER_RETRY_S: Final = 0.02
"""Adapters pace their own re-opening; one that fails to must not take the processor from the door."""

_log: Final = structlog.get_logger()


class ReaderState(Enum):
    """What is known of a reader."""

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"


@dataclass(slots=True)
class Attended:
    """A reader and how it stands.

    Attributes:
        error: why it is lost; None when it is not.
    """

    reader: Reader
    state: ReaderState = ReaderState.OPENING
    error: PortError | None = None

    def troubles(self) -> dict[str, int]:
        """Give what went wrong with what it read, where it counts that."""
        return dict(self.reader.troubles()) if isinstance(self.reader, Counting) else {}


async def attend_reader(controller: Controller, attended: Attended) -> None:
    """Feed what a reader reads, until it is closed."""
    reader = attended.reader
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(_await_open(controller, attended))
        while True:
            try:
                async for reading in reader.presentations():
                    controller.feed(PinEntered(reading) if isinstance(reading, PinEntry) else Tap(reading))
            except PortError as error:
                _log.warning("reader_lost", reader=reader.info.id, reason=error.reason.value, sentence=str(error))
                if attended.state is not ReaderState.LOST:
                    controller.feed(Noted(EventKind.READER_LOST, reader.info.id))
                attended.state, attended.error = ReaderState.LOST, error
                if opening.done():
                    opening = tasks.create_task(_await_open(controller, attended))
                await asyncio.sleep(READER_RETRY_S)
            else:
                break
        opening.cancel()


async def _await_open(controller: Controller, attended: Attended) -> None:
    await attended.reader.opened()
    if attended.state is ReaderState.LOST:
        controller.feed(Noted(EventKind.READER_RESTORED, attended.reader.info.id))
    attended.state, attended.error = ReaderState.OPEN, None


async def watch_inputs(controller: Controller, inputs: Inputs) -> None:
    """Feed the door's wires, until they are closed."""
    lost = False
    while True:
        try:
            async for change in inputs.changes():
                if lost:
                    controller.feed(Noted(EventKind.INPUTS_RESTORED))
                lost = False
                controller.feed(LineChanged(change.line, change.state))
        except PortError as error:
            _log.error("inputs_lost", reason=error.reason.value, sentence=str(error))
            if not lost:
                controller.feed(Noted(EventKind.INPUTS_LOST))
                for line in InputLine:  # also an exit button that was pressed: nobody would see it let go
                    controller.feed(LineChanged(line, LineState.UNKNOWN))
            lost = True
            await asyncio.sleep(INPUTS_RETRY_S)
        else:
            return
