"""The two wires of a Wiegand reader as lines of a GPIO chip.

Invariant: pulses come in the order of the kernel, with its time, whichever wire they came on.
"""

import asyncio

import gpiod
from gpiod.line import Bias, Clock, Direction, Edge

from edge.ports import ReaderError
from firmware_adapters.gpio_lines import MOST_EVENTS, Config, line_error, reference, take_lines
from firmware_adapters.wiegand import Pulse


class GpioPulses:
    """Falling edges of two lines."""

    def __init__(self, chip: str, *, d0: str, d1: str) -> None:
        """Take the lines.

        Raises:
            ReaderError: one is in use, not there, or forbidden.
        """
        settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=Edge.FALLING,
            bias=Bias.PULL_UP,
            event_clock=Clock.MONOTONIC,
        )
        config: Config = {reference(d0): settings, reference(d1): settings}
        self._chip = chip
        self._request = take_lines(chip, config, consumer="doorward-wiegand", error=ReaderError)
        self._zero = self._request.offsets[0]
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._request.fd, self._arrived.set)

    async def next(self) -> list[Pulse]:
        """Wait for pulses and return them in their order; see `Pulses.next`."""
        await self._arrived.wait()
        self._arrived.clear()
        try:
            if not self._request.wait_edge_events(0):
                return []
            events = self._request.read_edge_events(MOST_EVENTS)
        except OSError as error:
            raise line_error(self._chip, error, ReaderError) from error
        return [Pulse(int(event.line_offset != self._zero), event.timestamp_ns // 1000) for event in events]

    def close(self) -> None:
        """Free the lines."""
        asyncio.get_running_loop().remove_reader(self._request.fd)
        self._request.release()
