"""A QR scanner on a serial port.

Must not: interpret what it sends; `line_reader.py` cuts it into lines.
"""

from firmware_adapters.address import Address
from firmware_adapters.line_reader import LineReader
from firmware_adapters.link import open_serial


def open_reader(address: Address, reader_id: str) -> LineReader:
    """Make the reader for an address like serial:///dev/ttyDW0?baud=115200."""
    return LineReader(
        reader_id,
        lambda: open_serial(address.path, baud=address.options["baud"]),
        idle_ms=address.options["idle_ms"],
    )
