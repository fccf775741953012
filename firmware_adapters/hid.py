"""A keyboard-wedge scanner: an input device, grabbed, so that its codes reach no console and no other program.

It speaks the kernel's own interface (Documentation/input), which needs no package: python-evdev has no wheel for the
boards that doors run on.
Invariant: a device that cannot be grabbed is not read.
"""

import asyncio
import errno
import fcntl
import os
from types import MappingProxyType

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.address import Address
from firmware_adapters.hid_keys import EVENT, Keys
from firmware_adapters.line_reader import LineReader
from firmware_adapters.link import ByteLink

# EVIOCGRAB, _IOW('E', 0x90, int) of linux/input.h.
_GRAB = 0x40044590
_MOST_EVENTS = 64
_REASONS = MappingProxyType(
    {
        errno.EACCES: Reason.PERMISSION,
        errno.EPERM: Reason.PERMISSION,
        errno.EBUSY: Reason.BUSY,
        errno.ENOTTY: Reason.UNSUPPORTED,
        errno.EINVAL: Reason.UNSUPPORTED,
    },
)
_REMEDIES = MappingProxyType(
    {
        Reason.LOST: "plug it in, or correct the address; it is opened again by itself",
        Reason.PERMISSION: "give the daemon's user the group that owns the device (usually input)",
        Reason.BUSY: "end the program that has grabbed it, or give each reader its own",
        Reason.UNSUPPORTED: "give the address of an input device, as in /dev/input/by-id/…-event-kbd",
    },
)


class InputDevice:
    """An input device, grabbed, as a link of the kernel's events."""

    def __init__(self, path: str) -> None:
        """Open and grab it.

        Raises:
            ReaderLost: there is no such device (now).
            ReaderError: it is no input device, grabbed already, or forbidden.
        """
        self._path = path
        self._arrived = asyncio.Event()
        try:
            self._device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise _error(path, error) from error
        try:
            fcntl.ioctl(self._device, _GRAB, 1)
        except OSError as error:
            os.close(self._device)
            raise _error(path, error) from error
        asyncio.get_running_loop().add_reader(self._device, self._arrived.set)

    async def read(self) -> bytes:
        """Wait for events and return them; see `ByteLink.read`."""
        while self._device >= 0:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                return os.read(self._device, _MOST_EVENTS * EVENT.size) if self._device >= 0 else b""
            except BlockingIOError:
                continue
            except OSError as error:
                what = f"{self._path} is gone"
                raise ReaderLost(Reason.LOST, what=what, remedy=_REMEDIES[Reason.LOST]) from error
        raise ReaderLost(Reason.CLOSED, what=f"{self._path} was closed", remedy="open it again")

    async def write(self, data: bytes) -> None:
        """Refuse: a scanner of this kind takes nothing."""
        raise ReaderError(Reason.UNSUPPORTED, what=f"{self._path} takes no bytes", remedy=f"keep these {len(data)}")

    async def aclose(self) -> None:
        """Free the device and wake its reader."""
        if self._device >= 0:
            asyncio.get_running_loop().remove_reader(self._device)
            os.close(self._device)
            self._device = -1
            self._arrived.set()


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


def _error(path: str, error: OSError) -> ReaderError:
    reason = _REASONS.get(error.errno or 0, Reason.LOST)
    if error.errno == errno.EISDIR:
        reason = Reason.UNSUPPORTED
    kind = ReaderLost if reason is Reason.LOST else ReaderError
    return kind(reason, what=f"{path} cannot be opened ({error.strerror})", remedy=_REMEDIES[reason])


def open_reader(address: Address, reader_id: str) -> LineReader:
    """Make the reader for an address like hid:///dev/input/by-id/usb-Scanner-event-kbd."""

    async def open_link() -> ByteLink:
        return TypedLink(InputDevice(address.path))

    return LineReader(reader_id, open_link, idle_ms=address.options["idle_ms"])
