"""An input device of the kernel, grabbed, as a link of its events.

Invariant: a device that cannot be grabbed is not read.
"""

import asyncio
import errno
import fcntl
import os
from types import MappingProxyType

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.hid_keys import EVENT

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


def _error(path: str, error: OSError) -> ReaderError:
    reason = _REASONS.get(error.errno or 0, Reason.LOST)
    if error.errno == errno.EISDIR:
        reason = Reason.UNSUPPORTED
    kind = ReaderLost if reason is Reason.LOST else ReaderError
    return kind(reason, what=f"{path} cannot be opened ({error.strerror})", remedy=_REMEDIES[reason])
