"""A relay and I/O board in a process of its own: `python tests/support/modbus_board.py FOLDER PORT|DEVICE`.

Its terminals are files in FOLDER: di0, di1 … are its inputs (the digit 0 or 1), co0, co1 … its relays. The file `ready`
appears once it answers.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

TERMINALS = 8
_READ_INPUTS, _WRITE_COIL = 2, 5


class _Board:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def act(
        self,
        function: int,
        start: int,  # noqa: ARG002 - the library's own call
        address: int,
        count: int,  # noqa: ARG002 - the same
        current: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Join the board's registers to its terminals."""
        if function == _WRITE_COIL and values is not None:
            (self._folder / f".co{address}").write_text(str(int(values[0])))
            (self._folder / f".co{address}").replace(self._folder / f"co{address}")
        if function == _READ_INPUTS:
            # Eight bits lie in one register, the first one lowest.
            levels = [int((self._folder / f"di{place}").read_text()) for place in range(TERMINALS)]
            current[0] = sum(level << place for place, level in enumerate(levels))
        return None


def device(folder: Path) -> SimDevice:
    bits = [[SimData(0, values=[False] * TERMINALS, datatype=DataType.BITS)] for _ in range(2)]
    registers = [[SimData(0, values=[0], datatype=DataType.REGISTERS)] for _ in range(2)]
    return SimDevice(1, simdata=(bits[0], bits[1], registers[0], registers[1]), action=_Board(folder).act)


async def main(folder: str, place: str) -> None:
    if place.isdigit():
        tcp = ModbusTcpServer(device(Path(folder)), address=("127.0.0.1", int(place)))
        await tcp.serve_forever(background=True)
    else:
        serial = ModbusSerialServer(device(Path(folder)), framer=FramerType.RTU, port=place, baudrate=115_200)
        await serial.serve_forever(background=True)
    (Path(folder) / "ready").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
