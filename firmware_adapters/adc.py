"""Supervised inputs on an analogue-to-digital converter: besides open and closed they tell a short and a cut wire.

The converter is the kernel's (Industrial I/O, Documentation/ABI/testing/sysfs-bus-iio): a folder of files,
in_voltageN_raw and in_voltage_scale (millivolts a step). A folder of the same files simulates one.
Invariant: a converter that cannot be read ends the iteration; it never keeps an old state.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge.ports import InputLine, Inputs, InputsError, LineState, Reason
from firmware_adapters.address import Address
from firmware_adapters.claim import ClaimedError, claim
from firmware_adapters.line_spec import LineSpec, named_specs
from firmware_adapters.polled_inputs import PolledInputs
from firmware_adapters.supervision import circuit_state

# "4095\n" or "0.805664062\n"; much more is not the kernel's.
_MOST_BYTES = 64


class Adc(Protocol):
    """A converter."""

    def read_mv(self, channel: str) -> float:
        """Return the voltage of a channel in millivolts.

        Raises:
            InputsError: it cannot be read.
        """
        ...


class IioAdc:
    """A converter of the kernel's, or a folder that stands for one."""

    def __init__(self, folder: Path) -> None:
        """Know the folder."""
        self._folder = folder

    def read_mv(self, channel: str) -> float:
        """Return raw value times scale; see `Adc.read_mv`."""
        own = self._folder / f"in_voltage{channel}_scale"
        scale = own if own.exists() else self._folder / "in_voltage_scale"
        return self._number(self._folder / f"in_voltage{channel}_raw") * self._number(scale)

    def _number(self, path: Path) -> float:
        try:
            with path.open("rb") as file:
                return float(file.read(_MOST_BYTES))
        except (OSError, ValueError) as error:
            raise InputsError(
                Reason.LOST if isinstance(error, OSError) else Reason.FAULT,
                what=f"the converter's {path} cannot be read ({error})",
                remedy="check its wires and the address (ls /sys/bus/iio/devices); it is read again by itself",
            ) from error


def open_inputs(address: Address) -> Inputs:
    """Open the inputs at an address like adc:///sys/bus/iio/devices/iio:device0?contact=0&rex=1."""
    found = named_specs(address)
    try:
        claimed = claim(f"adc/{address.path}")
    except ClaimedError as error:
        what = f"the converter {address.path} is watched by process {error.pid}"
        raise InputsError(Reason.BUSY, what=what, remedy="end it, or give this door another converter") from error
    adc, reference_mv = IioAdc(Path(address.path)), address.options["reference_mv"]

    async def look() -> Mapping[InputLine, LineState]:
        return await asyncio.to_thread(read_states, adc, found, reference_mv=reference_mv)

    async def close() -> None:
        claimed.close()

    every_ms, lasting_ms = address.options["poll_ms"], address.options["debounce_ms"]
    return PolledInputs(address.path, look, close, every_ms=every_ms, lasting_ms=lasting_ms)


def read_states(adc: Adc, found: Mapping[InputLine, LineSpec], *, reference_mv: int) -> dict[InputLine, LineState]:
    """Return the state of each circuit."""
    return {
        line: circuit_state(adc.read_mv(spec.line), reference_mv=reference_mv, closed_at_rest=spec.closed_at_rest)
        for line, spec in found.items()
    }
