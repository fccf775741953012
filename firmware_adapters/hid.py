"""A keyboard-wedge scanner: an input device, grabbed, so that its codes reach no console and no other program.

It speaks the kernel's own interface (Documentation/input), which needs no package: python-evdev has no wheel for the
boards that doors run on.
Invariant: a device that cannot be grabbed is not read.
"""

from firmware_adapters.address import Address
from firmware_adapters.hid_device import InputDevice
from firmware_adapters.hid_keys import Keys
from firmware_adapters.line_reader import LineReader
from firmware_adapters.link import ByteLink


class TypedLink:
    """What the keys of another link type, as a link."""

    def __init__(self, events: ByteLink) -> None:
        """Take over the link that carries the kernel's events."""
        self._events = events
        self._keys = Keys()

    async def read(self) -> bytes:
        """Wait until something is typed and return it; see `ByteLink.read`."""
        while not (typed := self._keys.feed(await self._events.read())):
            continue
        return typed

    async def write(self, data: bytes) -> None:
        """Pass on; see `ByteLink.write`."""
        await self._events.write(data)

    async def aclose(self) -> None:
        """Free the link."""
        await self._events.aclose()


def open_reader(address: Address, reader_id: str) -> LineReader:
    """Make the reader for an address like hid:///dev/input/by-id/usb-Scanner-event-kbd."""

    async def open_link() -> ByteLink:
        return TypedLink(InputDevice(address.path))

    return LineReader(reader_id, open_link, idle_ms=address.options["idle_ms"])
