"""A folder of files that stands for a GPIO chip: a line is a file of its name with the digit 0 or 1.

For twins, demonstrations and tests on machines without GPIO; the lock's process and the meaning of wires are the real
ones.
Invariant: the inputs of a folder are watched by one process at a time. A file that is not there reads as an open
circuit.
"""

import asyncio
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from edge.ports import InputLine, Inputs, InputsError, LineState, Lock, Reason
from firmware_adapters.address import Address
from firmware_adapters.line_spec import Bias, LineSpec, named_specs
from firmware_adapters.polled_inputs import PolledInputs
from firmware_adapters.relay_lock import relay_lock

# A tenth of the time for which a change has to last.
LOOK_EVERY_MS = 5


def open_lock(address: Address) -> Lock:
    """Open the lock at an address like gpio+files:///run/doorward/chip?lock=17."""
    return relay_lock(address, files=True)


def open_inputs(address: Address) -> Inputs:
    """Open the inputs at an address like gpio+files:///run/doorward/chip?contact=5&rex=6."""
    found = named_specs(address)
    claim = _claim(Path(address.path))

    async def look() -> Mapping[InputLine, LineState]:
        return await asyncio.to_thread(_read_all, Path(address.path), found)

    async def close() -> None:
        os.close(claim)

    lasting_ms = address.options["debounce_ms"]
    return PolledInputs(address.path, look, close, every_ms=LOOK_EVERY_MS, lasting_ms=lasting_ms)


def _claim(folder: Path) -> int:
    try:
        claim = os.open(folder / ".inputs.claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        what = f"the folder {folder} cannot be used ({error.strerror})"
        raise InputsError(Reason.LOST, what=what, remedy="make it, or correct the address") from error
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(claim)
        what = f"the inputs of {folder} are watched by another program"
        raise InputsError(Reason.BUSY, what=what, remedy="end it, or give this door a folder of its own") from error
    return claim


def _read_all(folder: Path, found: Mapping[InputLine, LineSpec]) -> dict[InputLine, LineState]:
    return {line: spec.state(_level(folder / spec.line, spec)) for line, spec in found.items()}


def _level(path: Path, spec: LineSpec) -> int:
    try:
        return int(path.read_bytes()[:1] == b"1")
    except OSError:
        return int(spec.bias is not Bias.DOWN)
