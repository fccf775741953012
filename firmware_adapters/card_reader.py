"""A reader of contactless cards and phones, over PC/SC or nfcpy, with the driver in a worker process.

Invariants: a card that stays is one presentation; a presentation's form says what its card proved; a sealed store that
others may read stops the reader, rather than being used.
Must not: log or keep a card's number.
"""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from edge.ports import Capability, Feedback, Form, Home, Medium, Presentation, ReaderError, ReaderInfo, Reason
from firmware_adapters.address import Address
from firmware_adapters.card_process import CardProcess, PresentCard, start_worker
from firmware_adapters.card_records import Arrived, Departed, Idle, Settings
from firmware_adapters.cards.aes import KEY_BYTES
from firmware_adapters.cards.counters import FileCounters, MemoryCounters
from firmware_adapters.cards.errors import CardFault
from firmware_adapters.cards.identify import Card, Desk, Identification, identify
from firmware_adapters.cards.keys import CardKey, CardKeys
from firmware_adapters.cards.ndef import MOST_MESSAGE
from firmware_adapters.driver_process import DriverEndedError
from firmware_adapters.pacing import ReopenPacing
from firmware_adapters.sealed_store import SealedStore, SealedStoreError, SealFault

# A card at the edge of the field flickers for a tenth of a second; nobody takes one away and brings it back so soon.
FLICKER_MS = 300
# Workers in a row that end before they are ready: then it is the installation, not a card.
MOST_FAILED_STARTS = 3

# What technicians are told of a card that did not prove what it began to.
_TROUBLES = {
    CardFault.ABSENT: "card without the application",
    CardFault.UNSUPPORTED: "card in LRP mode",
    CardFault.REFUSED: "card refused the door",
    CardFault.MALFORMED: "card answer cut or malformed",
    CardFault.TOO_LARGE: "card answer too long",
    CardFault.UNPROVEN: "card proof wrong",
    CardFault.REPLAYED: "card counter went back",
    CardFault.REMOVED: "card taken away too early",
    CardFault.DEADLINE: "card too slow",
    CardFault.STORE: "card counter could not be kept",
}

_SEAL_REASONS = {
    SealFault.OPEN_TO_OTHERS: Reason.PERMISSION,
    SealFault.UNREADABLE: Reason.PERMISSION,
    SealFault.WRONG_SIZE: Reason.FAULT,
}


@dataclass(slots=True)
class CardStatistics:
    """What a card reader has done since it was made.

    Args:
        cards: cards and phones that came.
        proofs: of these, what they proved.
        misses: what went wrong with them, by fault; one card may count several times.
        worker_restarts: workers that died and were replaced.
    """

    cards: int = 0
    proofs: Counter[Form] = field(default_factory=Counter)
    misses: Counter[CardFault] = field(default_factory=Counter)
    worker_restarts: int = 0


class CardReader:
    """Reads cards and phones."""

    def __init__(self, reader_id: str, settings: Settings, home: Home | None) -> None:
        """Prepare a reader; no process is started before `presentations` is iterated.

        Args:
            reader_id: the id the configuration gives it.
            settings: the stack and the device.
            home: the door it works for, where its keys and counters are; None for a reader that is only tried: it
                has no keys and talks to no phone.
        """
        signals = {Capability.LED, Capability.BUZZER} if settings.signals else set()
        self._info = ReaderInfo(reader_id, frozenset({Medium.NFC}), frozenset(signals), MOST_MESSAGE)
        self._settings = settings
        self._home = home
        self._counters = MemoryCounters() if home is None else FileCounters(home.state_folder)
        self._pacing = ReopenPacing()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._iterating = False
        self._worker: CardProcess | None = None
        self._failed_starts = 0
        self._presented: tuple[bytes, int] | None = None
        self.statistics = CardStatistics()

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is."""
        return self._info

    @property
    def worker_pid(self) -> int | None:
        """Return the process id of the driver at work, None when there is none."""
        return None if self._worker is None else self._worker.pid

    async def presentations(self) -> AsyncIterator[Presentation]:
        """Yield one presentation a card that comes; see `Reader.presentations`."""
        if self._iterating:
            raise ReaderError(
                Reason.BUSY,
                what=f"reader {self._info.id} is being read already",
                remedy="end the first iteration before the next",
            )
        self._iterating = True
        try:
            while not self._closing.is_set():
                presentation = await self._next_presentation()
                if presentation is not None:
                    yield presentation
        except ReaderError:
            if not self._closing.is_set():
                raise
        finally:
            self._iterating = False
            await self._drop_worker()

    async def opened(self) -> None:
        """Wait until the reader is open; see `Reader.opened`."""
        await self._opened.wait()

    async def show(self, feedback: Feedback) -> None:
        """Show a feedback with LED and buzzer while the card lies there; nothing on readers without."""
        worker = self._worker
        if worker is not None and self._info.capabilities and self._opened.is_set():
            with contextlib.suppress(DriverEndedError):  # the iteration finds that too, and replaces it
                await worker.signal(feedback.value)

    def troubles(self) -> Mapping[str, int]:
        """Tell what cards did not prove, and how often the driver was replaced; see `Counting.troubles`."""
        misses = {_TROUBLES[fault]: count for fault, count in self.statistics.misses.items()}
        restarts = self.statistics.worker_restarts
        return misses | ({"driver replaced": restarts} if restarts else {})

    async def aclose(self) -> None:
        """End the worker and the iteration."""
        self._closing.set()
        await self._drop_worker()

    async def _next_presentation(self) -> Presentation | None:
        """Hear the worker, or replace it when it has ended; None when there is nothing to present yet."""
        if self._worker is None:
            await self._start_paced()
            return None
        try:
            happening = await self._worker.next_happening()
            self._opened.set()
            self._failed_starts = 0
            if isinstance(happening, Arrived):
                return await self._attend(self._worker, happening)
            if isinstance(happening, Departed) and self._presented is not None:
                self._presented = (self._presented[0], _now_ms())
            if isinstance(happening, Idle):
                self._pacing.succeeded()
        except DriverEndedError as error:
            await self._drop_worker()
            self.statistics.worker_restarts += 1
            self._failed_starts += 1
            if self._failed_starts > MOST_FAILED_STARTS and not self._closing.is_set():
                raise ReaderError(
                    Reason.FAULT,
                    what=f"reader {self._info.id}: {error}, {self._failed_starts} times in a row",
                    remedy="run python -m firmware_adapters.card_worker by hand to see why",
                ) from error
        return None

    async def _attend(self, worker: CardProcess, arrived: Arrived) -> Presentation | None:
        self._pacing.succeeded()
        card = Card(arrived.number, arrived.speaks, PresentCard(worker, arrived.card))
        if self._flickered(card):
            return None
        self.statistics.cards += 1
        found = await identify(card, self._desk())
        self._count(found)
        proof = found.proof
        if proof is None:
            return None
        now_ms = _now_ms()
        self._presented = None if card.is_random else (card.number, now_ms)
        return Presentation(self._info.id, Medium.NFC, proof.payload, now_ms, proof.form, proof.nonce)

    def _flickered(self, card: Card) -> bool:
        """Tell whether this is the card that was presented and lost for a moment."""
        before, self._presented = self._presented, None
        if before is None or before[0] != card.number or _now_ms() - before[1] >= FLICKER_MS:
            return False
        self._presented = before
        return True

    def _count(self, found: Identification) -> None:
        if found.proof is not None:
            self.statistics.proofs[found.proof.form] += 1
        self.statistics.misses.update(miss.fault for miss in found.misses)

    def _desk(self) -> Desk:
        """Bring what the door has now: a key that was just provisioned counts from the next card on.

        Raises:
            ReaderError: the sealed store cannot be used.
        """
        home = self._home
        return Desk(
            keys=CardKeys() if home is None else read_keys(SealedStore(home.state_folder)),
            counters=self._counters,
            entropy=secrets.token_bytes,
            door=None if home is None else f"{home.tenant}/{home.site}/{home.door}",
            reader=self._info.id,
        )

    async def _start_paced(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pacing.pause_s()):
                await self._closing.wait()
        if not self._closing.is_set():
            self._desk()  # a store that cannot be used is told before somebody stands there
            self._worker = await start_worker(self._settings)

    async def _drop_worker(self) -> None:
        self._opened.clear()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def read_keys(store: SealedStore) -> CardKeys:
    """Read the keys for cards out of the sealed store.

    Raises:
        ReaderError: others may read them, or they cannot be read.
    """
    try:
        found = {purpose: store.read(purpose.value, size=KEY_BYTES) for purpose in CardKey}
    except SealedStoreError as error:
        raise ReaderError(_SEAL_REASONS[error.fault], what=error.what, remedy=error.remedy) from error
    return CardKeys({purpose: key for purpose, key in found.items() if key is not None})


def open_pcsc(address: Address, reader_id: str, home: Home | None) -> CardReader:
    """Make the reader for an address like pcsc:ACS%20ACR122U?acr122=1."""
    return CardReader(reader_id, Settings("pcsc", address.path, signals=bool(address.options["acr122"])), home)


def open_nfc(address: Address, reader_id: str, home: Home | None) -> CardReader:
    """Make the reader for an address like nfc:///dev/ttyUSB0 or nfc:usb."""
    return CardReader(reader_id, Settings("nfc", address.path), home)
