"""The wire of a relay: a line of a GPIO chip, or a file that stands for one.

Light: it loads neither the ports nor the core, and the GPIO library only when a chip is opened.
Invariant: a wire is taken with the value that it is given, without a moment at another one, and by one process at a
time.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from firmware_adapters.relay_records import CONSUMER, Settings
from firmware_adapters.worker_records import Fault, FaultKind

# How long a predecessor that lost its daemon may take to let go.
HANDOVER_S = 1.0
_WORKER = b"firmware_adapters.relay_worker"
_KINDS = MappingProxyType(
    {
        errno.EBUSY: FaultKind.BUSY,
        errno.EACCES: FaultKind.PERMISSION,
        errno.EPERM: FaultKind.PERMISSION,
        errno.ENOENT: FaultKind.LOST,
        errno.ENODEV: FaultKind.LOST,
    },
)
_REMEDIES = MappingProxyType(
    {
        FaultKind.BUSY: "end the program that holds it, or give the lock another line",
        FaultKind.PERMISSION: "give the daemon's user the group that owns the chip (usually gpio)",
        FaultKind.LOST: "correct the chip's path; gpiodetect lists those there are",
        FaultKind.UNSUPPORTED: "give a line of the chip, by number or name; gpioinfo lists them",
    },
)


class WireError(Exception):
    """A wire cannot be taken.

    Args:
        kind: the class of the fault.
        what: one clause that names the wire and what is wrong.
        holder: who has it, as the kernel lists it.
    """

    def __init__(self, kind: FaultKind, what: str, *, holder: str = "", remedy: str | None = None) -> None:
        """Make the fault that is told of it; `remedy` where the usual one does not help."""
        super().__init__(what)
        self.fault = Fault(kind, what, remedy or _REMEDIES[kind])
        self.holder = holder


class Wire(Protocol):
    """A relay's wire.

    Attributes:
        comes_back: whether it may work again after a fault without being taken anew.
    """

    comes_back: bool

    def set(self, value: int) -> None:
        """Drive it to 0 or 1. Raises OSError when the hardware is gone."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class FileWire:
    """A file with the digit 0 or 1, in a folder that stands for a chip."""

    comes_back = False

    def __init__(self, folder: Path, line: str, value: int) -> None:
        """Take the file and drive it to `value`.

        Raises:
            WireError: another process has it, or there is no such folder.
        """
        try:
            self._file = os.open(folder / line, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _file_holder(folder, line)
            os.close(self._file)
            raise _busy(folder, line, holder) from error
        except OSError as error:
            raise _wire_error(folder, line, error) from error
        (folder / f".{line}.holder").write_text(f"{CONSUMER} {os.getpid()}")
        self.set(value)

    def set(self, value: int) -> None:
        """Write the digit."""
        os.pwrite(self._file, b"%d\n" % value, 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


class GpioWire:
    """A line of a GPIO chip."""

    comes_back = False

    def __init__(self, chip: str, line: str, value: int) -> None:
        """Take the line as an output at `value`.

        Raises:
            WireError: another process has it, there is no such line, or this user may not.
            ImportError: the GPIO library is missing.
        """
        import gpiod  # noqa: PLC0415 - loaded when a chip is opened, and its absence is told as a record
        from gpiod.line import Direction, Value  # noqa: PLC0415 - the same

        self._line = int(line) if line.isdigit() else line
        self._values = (Value.INACTIVE, Value.ACTIVE)
        settings = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=self._values[value])
        try:
            self._request = gpiod.request_lines(
                chip, consumer=f"{CONSUMER} {os.getpid()}", config={self._line: settings}
            )
        except (OSError, ValueError) as error:
            raise _gpio_error(chip, line, error) from error

    def set(self, value: int) -> None:
        """Drive the line."""
        self._request.set_value(self._line, self._values[value])

    def close(self) -> None:
        """Let go of the line."""
        self._request.release()


def take_wire(settings: Settings, value: int) -> Wire:
    """Take the wire at `value`; one that is held by a predecessor whose daemon is gone is let go of by it first.

    Raises:
        WireError, ImportError: as the wires raise.
    """
    try:
        return _take(settings, value)
    except WireError as error:
        if not _let_in(error.holder):
            raise
    return _take(settings, value)


def _take(settings: Settings, value: int) -> Wire:
    if settings.kind == "files":
        return FileWire(Path(settings.chip), settings.line, value)
    if settings.kind == "modbus":
        from firmware_adapters.modbus_wire import ModbusWire  # noqa: PLC0415 - a missing library is told as a record

        return ModbusWire(settings, value)
    return GpioWire(settings.chip, settings.line, value)


def _let_in(holder: str) -> bool:
    """Ask a holder to let go; one of ours does when its daemon is gone, and ignores it otherwise."""
    name, _, number = holder.partition(" ")
    if name != CONSUMER or not number.isdigit() or _WORKER not in _command_line(int(number)):
        return False
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(int(number))
        try:
            signal.pidfd_send_signal(process, signal.SIGHUP)
            return bool(select.select([process], [], [], HANDOVER_S)[0])
        finally:
            os.close(process)
    return True


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _file_holder(folder: Path, line: str) -> str:
    with contextlib.suppress(OSError):
        return (folder / f".{line}.holder").read_text()
    return ""


def _gpio_error(chip: str, line: str, error: Exception) -> WireError:
    if not isinstance(error, OSError) or (error.errno == errno.ENOENT and Path(chip).exists()):
        # The library's ways to say that there is no such number or no such name.
        return WireError(FaultKind.UNSUPPORTED, f"{chip} has no line {line}")
    if error.errno == errno.EBUSY:
        return _busy(Path(chip), line, _consumer(chip, line))
    return _wire_error(Path(chip), line, error)


def _busy(chip: Path, line: str, holder: str) -> WireError:
    return WireError(FaultKind.BUSY, f"line {line} of {chip} is in use by {holder or 'another program'}", holder=holder)


def _wire_error(chip: Path, line: str, error: OSError) -> WireError:
    kind = _KINDS.get(error.errno or 0, FaultKind.UNSUPPORTED)
    return WireError(kind, f"line {line} of {chip} cannot be taken ({error.strerror or error})")


def _consumer(chip: str, line: str) -> str:
    import gpiod  # noqa: PLC0415 - loaded already

    with contextlib.suppress(OSError, ValueError), gpiod.Chip(chip) as opened:
        return str(opened.get_line_info(int(line) if line.isdigit() else line).consumer)
    return ""
