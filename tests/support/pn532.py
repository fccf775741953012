"""A PN532 at the end of a pseudo-terminal, with cards in its field: the peer of nfcpy's own driver.

Frames as UM0701-02 §6.2 and §7 describe them, ISO/IEC 14443-4 blocks as its §7.5 does.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import tty
from typing import TYPE_CHECKING, Final

from firmware_adapters.card_reader import CardReader
from firmware_adapters.catalogue import open_reader
from tests.support.pcsc import home_in
from tests.support.virtual_cards import Phone, VirtualCard
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

_START: Final = b"\x00\x00\xff"
_ACKNOWLEDGED: Final = bytes.fromhex("0000ff00ff00")
_TIMED_OUT: Final = b"\x01"
_FINE: Final = b"\x00"
_ATS: Final = bytes.fromhex("0578807002")
"""Blocks of 256 bytes, a waiting time of 39 ms."""
_SENT_AT_ONCE: Final = 60
"""Small, so that every longer answer is chained."""


class IsoDep:
    """The card's side of ISO/IEC 14443-4."""

    def __init__(self, card: VirtualCard) -> None:
        self._card = card
        self._block = 1
        self._asked = b""
        self._left: list[bytes] = []
        self._last = b""
        card.reset()

    def answer(self, frame: bytes) -> bytes | None:
        """Answer a frame from the reader; None when the card says nothing."""
        if not self._card.speaks:
            return None
        if frame[0] == 0xE0:
            return _ATS
        if frame[0] & 0xE2 == 0x02:
            self._last = self._information(frame)
        elif frame[0] & 0xE6 == 0xA2 and frame[0] & 1 != self._block:
            if frame[0] & 0x10:  # a negative acknowledgement of a block that never was: the reader asks if we are there
                return bytes((0xA2 | self._block,))
            self._block ^= 1
            self._last = self._piece()
        elif frame[0] & 0xF7 == 0xC2:
            return bytes((0xC2,))
        return self._last

    def _information(self, frame: bytes) -> bytes:
        self._block ^= 1
        self._asked += frame[1:]
        if frame[0] & 0x10:
            return bytes((0xA2 | self._block,))
        answer, self._asked = self._card.answer(self._asked), b""
        self._left = [answer[at : at + _SENT_AT_ONCE] for at in range(0, len(answer), _SENT_AT_ONCE)]
        return self._piece()

    def _piece(self) -> bytes:
        piece = self._left.pop(0)
        return bytes(((0x12 if self._left else 0x02) | self._block,)) + piece


class Pn532:
    """The chip, and the field before it."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._stopped, self._stop = os.pipe()
        self._waiting: queue.Queue[tuple[VirtualCard, bool]] = queue.Queue(64)
        self._held: tuple[VirtualCard, bool] | None = None
        self._dep: IsoDep | None = None
        self._served = 0
        self._take_away = threading.Event()
        self.mute = threading.Event()
        self.flicker = threading.Event()
        self.break_next = threading.Event()
        self.listed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hold(self, card: VirtualCard, *, until_served: bool = False) -> None:
        """Hold a card to it, after those that wait; see `PcscField.hold`."""
        self._waiting.put((card, until_served))

    def take_away(self) -> None:
        """Take away the card that is held."""
        self._take_away.set()

    def stop(self) -> None:
        """Stop it; its terminal is the caller's to close."""
        os.write(self._stop, b"x")
        self._thread.join(DEADLINE_S)
        os.close(self._stop)
        os.close(self._stopped)

    def _run(self) -> None:
        received = bytearray()
        with contextlib.suppress(OSError):
            while self._stopped not in select.select([self._master, self._stopped], [], [])[0]:
                received += os.read(self._master, 4096)
                while (command := _next_command(received)) is not None:
                    if not self.mute.is_set():
                        self._write(_ACKNOWLEDGED)
                        self._write(self._answer(command))

    def _answer(self, command: bytes) -> bytes:
        frame = _frame(bytes((0xD5, command[1] + 1)) + self._obey(command[1], command[2:]))
        if self.break_next.is_set():
            self.break_next.clear()
            return frame[:-2] + bytes((frame[-2] ^ 1, 0))
        return frame

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def _obey(self, code: int, data: bytes) -> bytes:
        if self._take_away.is_set():
            self._take_away.clear()
            self._held = None
        match code:
            case 0x00:  # the test of the line wants back what it sent
                return data
            case 0x16:
                return _FINE
            case 0x02:
                return bytes.fromhex("32010607")
            case 0x06:  # what a register holds matters once: 26 says that nobody answered a call
                return b"\x26" * (len(data) // 2)
            case 0x4A:
                return self._listed(data[1])
            case 0x42:
                return self._passed(data)
            case _:
                return b""

    def _listed(self, kind: int) -> bytes:
        """Call the cards of a kind; all of ours are type A."""
        if kind != 0:
            return b"\x00"
        if self._held is None:
            with contextlib.suppress(queue.Empty):
                self._held = self._waiting.get_nowait()
            return b"\x00"  # the reader has to see an empty field between two cards
        card = self._held[0]
        self.listed += 1
        self._dep = IsoDep(card)
        self._served = card.served if isinstance(card, Phone) else 0
        called = b"\x00\x04" if len(card.number) == 4 else b"\x03\x44"
        return b"\x01\x01" + called + (b"\x20" if card.speaks else b"\x08") + bytes((len(card.number),)) + card.number

    def _passed(self, frame: bytes) -> bytes:
        if self._held is None or self._dep is None:
            return _TIMED_OUT
        if self.flicker.is_set():
            self.flicker.clear()
            return _TIMED_OUT
        answer = self._dep.answer(frame)
        card, until_served = self._held
        if self._take_away.is_set() or answer is None:
            return _TIMED_OUT
        # A block without the chaining bit is the last of its answer.
        if until_served and isinstance(card, Phone) and card.served > self._served and not answer[0] & 0x10:
            self._held = None
        return _FINE + answer


def _next_command(received: bytearray) -> bytes | None:
    """Take the next whole frame out of what was received; acknowledgements are passed over."""
    while (at := received.find(_START)) >= 0:
        del received[:at]
        if received.startswith(_ACKNOWLEDGED):
            del received[: len(_ACKNOWLEDGED)]
            continue
        extended = received[3:5] == b"\xff\xff"
        head = 8 if extended else 5
        if len(received) < head:
            return None
        size = int.from_bytes(received[5:7], "big") if extended else received[3]
        if len(received) < head + size + 2:
            return None
        command = bytes(received[head : head + size])
        del received[: head + size + 2]
        return command
    return None


def _frame(data: bytes) -> bytes:
    size = len(data)
    if size < 0xFF:
        head = _START + bytes((size, -size & 0xFF))
    else:
        length = size.to_bytes(2, "big")
        head = _START + b"\xff\xff" + length + bytes((-sum(length) & 0xFF,))
    return head + data + bytes((-sum(data) & 0xFF, 0))


class NfcBench:
    """nfcpy with a PN532; payloads are what a phone answers."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "ttyNFC0"
        self.state_folder = folder / "state"
        self.state_folder.mkdir(mode=0o700)
        self._master = self._slave = -1
        self.chip: Pn532
        self.restore()
        self.address = f"nfc://{self.link}"
        reader = open_reader(self.address, "reader-1", home_in(self.state_folder))
        assert isinstance(reader, CardReader)
        self.reader = reader

    @property
    def field(self) -> Pn532:
        return self.chip

    def present(self, payload: bytes) -> None:
        self.chip.hold(Phone(lambda _nonce, _door: payload), until_served=True)

    def read_as(self, payload: bytes) -> bytes:
        """Return what the reader delivers when `payload` is presented."""
        return payload

    def lose(self) -> None:
        if self._master >= 0:
            # The chip's thread stops reading before its terminal is closed, so that it never reads another's.
            os.close(self._slave)
            self.chip.stop()
            os.close(self._master)
            self._master = self._slave = -1
            self.link.unlink()

    def restore(self) -> None:
        self.lose()
        # The other end stays open here as well: reading one that nobody has open is an error.
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.link.symlink_to(os.ttyname(self._slave))
        self.chip = Pn532(self._master)

    def dispose(self) -> None:
        self.lose()
