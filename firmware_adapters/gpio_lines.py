"""Taking lines of a GPIO chip to watch them, with one set of errors.

Invariant: every fault of the chip is the port's own error, and names the chip.
"""

import errno
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import gpiod

from edge.ports import InputsError, ReaderError, ReaderLost, Reason

# A card at a reader makes 37 edges, a contact a few; the daemon takes them at once.
MOST_EVENTS = 256

Config: TypeAlias = dict[Iterable[int | str] | int | str, gpiod.LineSettings | None]

_REASONS = MappingProxyType(
    {
        errno.EBUSY: (Reason.BUSY, "end the program that holds it (gpioinfo names it), or use another line"),
        errno.EACCES: (Reason.PERMISSION, "give the daemon's user the group that owns the chip (usually gpio)"),
        errno.EPERM: (Reason.PERMISSION, "give the daemon's user the group that owns the chip (usually gpio)"),
        errno.ENOENT: (Reason.LOST, "correct the chip's path; gpiodetect lists those there are"),
        errno.ENODEV: (Reason.LOST, "plug the chip in again"),
    },
)


def take_lines(
    chip: str, config: Config, *, consumer: str, error: type[InputsError | ReaderError]
) -> gpiod.LineRequest:
    """Take lines of a chip.

    Args:
        chip: its path.
        config: the lines and how to take them.
        consumer: the name under which the kernel lists who holds them.
        error: the port's error, raised when one is in use, not there, or forbidden.
    """
    try:
        return gpiod.request_lines(chip, consumer=consumer, event_buffer_size=MOST_EVENTS, config=config)
    except (OSError, ValueError) as fault:
        if isinstance(fault, OSError) and not (fault.errno == errno.ENOENT and Path(chip).exists()):
            raise line_error(chip, fault, error) from fault
        # The library's ways to say that there is no such number, no such name, or one line twice.
        raise error(
            Reason.UNSUPPORTED,
            what=f"{chip} lacks one of the lines {', '.join(map(str, config))}, or two of them are one ({fault})",
            remedy="give lines of the chip, by number or name; gpioinfo lists them",
        ) from fault


def line_error(chip: str, fault: OSError, error: type[InputsError | ReaderError]) -> InputsError | ReaderError:
    """Turn a fault of the chip into the port's error."""
    reason, remedy = _REASONS.get(fault.errno or 0, (Reason.FAULT, "check the chip and its wires"))
    kind = ReaderLost if error is ReaderError and reason is Reason.LOST else error
    return kind(reason, what=f"lines of {chip} cannot be watched ({fault.strerror or fault})", remedy=remedy)


def reference(line: str) -> int | str:
    """Return what the library wants of a line that an address names: a number or a name."""
    return int(line) if line.isdigit() else line
