"""Inputs of one door from several places: its contact on a GPIO chip, say, and the case of its OSDP reader.

A line that several places tell of, as tamper, is as bad as the worst of them says.
Invariant: a place that fails takes no other with it: its lines are UNKNOWN until it is watched again, the exit button
of another place goes on working.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from edge.ports import InputChange, InputLine, Inputs, InputsError, LineState, Reason
from firmware_adapters.pacing import ReopenPacing

MOST_CHANGES = 256

# What a person has to be told of first.
_BADNESS: Mapping[LineState, int] = MappingProxyType(
    {LineState.INACTIVE: 0, LineState.UNKNOWN: 1, LineState.FAULT: 2, LineState.ACTIVE: 3},
)


def worst(states: Sequence[LineState]) -> LineState:
    """Return the worst of some states of one line."""
    return max(states, key=_BADNESS.__getitem__)


class MergedInputs:
    """Several inputs as one."""

    def __init__(self, places: Sequence[Inputs]) -> None:
        """Take over inputs that are open."""
        self._places = places
        self._states: list[dict[InputLine, LineState]] = [{} for _ in places]
        self._told: dict[InputLine, LineState] = {}
        self._iterating = False
        self._closed = False
        self.faults: list[InputsError | None] = [None for _ in places]

    async def changes(self) -> AsyncIterator[InputChange]:
        """Yield each line's state, then its changes; see `Inputs.changes`."""
        if self._iterating or self._closed:
            raise InputsError(
                Reason.CLOSED if self._closed else Reason.BUSY,
                what=f"these inputs are {'closed' if self._closed else 'watched already'}",
                remedy="watch them once, and open them again after closing",
            )
        self._iterating = True
        self._told = {}
        told: asyncio.Queue[tuple[int, InputChange] | None] = asyncio.Queue(MOST_CHANGES)
        watching = [asyncio.create_task(self._watch(number, told)) for number in range(len(self._places))]
        try:
            left = len(watching)
            while left:
                item = await told.get()
                if item is None:
                    left -= 1
                elif (change := self._merge(*item)) is not None:
                    yield change
        finally:
            self._iterating = False
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)

    async def aclose(self) -> None:
        """Free all lines and end the iteration."""
        self._closed = True
        for place in self._places:
            await place.aclose()

    async def _watch(self, number: int, told: asyncio.Queue[tuple[int, InputChange] | None]) -> None:
        """Watch one place, again after each fault with a growing pause, until it is closed."""
        pacing = ReopenPacing()
        while not self._closed:
            await asyncio.sleep(pacing.pause_s())
            try:
                async for change in self._places[number].changes():
                    self.faults[number] = None
                    pacing.succeeded()
                    await told.put((number, change))
            except InputsError as error:
                self.faults[number] = error
                for line in self._states[number]:
                    await told.put((number, InputChange(line, LineState.UNKNOWN, time.monotonic_ns() // 1_000_000)))
            else:
                break
        await told.put(None)

    def _merge(self, number: int, change: InputChange) -> InputChange | None:
        """Take what one place tells, and return what that changes for the door."""
        line = change.line
        self._states[number][line] = change.state
        state = worst([states[line] for states in self._states if line in states])
        if self._told.get(line) is state:
            return None
        self._told[line] = state
        return InputChange(line, state, change.at_ms)
