"""Ports: what the daemon needs from readers, locks, inputs and displays, and nothing about how they do it.

Adapters (`firmware_adapters/`) implement these protocols and import their types from here only.

Invariant: a fault of a device reaches the daemon as one of this module's errors, never as a driver's own.
This module performs no input or output and must not import a driver.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from edge.core.credential import Form, Medium, PinEntry, Presentation
from edge.core.door_state import InputLine, LineState
from edge.core.effects import Feedback

__all__ = [
    "Camera",
    "Capability",
    "Counting",
    "Display",
    "DisplayError",
    "DisplayInfo",
    "Feedback",
    "Form",
    "Home",
    "InputChange",
    "InputLine",
    "Inputs",
    "InputsError",
    "LineState",
    "Lock",
    "LockError",
    "LockInfo",
    "Medium",
    "PinEntry",
    "PortError",
    "Presentation",
    "Reader",
    "ReaderError",
    "ReaderInfo",
    "ReaderLost",
    "Reading",
    "Reason",
]

Reading: TypeAlias = Presentation | PinEntry
"""What a reader reads: what was presented, or a PIN that was keyed in."""


class Reason(Enum):
    """Why a device cannot be used; decide on this, never on the text."""

    LOST = "lost"  # not there (any more): unplugged, or not yet plugged in
    BUSY = "busy"  # another process, or another iteration, holds it
    PERMISSION = "permission"  # the operating system refuses this user
    UNSUPPORTED = "unsupported"  # the device or this installation cannot do that
    DEADLINE = "deadline"  # it did not answer in time
    FAULT = "fault"  # it answers, and wrongly
    CLOSED = "closed"  # used after aclose()


class PortError(Exception):
    """A device cannot be used.

    Args:
        reason: the class of the fault.
        what: one clause that names the device and what went wrong.
        remedy: what the reader of the message does next, as an instruction.
    """

    def __init__(self, reason: Reason, *, what: str, remedy: str) -> None:
        """Keep the reason beside the text "what; remedy"."""
        super().__init__(f"{what}; {remedy}")
        self.reason = reason
        self.what = what
        self.remedy = remedy


class ReaderError(PortError):
    """A reader cannot be used."""


class ReaderLost(ReaderError):
    """The reader's device is not there (any more); iterate `presentations()` again to re-open it."""


class LockError(PortError):
    """A lock cannot be driven."""


class InputsError(PortError):
    """The door's inputs cannot be watched."""


class DisplayError(PortError):
    """A display cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The door that a device works for.

    Args:
        state_folder: where the daemon keeps its state, and an adapter what it must not forget.
        tenant, site, door: what the door is called; slugs.
    """

    state_folder: Path
    tenant: str
    site: str
    door: str


class Capability(Enum):
    """What a reader can tell the person in front of it."""

    LED = "led"
    BUZZER = "buzzer"
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """What is known of a reader before it is opened.

    Args:
        id: the id the configuration gives it.
        media: how it reads.
        capabilities: what `show` can use; empty means that `show` does nothing.
        max_payload_bytes: what it reads at most. A longer payload is delivered cut to one byte more, so that
            its refusal by size can be journaled.
    """

    id: str
    media: frozenset[Medium]
    capabilities: frozenset[Capability]
    max_payload_bytes: int


class Reader(Protocol):
    """A device that reads presentations, and PINs where it has keys."""

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is; known before it is opened."""
        ...

    def presentations(self) -> AsyncIterator[Reading]:
        """Open the device and yield what it reads, until `aclose`; a PIN when its last key was pressed.

        One iteration at a time. After an error, iterate again: the adapter itself paces the re-opening (at once
        the first time, then with a growing pause of at most 5 s), so the caller may iterate again immediately.

        Raises:
            ReaderLost: the device is not there (any more); it is read again once it is back.
            ReaderError: it is there and cannot be used; the remedy says what a person does.
        """
        ...

    async def opened(self) -> None:
        """Wait until the device is open and delivers; at once when it does. After a loss this tells of its return."""
        ...

    async def show(self, feedback: Feedback) -> None:
        """Show the reason class with whatever `info.capabilities` offers; nothing when it is empty."""
        ...

    async def aclose(self) -> None:
        """Release the device and end the iteration; a second call does nothing."""
        ...


@runtime_checkable
class Camera(Protocol):
    """What a reader that sees can do besides reading."""

    def remember_pictures(self) -> None:
        """Keep the last few pictures in memory; called before the reader is iterated, or it keeps none."""
        ...

    async def keep_pictures(self, prefix: Path) -> int:
        """Write the pictures in memory, oldest first, as `prefix`-1.jpg and so on, for the owner of the files alone.

        Codes that were read are covered in them. The folder is there already.

        Returns:
            How many there are; 0 when there are none, or they cannot be written in time.
        """
        ...


@runtime_checkable
class Counting(Protocol):
    """What a reader can do besides reading that knows when something was wrong with what it read."""

    def troubles(self) -> Mapping[str, int]:
        """Tell what went wrong since it was made, by what it was, in words; nothing that never happened.

        The reader itself is well all the same. Nothing in it says whose card or code it was.
        """
        ...


@dataclass(frozen=True, slots=True)
class LockInfo:
    """What is known of a lock.

    Args:
        id: where it is attached, for people to read.
        simulated: True when no real door hangs on it.
    """

    id: str
    simulated: bool


class Lock(Protocol):
    """A relay that holds a door secure when released."""

    @property
    def info(self) -> LockInfo:
        """Tell what this lock is."""
        ...

    async def energise(self, *, hold_ms: int, cause_seq: int) -> None:
        """Unlock for at most `hold_ms` milliseconds; a later call replaces the time that is left.

        The deadline is the lock's own: it releases also when nobody calls `release`.

        Args:
            hold_ms: 1 to 86,400,000.
            cause_seq: the journal sequence number of the event that allowed it.

        Raises:
            LockError: the relay was not driven.
        """
        ...

    async def release(self) -> None:
        """Secure the door now; harmless when it is secure already.

        Raises:
            LockError: the relay was not driven.
        """
        ...

    async def aclose(self) -> None:
        """Leave the relay released and free the device; a second call does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class InputChange:
    """One wire's state from `at_ms` (monotonic milliseconds) on; not debounced by the adapter."""

    line: InputLine
    state: LineState
    at_ms: int


class Inputs(Protocol):
    """The wires of one door."""

    def changes(self) -> AsyncIterator[InputChange]:
        """Yield the present state of every line there is, then each change, until `aclose`.

        One iteration at a time; iterating again starts again with the present states.

        Raises:
            InputsError: the lines cannot be watched.
        """
        ...

    async def aclose(self) -> None:
        """Free the lines and end the iteration; a second call does nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayInfo:
    """What is known of a display before it is opened.

    Args:
        id: the id the configuration gives it.
        columns, rows: how many characters a row has, and how many rows there are.
        simulated: True when nobody stands before it.
    """

    id: str
    columns: int
    rows: int
    simulated: bool


class Display(Protocol):
    """A few rows of text for the person at the door."""

    @property
    def info(self) -> DisplayInfo:
        """Tell what this display is; known before it is opened."""
        ...

    async def hold(self) -> None:
        """Open the device and hold it until `aclose`; nothing stands on it then.

        One hold at a time. After an error, hold it again: as with a reader, the adapter itself paces the re-opening.

        Raises:
            DisplayError: LOST, it is not there (any more); DEADLINE, it does not take what is shown; or it is there
                and cannot be used; the remedy says what a person does.
        """
        ...

    async def opened(self) -> None:
        """Wait until the device is open and takes text; at once when it does. After a loss this tells of its return."""
        ...

    async def show(self, rows: Sequence[str]) -> None:
        """Show these rows, from the top, in place of all that stands there.

        What is too long is cut, and what the device has no character for is shown as "?".

        Raises:
            DisplayError: it is not open, or does not take it within one second: then `hold` ends with the same error.
        """
        ...

    async def aclose(self) -> None:
        """Clear and release the device and end the hold; a second call does nothing."""
        ...
