"""The serial port of an OSDP line, as the library wants it: a channel that never waits.

Import this module only in the OSDP worker process: it loads the library.
Invariant: whatever happens to the port, no exception reaches the library's C code; it is kept in `fault`.
"""

import errno
import termios
import time
from collections.abc import Iterable
from types import MappingProxyType

import serial
from osdp import Channel

from firmware_adapters.osdp_ear import Ear
from firmware_adapters.worker_records import Fault, FaultKind

# More than the kernel holds of a serial port.
_FLUSH_BYTES = 4096

_KINDS = MappingProxyType(
    {
        errno.EACCES: FaultKind.PERMISSION,
        errno.EPERM: FaultKind.PERMISSION,
        errno.EBUSY: FaultKind.BUSY,
        errno.EAGAIN: FaultKind.BUSY,
        errno.ENOTTY: FaultKind.UNSUPPORTED,
        errno.EISDIR: FaultKind.UNSUPPORTED,
        errno.EINVAL: FaultKind.UNSUPPORTED,
    },
)
_REMEDIES = MappingProxyType(
    {
        FaultKind.LOST: "plug it in, or correct the address; it is opened again by itself",
        FaultKind.PERMISSION: "give the daemon's user the group that owns the port (usually dialout)",
        FaultKind.BUSY: "stop the other program that uses the port; readers of one line share it by themselves",
        FaultKind.UNSUPPORTED: "give the address of a serial port and a speed it has",
    },
)


class Port(Channel):  # type: ignore[misc]  # the library has no type information
    """A serial port, for this process alone, 8 data bits, no parity."""

    def __init__(self, path: str, baud: int, addresses: Iterable[int]) -> None:
        """Open the port.

        Raises:
            OSError: it cannot be opened.
        """
        super().__init__()
        # The library tells lines apart by this number; readers with the same one share a line.
        self.id = 1
        self.ear = Ear(addresses)
        self.fault: Fault | None = None
        self._path = path
        self._serial = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)

    def read(self, max_bytes: int) -> bytes:
        """Return what has arrived, at most `max_bytes` of it."""
        try:
            data: bytes = self._serial.read(max_bytes)
        except OSError as error:
            self.fault = port_fault(self._path, error, gone=True)
            return b""
        self.ear.heard(data, at_s=time.monotonic())
        return data

    def write(self, buf: bytes) -> int:
        """Hand bytes to the port; a port that takes none counts as having sent them, and the reader as silent."""
        self.ear.asked(bytes(buf), at_s=time.monotonic())
        try:
            return self._serial.write(buf) or 0
        except serial.SerialTimeoutException:
            return len(buf)
        except OSError as error:
            self.fault = port_fault(self._path, error, gone=True)
            return len(buf)

    def flush(self) -> None:
        """Forget what has arrived and was not read, once it has been heard."""
        while self.read(_FLUSH_BYTES) and self.fault is None:
            pass


def port_fault(path: str, error: Exception, *, gone: bool = False) -> Fault:
    """Say why a port cannot be used."""
    number = getattr(error, "errno", None) or 0
    if isinstance(error.__context__, termios.error | OSError) and not number:  # pyserial keeps it to itself
        number = int(error.__context__.args[0])
    kind = FaultKind.LOST if gone else _KINDS.get(number, FaultKind.LOST)
    what = f"{path} is gone" if gone else f"{path} cannot be opened ({error})"
    return Fault(kind, what, _REMEDIES[kind])
