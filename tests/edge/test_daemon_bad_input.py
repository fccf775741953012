"""What is wrong at a reader or a relay, seen from a running door: its journal, and `doorward edge devices`.

docs/hardware.md has each as a row of its table of bad input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from doorward.errors import ExitCode
from edge.config import AddressConfig, ClockConfig
from firmware_adapters.cards.keys import CardKey
from firmware_adapters.sealed_key import write_key
from firmware_adapters.sealed_store import SealedStore
from tests.support import lock_holder
from tests.support.commands import run_program
from tests.support.daemon_door import Door, make_door, running
from tests.support.device_rows import device_rows, health_of
from tests.support.images import code, frame_with, png
from tests.support.osdp_bench import OsdpBench
from tests.support.pcsc import PcscBench
from tests.support.virtual_cards import (
    NUMBER,
    CutCard,
    Ev2Card,
    LrpTag,
    NumberCard,
    Phone,
    PkocCard,
    SunTag,
    VirtualCard,
    card_key,
)
from tests.support.waiting import DEADLINE_S
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_MASTERS: Final = {key: bytes([40 + place]) * 16 for place, key in enumerate(CardKey)}
_OTHER_KEY: Final = bytes(range(16))


@pytest.fixture(name="door")
def _door(tmp_path: Path) -> Door:
    folder = tmp_path / "state"
    folder.mkdir()
    return make_door(folder, settings=DoorSettings(release_time_ms=80, open_time_ms=60_000))


# --- readers that are there and cannot be used, and that are not there -----------------------------------------


@pytest.fixture(name="osdp")
async def _osdp(tmp_path: Path) -> AsyncIterator[OsdpBench]:
    folder = tmp_path / "osdp"
    folder.mkdir()
    bench = OsdpBench(folder)
    await bench.reader.aclose()  # the daemon brings its own
    yield bench
    bench.dispose()


async def test_an_osdp_reader_with_another_key_is_at_fault(door: Door, osdp: OsdpBench):
    write_key(osdp.key_file, _OTHER_KEY)
    door.read_by({"in": osdp.url()})
    async with running(door):
        await door.seen(kind="READER_LOST", reader="in")
        health, note = await health_of(door, "in")
    assert health == "fault"
    assert "answers, but not with the key in" in note


async def test_two_osdp_readers_at_one_address_are_at_fault_until_one_is_gone(door: Door, osdp: OsdpBench):
    second = osdp.add()
    door.read_by({"in": osdp.url()})
    async with running(door):
        await door.seen(kind="READER_LOST", reader="in")
        health, note = await health_of(door, "in")
        assert health == "fault"
        assert "two readers have this address" in note
        second.kill()
        await door.seen(kind="READER_RESTORED", reader="in")
        assert await health_of(door, "in") == ("well", "")


async def test_the_second_reader_configured_for_one_osdp_address_is_at_fault(door: Door, osdp: OsdpBench):
    door.read_by({"in": osdp.url(), "out": osdp.url()})
    async with running(door):
        await door.seen(kind="READER_LOST", reader="out")
        health, note = await health_of(door, "out")
        assert health == "fault"
        assert "belongs to reader in" in note
        osdp.peripheral.card(26, b"\x11\x11\x11\x00")
        await door.seen(kind="ACCESS_DENIED", reader="in")
        assert await health_of(door, "in") == ("well", "")


async def test_a_scanner_that_is_unplugged_at_the_start_is_lost_and_read_once_it_is_there(door: Door):
    door.unplug()
    async with running(door):
        await door.seen(kind="READER_LOST", reader="qr-1")
        health, note = await health_of(door, "qr-1")
        assert health == "lost"
        assert "ttyDW0" in note
        door.plug()
        await door.seen(kind="READER_RESTORED", reader="qr-1")
        await door.scan_until(door.code(), kind="ACCESS_GRANTED")
        assert await health_of(door, "qr-1") == ("well", "")


# --- readers that are well, and what is read is not -------------------------------------------------------------


@contextlib.contextmanager
def _babbling(door: Door) -> Iterator[None]:
    """Let the scanner send codes that are none as fast as its line takes them."""
    enough = threading.Event()

    def babble() -> None:
        while not enough.is_set():
            os.write(door.master, b"BABBLE" * 50 + b"\r")

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(DEADLINE_S)


async def test_a_scanner_that_babbles_is_journaled_as_a_number_and_keeps_nobody_from_leaving(door: Door):
    async with running(door):
        await door.scan_until(b"hello", kind="ACCESS_DENIED")
        with _babbling(door):
            told = await door.seen(kind="DENIALS_SUPPRESSED")
            await door.wire("rex press")
            await door.seen(kind="EGRESS", after=told["seq"])
            assert await health_of(door, "qr-1") == ("well", "")
        assert told["count"] > 100
        assert len([each for each in await door.events() if each["kind"] == "ACCESS_DENIED"]) <= 100
        await door.scan_until(door.code(), kind="ACCESS_GRANTED")


async def test_a_frame_of_sixty_codes_leaves_the_camera_well_and_the_rest_are_counted(door: Door, tmp_path: Path):
    folder = tmp_path / "frames"
    folder.mkdir()
    door.read_by({"eye": f"camera+files://{folder}?fps=30"})
    sixty = frame_with(*(code(f"CODE {number}", scale=3) for number in range(60)), left=20, top=10, gap=8)
    async with running(door):
        last = 0
        (folder / "1.png.new").write_bytes(png(sixty))
        (folder / "1.png.new").rename(folder / "1.png")
        for _ in range(8):
            last = (await door.seen(kind="ACCESS_DENIED", after=last))["seq"]
        assert await health_of(door, "eye") == ("well", "code beyond those of one frame: 52")


@dataclass(frozen=True, slots=True)
class BadCard:
    """A card that is held to the reader, perhaps twice.

    Attributes:
        trouble: what a technician is told.
        before: what happens to the card before it is held again; None when it is held once.
        denied: how often its number is refused.
    """

    card: VirtualCard
    trouble: str
    before: Callable[[], None] | None = None
    denied: int = 1


def _wrong_mac() -> BadCard:
    tag = _sun_tag()
    tag.wrong_mac = True
    return BadCard(tag, "card proof wrong: 1")


def _counter_back() -> BadCard:
    tag = _sun_tag()

    def turn_back() -> None:
        tag.counter = 10

    return BadCard(tag, "card counter went back: 1", turn_back, denied=2)


def _sun_tag() -> SunTag:
    return SunTag(meta=_MASTERS[CardKey.SUN_META], file=_MASTERS[CardKey.SUN_FILE], counter=20)


def _cut() -> BadCard:
    return BadCard(CutCard(PkocCard(NUMBER), 1), "card answer cut or malformed: 5")


def _cut_step() -> BadCard:
    card = Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2))
    return BadCard(CutCard(card, 17), "card refused the door: 1")


def _lrp() -> BadCard:
    return BadCard(LrpTag(), "card in LRP mode: 2")


_BAD_CARDS: Final[dict[str, Callable[[], BadCard]]] = {
    "wrong CMAC": _wrong_mac,
    "counter back": _counter_back,
    "answers of one byte": _cut,
    "a step cut short": _cut_step,
    "LRP mode": _lrp,
}


@pytest.fixture(name="cards")
def _cards(door: Door, tmp_path: Path) -> Iterator[PcscBench]:
    folder = tmp_path / "pcsc"
    folder.mkdir()
    bench = PcscBench(folder)
    store = SealedStore(door.folder)
    for purpose, key in _MASTERS.items():
        store.write(purpose.value, key)
    door.read_by({"cards": bench.address})
    yield bench
    bench.dispose()


@pytest.mark.parametrize("kind", _BAD_CARDS)
async def test_a_card_that_cannot_prove_itself_is_refused_and_counted_and_the_reader_is_well(
    door: Door, cards: PcscBench, kind: str
):
    bad = _BAD_CARDS[kind]()
    async with running(door):
        cards.field.hold(bad.card)
        first = await door.seen(kind="ACCESS_DENIED", reader="cards")
        if bad.before is not None:
            assert first["assurance"] == 2
            cards.field.take_away()
            await asyncio.sleep(0.5)  # longer than a card flickers
            bad.before()
            cards.field.hold(bad.card)
            await door.seen(kind="ACCESS_DENIED", reader="cards", after=first["seq"], assurance=0)
        assert await health_of(door, "cards") == ("well", bad.trouble)
        assert not [each for each in await door.events() if each["kind"] == "READER_LOST"]


class _Leaving(Phone):
    """A phone that is taken away while it should answer."""

    def __init__(self, bench: PcscBench) -> None:
        super().__init__(lambda _nonce, _door: b"")
        self._bench = bench

    def answer(self, apdu: bytes) -> bytes:
        if apdu[1] == 0x80:
            self._bench.field.take_away()
        return super().answer(apdu)


async def test_a_card_that_is_taken_away_too_early_is_counted_and_the_next_is_read(door: Door, cards: PcscBench):
    async with running(door):
        cards.field.hold(_Leaving(cards))
        cards.field.hold(NumberCard())
        await door.seen(kind="ACCESS_DENIED", reader="cards")
        assert await health_of(door, "cards") == ("well", "card taken away too early: 1")
        kinds = [each["kind"] for each in await door.events()]
        assert kinds.count("ACCESS_DENIED") == 1
        assert "READER_LOST" not in kinds


# --- what a door cannot be without -------------------------------------------------------------------------------


def _hang(door: Door, lock: str) -> None:
    """Hang a door on a real lock, with which nothing simulated goes."""
    door.configure(replace(door.config, lock=AddressConfig(url=lock), inputs=(), clock=ClockConfig()))


@contextlib.contextmanager
def _holding(url: str) -> Iterator[None]:
    """Let another process hold a lock inside the block."""
    command = [sys.executable, lock_holder.__file__, url, "60000"]
    root = str(Path(lock_holder.__file__).parents[2])
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"unlocked\n"
        try:
            yield
        finally:
            holder.kill()


async def test_a_door_whose_relay_is_in_use_says_by_whom_and_does_not_start(door: Door, tmp_path: Path):
    chip = tmp_path / "chip"
    chip.mkdir()
    url = f"gpio+files://{chip}?lock=17"
    _hang(door, url)
    with _holding(url):
        ran = run_program("edge", "run", "--config", door.folder / "edge.toml")
        assert ran.code == ExitCode.FAILED
        assert "in use by doorward-lock" in ran.err
        exit_code, rows = await device_rows(door)
        assert exit_code == ExitCode.UNREACHABLE
        assert (rows["lock"]["health"], rows["lock"]["note"][:18]) == ("unknown", "daemon not running")
    async with running(door):
        assert await health_of(door, "lock") == ("well", "")


async def test_a_door_whose_relay_board_is_unplugged_at_the_start_says_so_and_does_not_start(door: Door):
    port = door.folder / "ttyBoard"
    _hang(door, f"modbus://{port}?coil=0")
    ran = run_program("edge", "run", "--config", door.folder / "edge.toml")
    assert ran.code == ExitCode.FAILED
    assert str(port) in ran.err
    exit_code, rows = await device_rows(door)
    assert exit_code == ExitCode.UNREACHABLE
    assert rows["lock"]["health"] == "unknown"


async def test_inputs_whose_board_is_unplugged_at_the_start_are_lost_and_the_door_works(door: Door):
    port = door.folder / "ttyBoard"
    door.configure(replace(door.config, inputs=(AddressConfig(url=f"modbus://{port}?contact=0&rex=1"),)))
    async with running(door):
        await door.seen(kind="INPUTS_LOST")
        assert (await health_of(door, "modbus-1"))[0] == "lost"
        await door.scan_until(door.code(), kind="ACCESS_GRANTED")
