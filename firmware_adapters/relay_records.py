"""What the daemon and the process that holds a relay tell each other.

Pure, and light: the process loads this but neither the ports nor the core.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from firmware_adapters.worker_records import Fault, by_name

# The name under which the kernel lists who holds a line; the process id follows, so that a successor can be let in.
CONSUMER = "doorward-lock"


@dataclass(frozen=True, slots=True)
class Settings:
    """Which relay is held, and what its wire means.

    Args:
        kind: what `chip` is: "gpio" a GPIO chip, "files" a folder of files that stand for its lines, "modbus" a board.
        chip: its path; for a board its serial port, or host:port.
        line: the number or the name of the line; of a board the number of the coil.
        unlocked: the electrical value, 0 or 1, that lets people pass.
        unit: the number of a board on its bus.
        baud: bits a second of a board's serial port, 0 for TCP.
    """

    kind: str
    chip: str
    line: str
    unlocked: int
    unit: int = 0
    baud: int = 0


@dataclass(frozen=True, slots=True)
class Energise:
    """Order: unlock for `hold_ms`, from now; `number` tells the answer to it from others."""

    number: int
    hold_ms: int


@dataclass(frozen=True, slots=True)
class Release:
    """Order: secure."""

    number: int


@dataclass(frozen=True, slots=True)
class Done:
    """The relay is as ordered by the order of this number; 0 is the start, where it is secure."""

    number: int


@dataclass(frozen=True, slots=True)
class Undone:
    """The order of this number was not carried out; the relay is secured as soon as it answers again."""

    number: int
    what: str


Record: TypeAlias = Done | Undone | Fault
Order: TypeAlias = Energise | Release

RECORDS: Mapping[str, type[Record]] = by_name(Done, Undone, Fault)
ORDERS: Mapping[str, type[Order]] = by_name(Energise, Release)
