"""An OSDP reader on an RS-485 line: cards, keys, feedback, and the state of its case and supply.

Invariant: nothing is read or shown outside of the secure channel under the key in the reader's key file.
This module must not interpret a card's number.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from edge.ports import (
    Capability,
    Feedback,
    Form,
    InputChange,
    InputLine,
    InputsError,
    LineState,
    Medium,
    PinEntry,
    Presentation,
    ReaderError,
    ReaderInfo,
    ReaderLost,
    Reading,
    Reason,
)
from firmware_adapters.address import Address
from firmware_adapters.card_bits import MAX_NUMBER_BYTES, card_number
from firmware_adapters.keypad import Keypad
from firmware_adapters.osdp_line import Heard, Member, OsdpLine, line_at
from firmware_adapters.osdp_records import Card, Keys, Local, Secure, Show
from firmware_adapters.osdp_signals import commands
from firmware_adapters.pacing import ReopenPacing

# The worker tells within 2 s of its start how each reader stands; loading it takes up to 3 s from a slow card.
ANSWER_DEADLINE_S = 8.0
# A reader that restarts is back in its secure channel after about a second.
RETURN_S = 1.5

_OPTIONAL = {"led": Capability.LED, "buzzer": Capability.BUZZER, "display": Capability.DISPLAY}
_LINES_OF_A_READER = (InputLine.TAMPER, InputLine.POWER)


class OsdpReader:
    """One reader of a line."""

    def __init__(self, line: OsdpLine, member: Member, info: ReaderInfo, *, baud: int, pin_pause_ms: int) -> None:
        """Make the reader a member of its line; nothing is opened before `presentations` is iterated.

        Args:
            line: the line, shared with its other readers.
            member: its place on the line.
            info: what it is.
            baud: bits a second.
            pin_pause_ms: how long after its last key a PIN ends by itself.
        """
        self.line = line
        self._member = member
        self._info = info
        self._baud = baud
        self._keypad = Keypad(pause_ms=pin_pause_ms)
        self._pacing = ReopenPacing()
        self._opened = asyncio.Event()
        self._iterating = False
        self._closing = False
        line.join(member, baud=baud)

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is."""
        return self._info

    async def presentations(self) -> AsyncIterator[Reading]:
        """Yield each card and each PIN; see `Reader.presentations`."""
        if self._iterating:
            raise _refusal(Reason.BUSY, f"reader {self._info.id} is being read already", "end the first iteration")
        self._iterating = True
        try:
            if not self._closing:
                await self._open()
            while not self._closing:
                for reading in await self._next_readings():
                    yield reading
        except ReaderError:
            if not self._closing:
                raise
        finally:
            self._iterating = False
            self._opened.clear()

    async def opened(self) -> None:
        """Wait until the reader is in its secure channel; see `Reader.opened`."""
        await self._opened.wait()

    async def show(self, feedback: Feedback) -> None:
        """Show the reason class with LED, buzzer and display, as far as the reader has them."""
        if self._opened.is_set():
            found = commands(feedback, self._info.capabilities)
            await self.line.show([Show(self._member.address, command) for command in found])

    async def aclose(self) -> None:
        """Leave the line and end the iteration."""
        self._closing = True
        self._member.wake()
        await self.line.leave(self._member)

    async def _open(self) -> None:
        """Wait until the reader is in its secure channel.

        Raises:
            ReaderError: it is not, for a reason that a person can do something about.
        """
        pause_s = self._pacing.pause_s()
        contradiction = self._contradiction()
        if contradiction is not None:
            await self._sit_out(pause_s)
            raise contradiction
        self.line.run(self._member)
        heard = await self._state(wait_s=ANSWER_DEADLINE_S)
        if isinstance(heard, ReaderError) and not self._closing:
            # Perhaps how it stood before; it may come back before that is said again.
            heard = await self._state(wait_s=max(pause_s, RETURN_S)) or heard
        if isinstance(heard, ReaderError):
            raise heard
        if heard is None and not self._closing:
            what = f"the OSDP line {self.line.path} tells nothing of reader {self._member.address}"
            raise ReaderLost(Reason.DEADLINE, what=what, remedy="it is started again by itself")
        if isinstance(heard, Secure):
            self._pacing.succeeded()
            self._opened.set()

    async def _state(self, *, wait_s: float) -> Secure | ReaderError | None:
        """Wait at most `wait_s` for how the reader stands; what it tells meanwhile is of an earlier opening."""
        until_s = time.monotonic() + wait_s
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            heard = await self._member.next(wait_s=left_s)
            if isinstance(heard, Secure | ReaderError):
                return heard
        return None

    async def _sit_out(self, pause_s: float) -> None:
        """Wait for `pause_s`, or until `aclose`; what the line tells meanwhile is for another reader."""
        until_s = time.monotonic() + pause_s
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            await self._member.next(wait_s=left_s)

    def _contradiction(self) -> ReaderError | None:
        """Tell what in the configuration keeps this reader from being read, None when nothing does."""
        first = self.line.other_reader(self._member)
        if first is not None:
            what = f"the OSDP address {self._member.address} on {self.line.path} belongs to reader {first}"
            return _refusal(Reason.BUSY, what, "give each reader of a line its own address")
        if self.line.speed_differs(self._baud):
            what = f"reader {self._info.id} asks {self.line.path} for {self._baud} baud, another one for more or less"
            return _refusal(Reason.UNSUPPORTED, what, "give all readers of a line the same speed")
        return None

    async def _next_readings(self) -> list[Reading]:
        due_ms = self._keypad.due_ms()
        wait_s = None if due_ms is None else max(0.0, (due_ms - _now_ms()) / 1000)
        heard = await self._member.next(wait_s=wait_s)
        return self._readings(heard)

    def _readings(self, heard: Heard | None) -> list[Reading]:
        now_ms = _now_ms()
        match heard:
            case ReaderError():
                raise heard
            case Card(bits=bits, data=data):
                number = card_number(bits, bytes.fromhex(data))
                return [Presentation(self._info.id, Medium.NFC, number, now_ms, form=Form.CARD_NUMBER)]
            case Keys(data=data):
                pins = self._keypad.press(bytes.fromhex(data), at_ms=now_ms)
            case _:
                pins = self._keypad.expire(at_ms=now_ms)
        return [PinEntry(self._info.id, pin, now_ms) for pin in pins]


class OsdpInputs:
    """The case and the supply of one reader, as the door's tamper and power lines.

    While the reader is away both are UNKNOWN: that it is away is its reader's to tell.
    """

    def __init__(self, line: OsdpLine, member: Member, *, baud: int) -> None:
        """Make it a member of the line, beside the reader itself."""
        self.line = line
        self._member = member
        self._iterating = False
        self._closed = False
        self._states = dict.fromkeys(_LINES_OF_A_READER, LineState.UNKNOWN)
        line.join(member, baud=baud)

    async def changes(self) -> AsyncIterator[InputChange]:
        """Yield both lines' states, then their changes; see `Inputs.changes`."""
        if self._iterating or self._closed:
            raise InputsError(
                Reason.CLOSED if self._closed else Reason.BUSY,
                what=f"the inputs of {self._member.name} are {'closed' if self._closed else 'watched already'}",
                remedy="watch them once, and open them again after closing",
            )
        self._iterating = True
        try:
            self.line.run(self._member)
            self._states = dict.fromkeys(_LINES_OF_A_READER, LineState.UNKNOWN)
            for line, state in self._states.items():
                yield InputChange(line, state, _now_ms())
            while not self._closed:
                for change in self._changed(await self._member.next(wait_s=None)):
                    yield change
        finally:
            self._iterating = False

    async def aclose(self) -> None:
        """Leave the line and end the iteration."""
        self._closed = True
        self._member.wake()
        await self.line.leave(self._member)

    def _changed(self, heard: Heard | None) -> list[InputChange]:
        match heard:
            case Local(tamper=tamper, power=power):
                new = dict(zip(_LINES_OF_A_READER, map(_active, (tamper, power)), strict=True))
            case ReaderError():
                new = dict.fromkeys(_LINES_OF_A_READER, LineState.UNKNOWN)
            case _:
                return []
        changed = [
            InputChange(line, state, _now_ms()) for line, state in new.items() if self._states[line] is not state
        ]
        self._states = new
        return changed


def _active(holds: bool) -> LineState:  # noqa: FBT001 - one value turned into another
    return LineState.ACTIVE if holds else LineState.INACTIVE


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _refusal(reason: Reason, what: str, remedy: str) -> ReaderError:
    return ReaderError(reason, what=what, remedy=remedy)


def open_reader(address: Address, reader_id: str) -> OsdpReader:
    """Make the reader for an address like osdp:///dev/ttyUSB0?address=1&key=/var/lib/doorward/osdp/1.key."""
    capabilities = frozenset(kind for name, kind in _OPTIONAL.items() if address.options[name])
    return OsdpReader(
        line_at(address.path),
        Member(address.options["address"], Path(address.texts["key"]), reader_id, talks=True),
        ReaderInfo(reader_id, frozenset({Medium.NFC}), capabilities, MAX_NUMBER_BYTES),
        baud=address.options["baud"],
        pin_pause_ms=address.options["pin_pause_ms"],
    )


def open_inputs(address: Address) -> OsdpInputs:
    """Make the inputs for an address like osdp:///dev/ttyUSB0?address=1&key=/var/lib/doorward/osdp/1.key.

    Raises:
        InputsError: BUSY, they are open already.
    """
    number, line = address.options["address"], line_at(address.path)
    member = Member(number, Path(address.texts["key"]), f"OSDP reader {number} on {address.path}", talks=False)
    if line.is_watched(number):
        raise InputsError(
            Reason.BUSY,
            what=f"the case and the supply of the {member.name} are watched already",
            remedy="give them as inputs once, or close the first",
        )
    return OsdpInputs(line, member, baud=address.options["baud"])
