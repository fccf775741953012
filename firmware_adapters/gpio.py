"""A GPIO chip: the lock's relay, and the door's inputs as edge events of the kernel.

Invariants: the relay is held by a process of its own (`relay_worker.py`); a change is told by the kernel after it has
lasted, with the kernel's time, and nothing is polled.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from types import MappingProxyType

import gpiod
from gpiod.line import Bias as LineBias
from gpiod.line import Clock, Direction, Edge, Value

from edge.ports import InputChange, InputLine, Inputs, InputsError, LineState, Lock, Reason
from firmware_adapters.address import Address
from firmware_adapters.debounce import debounce_ms
from firmware_adapters.gpio_lines import MOST_EVENTS, Config, line_error, reference, take_lines
from firmware_adapters.line_spec import Bias, LineSpec, named_specs
from firmware_adapters.relay_lock import relay_lock

_BIASES: Mapping[Bias, LineBias] = MappingProxyType(
    {Bias.UP: LineBias.PULL_UP, Bias.DOWN: LineBias.PULL_DOWN, Bias.NONE: LineBias.DISABLED},
)


def open_lock(address: Address) -> Lock:
    """Open the lock at an address like gpio:///dev/gpiochip0?lock=17."""
    return relay_lock(address, files=False)


def open_inputs(address: Address) -> Inputs:
    """Open the inputs at an address like gpio:///dev/gpiochip0?contact=5&rex=6."""
    return GpioInputs(address.path, named_specs(address), lasting_ms=address.options["debounce_ms"])


class GpioInputs:
    """Lines of one chip."""

    def __init__(self, chip: str, specs: Mapping[InputLine, LineSpec], *, lasting_ms: int) -> None:
        """Take the lines.

        Raises:
            InputsError: one is in use, not there, or forbidden.
        """
        self._chip = chip
        self._specs = specs
        settings: Config = {
            reference(spec.line): gpiod.LineSettings(
                direction=Direction.INPUT,
                edge_detection=Edge.BOTH,
                bias=_BIASES[spec.bias],
                debounce_period=timedelta(milliseconds=debounce_ms(line, lasting_ms)),
                event_clock=Clock.MONOTONIC,
            )
            for line, spec in specs.items()
        }
        self._request = take_lines(chip, settings, consumer="doorward-inputs", error=InputsError)
        self._lines = dict(zip(self._request.offsets, specs, strict=True))
        self._arrived = asyncio.Event()
        self._iterating = False
        self._closed = False

    async def changes(self) -> AsyncIterator[InputChange]:
        """Yield each line's state, then its changes; see `Inputs.changes`."""
        if self._iterating or self._closed:
            raise InputsError(
                Reason.CLOSED if self._closed else Reason.BUSY,
                what=f"the inputs of {self._chip} are {'closed' if self._closed else 'watched already'}",
                remedy="watch them once, and open them again after closing",
            )
        self._iterating = True
        loop = asyncio.get_running_loop()
        descriptor = self._request.fd
        loop.add_reader(descriptor, self._arrived.set)
        try:
            self._events()  # what happened before is in the present states
            states: dict[InputLine, LineState] = {}
            while not self._closed:
                # The events tell when; the present states tell also what a full buffer of the kernel has lost.
                for change in [*self._events(), *self._present()]:
                    if states.get(change.line) is not change.state:
                        states[change.line] = change.state
                        yield change
                await self._arrived.wait()
                self._arrived.clear()
        except OSError as error:
            raise line_error(self._chip, error, InputsError) from error
        finally:
            self._iterating = False
            loop.remove_reader(descriptor)

    async def aclose(self) -> None:
        """Free the lines and end the iteration."""
        if self._closed:
            return
        self._closed = True
        asyncio.get_running_loop().remove_reader(self._request.fd)
        self._request.release()
        self._arrived.set()

    def _present(self) -> list[InputChange]:
        values = [] if self._closed else self._request.get_values()
        now_ms = time.monotonic_ns() // 1_000_000
        return [self._change(line, value, now_ms) for line, value in zip(self._specs, values, strict=not self._closed)]

    def _events(self) -> list[InputChange]:
        if self._closed or not self._request.wait_edge_events(0):
            return []
        rising = gpiod.EdgeEvent.Type.RISING_EDGE
        return [
            self._change(
                self._lines[event.line_offset],
                Value.ACTIVE if event.event_type is rising else Value.INACTIVE,
                event.timestamp_ns // 1_000_000,
            )
            for event in self._request.read_edge_events(MOST_EVENTS)
        ]

    def _change(self, line: InputLine, value: Value, at_ms: int) -> InputChange:
        return InputChange(line, self._specs[line].state(int(value is Value.ACTIVE)), at_ms)
