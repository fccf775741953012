"""What every worker process may tell the daemon of its device: that it cannot go on, and what a person does.

Pure, and light: workers load this but neither the ports nor the core.
"""

from dataclasses import dataclass
from enum import Enum


class FaultKind(Enum):
    """Why a device cannot be read; the daemon's `edge.ports.Reason` has each of them by the same value."""

    LOST = "lost"
    BUSY = "busy"
    PERMISSION = "permission"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Fault:
    """The device failed, or (UNSUPPORTED) a library is missing; the worker ends.

    Args:
        kind: the class of the fault.
        what: one clause that names the device and what went wrong.
        remedy: what the reader of the message does next.
    """

    kind: FaultKind
    what: str
    remedy: str


class SourceError(Exception):
    """The device failed; raised in the worker and told as its `Fault`."""

    def __init__(self, fault: Fault) -> None:
        """Carry the fault."""
        super().__init__(fault.what)
        self.fault = fault
