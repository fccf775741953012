"""A relay and I/O board by Modbus: its relay as a lock, its inputs as a door's.

The deadline of the lock is kept by a process of this machine; a board that loses this machine keeps its relays as they
are, so it needs its own watchdog, or a power supply that this machine switches (docs/hardware.md).
Invariant: an input that cannot be read ends the iteration; it never keeps its old state.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from edge.ports import InputLine, Inputs, InputsError, LineState, Lock, LockInfo, Reason
from firmware_adapters.address import Address
from firmware_adapters.claim import ClaimedError, claim
from firmware_adapters.line_spec import Bias, LineSpec, named_specs
from firmware_adapters.modbus_bus import Board, BoardError
from firmware_adapters.polled_inputs import PolledInputs
from firmware_adapters.relay_records import Settings
from firmware_adapters.worker_lock import RELAY_WORKER, WorkerLock
from firmware_adapters.worker_records import encode


def open_lock(address: Address) -> Lock:
    """Open the lock at an address like modbus+tcp://10.0.0.7:502?coil=0 or modbus:///dev/ttyUSB0?coil=0."""
    unlocked = int(address.texts["fail"] == "secure")
    coil = str(address.options["coil"])
    settings = Settings("modbus", _place(address), coil, unlocked, address.options["unit"], _baud(address))
    info = LockInfo(f"{address.scheme}:{_place(address)} coil {coil}", simulated=False)
    return WorkerLock(info, RELAY_WORKER, encode(settings))


def open_inputs(address: Address) -> Inputs:
    """Open the inputs at an address like modbus+tcp://10.0.0.7:502?contact=0&rex=1."""
    found = {line: replace(spec, bias=Bias.DOWN) for line, spec in named_specs(address).items()}
    board = Board(_place(address), unit=address.options["unit"], baud=_baud(address))
    try:
        claimed = claim(f"inputs/{_place(address)}/{address.options['unit']}")
    except ClaimedError as error:
        what = f"the inputs of {board.name} are watched by process {error.pid}"
        raise InputsError(Reason.BUSY, what=what, remedy="end it, or give this door another board") from error

    async def look() -> Mapping[InputLine, LineState]:
        try:
            return await asyncio.to_thread(_read, board, found)
        except BoardError as error:
            remedy = "check its supply, wires, address and speed; it is asked again by itself"
            raise InputsError(Reason.LOST, what=str(error), remedy=remedy) from error

    async def close() -> None:
        claimed.close()
        await asyncio.to_thread(board.close)

    every_ms, lasting_ms = address.options["poll_ms"], address.options["debounce_ms"]
    return PolledInputs(board.name, look, close, every_ms=every_ms, lasting_ms=lasting_ms)


def _read(board: Board, found: Mapping[InputLine, LineSpec]) -> dict[InputLine, LineState]:
    """Read all inputs by one question; a board reads an input as 1 while its circuit is closed."""
    places = [int(spec.line) for spec in found.values()]
    levels = board.read(min(places), max(places) - min(places) + 1)
    return {line: spec.state(int(levels[int(spec.line) - min(places)])) for line, spec in found.items()}


def _place(address: Address) -> str:
    if not address.host:
        return address.path
    return address.host if address.host.rpartition(":")[2].isdigit() else f"{address.host}:502"


def _baud(address: Address) -> int:
    return 0 if address.host else address.options["baud"]
