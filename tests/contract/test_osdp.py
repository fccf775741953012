"""The OSDP reader on an RS-485 line of pseudo-terminals, with the library's own readers in other processes as peers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import serial

from doorward.errors import ExitCode
from edge.ports import (
    Capability,
    Feedback,
    Form,
    InputLine,
    InputsError,
    LineState,
    Medium,
    ReaderError,
    ReaderLost,
    Reason,
)
from firmware_adapters.card_bits import MAX_NUMBER_BYTES
from firmware_adapters.catalogue import Kind, check, open_reader
from firmware_adapters.osdp_install import install_key
from firmware_adapters.osdp_line import MOST_WAITING, Member
from firmware_adapters.osdp_records import Card
from firmware_adapters.osdp_signals import SIGNALS
from firmware_adapters.sealed_key import read_key, write_key
from tests.support.commands import run_here
from tests.support.osdp_bench import KEY, OsdpBench, Peripheral, shown
from tests.support.readers import Listener, listening
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.ports import InputChange

OTHER_KEY = bytes.fromhex("ffeeddccbbaa99887766554433221100")
LED, BUZZER, TEXT = 2, 3, 4


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path) -> AsyncIterator[OsdpBench]:
    bench = OsdpBench(tmp_path)
    yield bench
    async with asyncio.timeout(DEADLINE_S):
        await bench.reader.aclose()
    bench.dispose()


async def _failure(bench: OsdpBench, address: int = 1) -> ReaderError:
    """Replace the bench's reader with one at `address`, and return why it cannot be read."""
    await bench.reader.aclose()
    bench.reader = bench.open(address=address)
    return await Listener(bench.reader).failure()


# --- cards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "data", "payload"),
    [
        (26, "aabbccc0", "001aaabbccc0"),
        (34, "aabbccddc0", "0022aabbccddc0"),
        (37, "aabbccddf8", "0025aabbccddf8"),
        (32, "aabbccdd", "0020aabbccdd"),
        (1, "80", "000180"),
    ],
)
async def test_a_card_is_its_count_of_bits_and_its_bits(bench: OsdpBench, bits: int, data: str, payload: str):
    async with listening(bench.reader) as listener:
        bench.peripheral.card(bits, bytes.fromhex(data))
        read = await listener.next()
    assert (read.form, read.medium) == (Form.CARD_NUMBER, Medium.NFC)
    assert read.payload.hex() == payload
    assert len(read.payload) <= bench.reader.info.max_payload_bytes


async def test_a_card_number_that_is_too_long_is_delivered_as_too_long(bench: OsdpBench):
    async with listening(bench.reader) as listener:
        bench.peripheral.card(8 * 64, b"\xaa" * 64)
        assert len((await listener.next()).payload) == MAX_NUMBER_BYTES + 1


# --- keys ----------------------------------------------------------------------------------------------------


async def test_keys_become_a_pin_and_are_in_nothing_that_is_printed(bench: OsdpBench):
    async with listening(bench.reader) as listener:
        bench.peripheral.press(b"13")
        bench.peripheral.press(b"37\r")
        entry = await listener.next_pin()
    assert (entry.reader, entry.digits) == ("reader-1", b"1337")
    assert "1337" not in repr(entry)


async def test_a_pause_ends_a_pin(bench: OsdpBench):
    await bench.reader.aclose()
    bench.reader = bench.open(more="&pin_pause_ms=500")
    async with listening(bench.reader) as listener:
        bench.peripheral.press(b"9\x7f42")
        assert (await listener.next_pin()).digits == b"42"


# --- feedback ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feedback", Feedback)
async def test_each_reason_class_is_shown_by_colour_beeps_and_text(bench: OsdpBench, feedback: Feedback):
    signal_shown = SIGNALS[feedback]
    async with listening(bench.reader):
        await bench.reader.show(feedback)
        await shown(bench.peripheral, command=LED, temporary=True, on_color=int(signal_shown.colour))
        await shown(bench.peripheral, command=TEXT, data=signal_shown.text)
        beeps = [each for each in bench.peripheral.commands() if each["command"] == BUZZER]
        assert sum(each["rep_count"] for each in beeps) == signal_shown.beeps


async def test_only_what_the_reader_has_is_used(bench: OsdpBench):
    await bench.reader.aclose()
    bench.reader = bench.open(more="&led=0&buzzer=1&display=0")
    assert bench.reader.info.capabilities == {Capability.BUZZER}
    async with listening(bench.reader):
        await bench.reader.show(Feedback.GRANTED)
        await shown(bench.peripheral, command=BUZZER)
        assert not bench.peripheral.received(command=LED)
        assert not bench.peripheral.received(command=TEXT)


# --- tamper and power ------------------------------------------------------------------------------------------


async def test_case_and_supply_of_a_reader_are_lines_of_the_door(bench: OsdpBench):
    inputs = bench.open_inputs()
    changes = inputs.changes()
    unknown = {InputLine.TAMPER: LineState.UNKNOWN, InputLine.POWER: LineState.UNKNOWN}
    quiet = dict.fromkeys(unknown, LineState.INACTIVE)
    assert await _two(changes) == unknown
    assert await _two(changes) == quiet
    bench.peripheral.local(tamper=True, power=False)
    assert await _one(changes) == (InputLine.TAMPER, LineState.ACTIVE)
    bench.peripheral.local(tamper=True, power=True)
    assert await _one(changes) == (InputLine.POWER, LineState.ACTIVE)
    bench.peripheral.local(tamper=False, power=False)
    assert await _two(changes) == quiet
    bench.peripheral.kill()
    assert await _two(changes) == unknown
    await inputs.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_a_case_that_is_open_at_the_start_is_told(bench: OsdpBench):
    bench.peripheral.local(tamper=True, power=False)
    await until(bench.peripheral.obeyed)
    inputs = bench.open_inputs()
    changes = inputs.changes()
    async with listening(bench.reader):
        while await _one(changes) != (InputLine.TAMPER, LineState.ACTIVE):
            """The library's reader answers the first question with "closed", whatever its case says."""
    await inputs.aclose()


async def test_inputs_are_watched_once_and_not_after_closing(bench: OsdpBench):
    inputs = bench.open_inputs()
    changes = inputs.changes()
    await _two(changes)
    with pytest.raises(InputsError) as caught:
        await anext(inputs.changes())
    assert caught.value.reason is Reason.BUSY
    await inputs.aclose()
    with pytest.raises(InputsError) as caught:
        await anext(inputs.changes())
    assert caught.value.reason is Reason.CLOSED


async def _one(changes: AsyncIterator[InputChange]) -> tuple[InputLine, LineState]:
    async with asyncio.timeout(DEADLINE_S):
        change = await anext(changes)
    return change.line, change.state


async def _two(changes: AsyncIterator[InputChange]) -> dict[InputLine, LineState]:
    return dict([await _one(changes), await _one(changes)])


# --- several readers, loss and return ----------------------------------------------------------------------------


async def test_readers_of_one_line_share_its_port_and_one_that_goes_takes_no_other_with_it(bench: OsdpBench):
    second = bench.add(address=2)
    other = bench.open(address=2, name="reader-2")
    async with listening(bench.reader) as first_heard, listening(other) as second_heard:
        assert bench.reader.line is other.line
        bench.peripheral.card(26, b"\x11\x11\x11\x00")
        second.card(26, b"\x22\x22\x22\x00")
        assert (await first_heard.next()).reader == "reader-1"
        assert (await second_heard.next()).reader == "reader-2"
        second.kill()
        assert (await second_heard.failure()).reason is Reason.LOST
        bench.peripheral.card(26, b"\x33\x33\x33\x00")
        assert (await first_heard.next_payload()).hex() == "001a33333300"
    await other.aclose()


async def test_a_reader_that_restarts_is_read_again_at_once(bench: OsdpBench):
    """Left to itself the library would wait for five minutes."""
    async with listening(bench.reader) as listener:
        bench.peripheral.kill()
        error = await listener.failure()
    assert isinstance(error, ReaderLost)
    assert "does not answer" in error.what
    bench.peripheral = bench.add()
    await _reopened(bench)
    async with listening(bench.reader) as listener:
        bench.present(b"BACK")
        assert await listener.next_payload() == bench.read_as(b"BACK")


async def test_a_reader_that_restarts_unnoticed_is_read_again_at_once(bench: OsdpBench):
    """It is back before it counts as silent, and knows nothing of the secure channel."""
    async with listening(bench.reader) as listener:
        bench.peripheral.kill()
        bench.peripheral = bench.add()
        assert (await listener.failure()).reason is Reason.LOST
    await _reopened(bench)
    async with listening(bench.reader) as listener:
        bench.present(b"BACK")
        assert await listener.next_payload() == bench.read_as(b"BACK")


async def _reopened(bench: OsdpBench) -> None:
    """Iterate as the daemon does, again after each error, until the reader is open."""
    opened = asyncio.create_task(bench.reader.opened())
    async with asyncio.timeout(DEADLINE_S):
        while not opened.done():
            listener = Listener(bench.reader)
            await asyncio.wait({opened, listener._task}, return_when=asyncio.FIRST_COMPLETED)
            await listener.cancel()


async def test_noise_on_the_line_costs_nothing_but_time(bench: OsdpBench):
    async with listening(bench.reader):
        for _ in range(20):
            bench.line.say(os.urandom(64))
            await asyncio.sleep(0)
    assert await _read_at_last(bench, b"CLEAR") == bench.read_as(b"CLEAR")


async def _read_at_last(bench: OsdpBench, payload: bytes) -> bytes:
    """Read a card as people do, who hold it again: the line may be lost while it lies there, by noise of before."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            await _reopened(bench)
            with contextlib.suppress(ReaderLost):
                async with listening(bench.reader) as listener:
                    bench.present(payload)
                    return await listener.next_payload()


async def test_the_worker_that_hangs_is_replaced_and_the_daemon_goes_on(bench: OsdpBench):
    async with listening(bench.reader) as listener:
        pid = bench.reader.line.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        error = await listener.failure()
        assert "hung" in error.what
    await _reopened(bench)
    assert bench.reader.line.worker_pid != pid


async def test_the_worker_that_dies_is_replaced(bench: OsdpBench):
    async with listening(bench.reader) as listener:
        pid = bench.reader.line.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert isinstance(await listener.failure(), ReaderLost)
    await _reopened(bench)


async def test_closing_the_last_reader_ends_the_worker(bench: OsdpBench):
    async with listening(bench.reader):
        pid = bench.reader.line.worker_pid
    await bench.reader.aclose()
    await until(lambda: not os.path.exists(f"/proc/{pid}"))  # noqa: PTH110 - a process, not a path


# --- what is set up wrongly --------------------------------------------------------------------------------------


async def test_another_key_is_told_as_such(bench: OsdpBench):
    write_key(bench.key_file, OTHER_KEY)
    error = await _failure(bench)
    assert error.reason is Reason.FAULT
    assert "not with the key" in error.what
    assert KEY.hex() not in str(error)
    assert OTHER_KEY.hex() not in str(error)


async def test_an_address_where_nobody_is_is_told_as_a_loss(bench: OsdpBench):
    error = await _failure(bench, address=9)
    assert isinstance(error, ReaderLost)
    assert error.reason is Reason.LOST
    assert "9" in error.what


async def test_two_readers_configured_with_one_address_are_told(bench: OsdpBench):
    other = bench.open(name="reader-2")
    async with listening(bench.reader):
        error = await Listener(other).failure()
    assert error.reason is Reason.BUSY
    assert "belongs to reader reader-1" in error.what
    await other.aclose()


async def test_a_reader_that_is_configured_wrongly_is_not_tried_in_a_busy_loop(bench: OsdpBench):
    """It once was, and a door with such a configuration did nothing else."""
    other = bench.open(name="reader-2")
    began_s = time.monotonic()
    for _ in range(4):
        assert (await Listener(other).failure()).reason is Reason.BUSY
    # Pauses of 0, 0.1, 0.2 and 0.4 s.
    assert time.monotonic() - began_s >= 0.7
    waiting = Listener(other)
    await asyncio.sleep(0)
    await other.aclose()
    await waiting.ended()


async def test_two_readers_on_the_line_with_one_address_are_told(bench: OsdpBench):
    bench.add()
    error = await Listener(bench.reader).failure()
    assert error.reason is Reason.FAULT
    assert "two readers have this address" in error.what


async def test_two_speeds_on_one_line_are_told(bench: OsdpBench):
    slow = open_reader(bench.url(address=2).replace("115200", "9600"), "reader-2")
    error = await Listener(slow).failure()
    assert error.reason is Reason.UNSUPPORTED
    assert "9600" in error.what
    await slow.aclose()


def test_what_nobody_takes_is_bounded_and_the_newest_counts(tmp_path: Path):
    member = Member(1, tmp_path / "1.key", "reader-1", talks=True)
    for number in range(10 * MOST_WAITING):
        member.hear(Card(1, number, b""))
    assert len(member.waiting) == MOST_WAITING
    assert member.waiting[-1] == Card(1, 10 * MOST_WAITING - 1, b"")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700])
async def test_a_key_file_that_others_may_read_is_refused(bench: OsdpBench, mode: int):
    bench.key_file.chmod(mode)
    error = await _failure(bench)
    assert error.reason is Reason.PERMISSION
    assert "chmod 600" in error.remedy


async def test_a_missing_key_file_is_told_with_what_makes_one(bench: OsdpBench):
    bench.key_file.unlink()
    error = await _failure(bench)
    assert error.reason is Reason.PERMISSION
    assert "osdp-key" in error.remedy


async def test_a_reader_without_a_usable_key_takes_no_other_with_it(bench: OsdpBench, tmp_path: Path):
    bench.add(address=2)
    other_bench_key = tmp_path / "2.key"
    write_key(other_bench_key, KEY)
    bench.key_file.chmod(0o644)
    first, bench.key_file = bench.key_file, other_bench_key
    other = bench.open(address=2, name="reader-2")
    async with listening(other):
        assert (await Listener(bench.reader).failure()).reason is Reason.PERMISSION
    assert first.exists()
    await other.aclose()


async def test_a_port_in_use_is_busy(bench: OsdpBench):
    with serial.Serial(str(bench.line.port), exclusive=True):
        error = await Listener(bench.reader).failure()
    assert error.reason is Reason.BUSY


async def test_a_file_is_no_serial_port(bench: OsdpBench):
    bench.lose()
    bench.line.port.write_bytes(b"text")
    error = await Listener(bench.reader).failure()
    assert error.reason is Reason.UNSUPPORTED


async def test_a_reader_in_install_mode_is_not_read(bench: OsdpBench):
    """Its key is the standard's own, known to everybody."""
    bench.peripheral.kill()
    bench.peripheral = Peripheral(bench.line, key="install")
    error = await _failure(bench)
    assert error.reason is Reason.FAULT
    bench.peripheral.kill()


# --- giving a reader its key ---------------------------------------------------------------------------------------


async def test_a_reader_in_install_mode_gets_a_key_and_is_read_under_it(bench: OsdpBench):
    bench.peripheral.kill()
    bench.peripheral = bench.add(key="install")
    path = await install_key(check(Kind.READER, bench.url()), deadline_s=DEADLINE_S)
    assert path == bench.key_file
    assert read_key(path) != KEY
    assert not path.with_name("1.key.pending").exists()
    async with listening(bench.reader) as listener:
        bench.present(b"NEW KEY")
        assert await listener.next_payload() == bench.read_as(b"NEW KEY")


async def test_a_key_that_a_reader_has_already_is_found_after_a_cut(bench: OsdpBench):
    """The power failed after the reader had taken the key, and before its file was in place."""
    pending = bench.key_file.with_name("1.key.pending")
    bench.key_file.rename(pending)
    await install_key(check(Kind.READER, bench.url()), deadline_s=DEADLINE_S)
    assert read_key(bench.key_file) == KEY


async def test_no_reader_in_install_mode_changes_nothing(bench: OsdpBench):
    write_key(bench.key_file, OTHER_KEY)
    with pytest.raises(ReaderError) as caught:
        await install_key(check(Kind.READER, bench.url()), deadline_s=1)
    assert caught.value.reason is Reason.DEADLINE
    assert read_key(bench.key_file) == OTHER_KEY


async def test_a_folder_that_is_not_there_is_told(bench: OsdpBench):
    url = bench.url().replace("1.key", "missing/1.key")
    with pytest.raises(ReaderError) as caught:
        await install_key(check(Kind.READER, url), deadline_s=1)
    assert caught.value.reason is Reason.PERMISSION
    assert "missing" in caught.value.remedy


def test_the_command_says_what_is_wrong_with_its_address(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert run_here(capsys, "edge", "osdp-key", "serial:///dev/ttyDW0").code == ExitCode.UNUSABLE
    assert run_here(capsys, "edge", "osdp-key", "osdp:///dev/ttyUSB0").code == ExitCode.UNUSABLE
    ran = run_here(capsys, "edge", "osdp-key", f"osdp://{tmp_path}/nowhere?key={tmp_path}/1.key", "--json")
    assert ran.code == ExitCode.FAILED
