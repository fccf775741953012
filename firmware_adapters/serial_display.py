"""A customer display, two rows of 20 characters, on a serial port: the kind that stands on a shop's counter.

Two sets of commands are common, and most displays have a switch between them. Both are data here: CD5220 (manual of
Partner Tech's CD5220, §6.1) and ESC/POS (Epson's commands for customer displays, DM-D series). What is shown goes out
in overwrite mode from the home position: 40 characters fill both rows, and nothing flickers.

Such a display never answers. That it is unplugged is seen at its USB port, and that the port takes no more bytes; one
that is dark behind a port that works is not.

Must not: send anything that lasts in the display's memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edge.ports import DisplayError, DisplayInfo, ReaderError
from firmware_adapters.address import Address
from firmware_adapters.held_display import HeldDisplay
from firmware_adapters.link import ByteLink, open_serial

COLUMNS = 20
ROWS = 2


@dataclass(frozen=True, slots=True)
class CommandSet:
    """The few commands that are needed.

    Args:
        begin: sent once, after the opening: end whatever another program left (CLR), hide the cursor.
        before: sent before the characters: overwrite mode, and the cursor home (HOM).
    """

    begin: bytes
    before: bytes


COMMANDS: Mapping[str, CommandSet] = MappingProxyType(
    {
        "cd5220": CommandSet(begin=b"\x0c\x1b_\x00", before=b"\x1b\x11\x0b"),  # CLR, ESC _ 0; ESC DC1, HOM
        "escpos": CommandSet(begin=b"\x0c\x1fC\x00", before=b"\x1f\x01\x0b"),  # CLR, US C 0; US MD1, HOM
    },
)


class SerialGlass:
    """A display on an open link."""

    def __init__(self, link: ByteLink, commands: CommandSet) -> None:
        """Take over a link that was just opened."""
        self._link = link
        self._commands = commands
        self._begun = False

    async def put(self, rows: Sequence[str]) -> None:
        """Write all rows, in one piece; see `Glass.put`."""
        begin = b"" if self._begun else self._commands.begin
        try:
            await self._link.write(begin + self._commands.before + "".join(rows).encode("ascii"))
        except ReaderError as error:
            raise _error(error) from error
        self._begun = True

    async def gone(self) -> DisplayError:
        """Wait until the port is gone; what comes from there means nothing."""
        while True:
            try:
                await self._link.read()
            except ReaderError as error:
                return _error(error)

    async def aclose(self) -> None:
        """Free the port."""
        await self._link.aclose()


def open_display(address: Address, display_id: str) -> HeldDisplay:
    """Make the display for an address like display:///dev/ttyUSB1?baud=9600&commands=cd5220."""
    commands = COMMANDS[address.texts["commands"]]

    async def open_glass() -> SerialGlass:
        try:
            return SerialGlass(await open_serial(address.path, baud=address.options["baud"]), commands)
        except ReaderError as error:
            raise _error(error) from error

    return HeldDisplay(DisplayInfo(id=display_id, columns=COLUMNS, rows=ROWS, simulated=False), open_glass)


def _error(error: ReaderError) -> DisplayError:
    """Say of a display what a link says of its port."""
    return DisplayError(error.reason, what=error.what, remedy=error.remedy)
