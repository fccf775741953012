"""A card reader's worker process by itself: what it tells of its reader, and what it does with orders."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from firmware_adapters.address import parse_address
from firmware_adapters.card_loop import Orders, OrdersEndedError
from firmware_adapters.card_records import (
    MOST_LINE_BYTES,
    Answer,
    Arrived,
    Departed,
    Gone,
    Idle,
    Order,
    Ready,
    Record,
    Settings,
    Signal,
    Transmit,
    decode_line,
    decode_settings,
    encode_line,
    encode_settings,
)
from firmware_adapters.driver_faults import Fault, FaultKind
from tests.support.pcsc import PcscBench
from tests.support.pn532 import NfcBench
from tests.support.virtual_cards import NUMBER, NumberCard, StorageCard
from tests.support.waiting import DEADLINE_S

_SELECT: Final = bytes.fromhex("00a4040001aa00")
_SAID: Final[list[Record | Order]] = [
    Ready(),
    Idle(),
    Arrived(1, NUMBER, speaks=True),
    Arrived(2, b"", speaks=False),
    Departed(1),
    Answer(3, b"\x90\x00"),
    Gone(4),
    Transmit(5, 1, _SELECT),
    Signal("granted"),
    Fault(FaultKind.BUSY, "it is busy", "wait"),
]


@pytest.mark.parametrize("said", _SAID, ids=lambda said: type(said).__name__)
def test_what_is_said_is_one_line_and_comes_back(said: Record | Order):
    line = encode_line(said)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line) == said
    assert NUMBER.hex() not in repr(said)


def test_the_longest_answer_fits_a_line():
    assert len(encode_line(Answer(2**31, bytes(65_538)))) < MOST_LINE_BYTES


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"kind": "Ready"}',
        b'{"kind": "Nobody", "members": {}}',
        b'{"kind": "Ready", "members": {"more": 1}}',
        b'{"kind": "Departed", "members": {}}',
        b'{"kind": "Fault", "members": {"kind": "new", "what": "", "remedy": ""}}',
        b'{"kind": "Answer", "members": {"to": 1, "apdu": {"base64": "%"}}}',
        b"\xff",
    ],
)
def test_anything_else_is_refused(line: bytes):
    with pytest.raises(ValueError, match=r"not a line|Expecting|is not a valid FaultKind|base64|decode"):
        decode_line(line)


def test_settings_come_back():
    settings = Settings("pcsc", "ACS ACR122U", signals=True, records_fd=7, orders_fd=8)
    assert decode_settings(encode_settings(settings)) == settings


def test_orders_end_with_their_sender_and_with_what_is_no_order():
    for sent in (b"", b"nonsense\n", encode_line(Idle()), b"x" * (MOST_LINE_BYTES + 70_000)):
        reading, writing = os.pipe()
        orders = Orders(reading)
        assert orders.next(wait_s=0) is None
        sender = threading.Thread(target=_send_and_close, args=(writing, encode_line(Signal("wait")) + sent))
        sender.start()
        assert orders.next(wait_s=DEADLINE_S) == Signal("wait")
        with pytest.raises(OrdersEndedError):
            orders.next(wait_s=DEADLINE_S)
        os.close(reading)
        sender.join()


def _send_and_close(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
        file.write(data)


class _Worker:
    """A worker process, and the daemon's ends of its pipes; it ends in its own order, never killed."""

    def __init__(self, settings: Settings) -> None:
        self._lines, records = os.pipe()
        orders, self._orders = os.pipe()
        self._received = b""
        argument = encode_settings(replace(settings, records_fd=records, orders_fd=orders))
        command = [sys.executable, "-P", "-m", "firmware_adapters.card_worker", argument]
        self.process = subprocess.Popen(command, pass_fds=(records, orders))
        os.close(records)
        os.close(orders)

    def order(self, order: Order) -> None:
        os.write(self._orders, encode_line(order))

    def next(self) -> Record | Order:
        """Return what it tells next, except that it is idle."""
        while True:
            while b"\n" not in self._received:
                data = os.read(self._lines, 65_536)
                if not data:
                    raise EOFError
                self._received += data
            line, _, self._received = self._received.partition(b"\n")
            said = decode_line(line)
            if not isinstance(said, Idle):
                return said

    def end_orders(self) -> None:
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def close(self) -> None:
        self.end_orders()
        assert self.process.wait(DEADLINE_S) == 0
        os.close(self._lines)


_Bench = PcscBench | NfcBench
_BENCHES: Final[dict[str, Callable[[Path], _Bench]]] = {
    "pcsc": lambda folder: PcscBench(folder, "?acr122=1"),
    "nfc": NfcBench,
}


@pytest.fixture(params=_BENCHES, name="bench")
def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Bench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    bench.dispose()


def _settings(bench: _Bench) -> Settings:
    scheme, _, rest = bench.address.partition("?")
    address = parse_address(scheme, known={}, example="")
    return Settings(address.scheme, address.path, signals=bool(rest))


@pytest.fixture(name="worker")
def _worker(bench: _Bench) -> Iterator[_Worker]:
    worker = _Worker(_settings(bench))
    assert worker.next() == Ready()
    yield worker
    worker.close()


def test_a_card_arrives_answers_and_departs(bench: _Bench, worker: _Worker):
    bench.field.hold(NumberCard())
    assert worker.next() == Arrived(1, NUMBER, speaks=True)
    worker.order(Transmit(7, 1, _SELECT))
    assert worker.next() == Answer(7, b"\x6a\x82")
    worker.order(Signal("granted"))
    worker.order(Transmit(8, 1, _SELECT))
    assert worker.next() == Answer(8, b"\x6a\x82")
    bench.field.take_away()
    assert worker.next() == Departed(1)


def test_a_command_reaches_the_card_it_was_meant_for_or_none(bench: _Bench, worker: _Worker):
    worker.order(Signal("granted"))
    worker.order(Transmit(1, 1, _SELECT))
    assert worker.next() == Gone(1)
    bench.field.hold(NumberCard())
    assert worker.next() == Arrived(1, NUMBER, speaks=True)
    for number, card in enumerate((0, 2), start=2):
        worker.order(Transmit(number, card, _SELECT))
        assert worker.next() == Gone(number)
    worker.order(Transmit(4, 1, _SELECT))
    assert worker.next() == Answer(4, b"\x6a\x82")


def test_a_command_to_a_card_that_has_left_is_gone(bench: _Bench, worker: _Worker):
    bench.field.hold(NumberCard())
    assert worker.next() == Arrived(1, NUMBER, speaks=True)
    bench.field.take_away()
    worker.order(Transmit(1, 1, _SELECT))
    said = {worker.next(), worker.next()}
    assert said == {Gone(1), Departed(1)}


def test_a_card_without_apdus_is_told_so(bench: _Bench, worker: _Worker):
    bench.field.hold(StorageCard(b"\xa1\xb2\xc3\xd4"))
    assert worker.next() == Arrived(1, b"\xa1\xb2\xc3\xd4", speaks=False)
    bench.field.take_away()
    assert worker.next() == Departed(1)


def test_a_reader_that_is_lost_is_told_and_ends_the_worker(bench: _Bench, worker: _Worker):
    bench.lose()
    said = worker.next()
    assert isinstance(said, Fault)
    assert said.kind is FaultKind.LOST
    with pytest.raises(EOFError):
        worker.next()


def test_a_reader_that_is_lost_under_a_card_is_told(bench: _Bench, worker: _Worker):
    bench.field.hold(NumberCard())
    assert worker.next() == Arrived(1, NUMBER, speaks=True)
    bench.lose()
    said = worker.next()
    while isinstance(said, Departed):
        said = worker.next()
    assert isinstance(said, Fault)


def test_a_reader_that_is_not_there_is_told(bench: _Bench):
    bench.lose()
    worker = _Worker(_settings(bench))
    said = worker.next()
    assert isinstance(said, Fault)
    assert said.kind is FaultKind.LOST
    worker.close()


def test_the_end_of_the_orders_is_the_end_of_the_worker(worker: _Worker):
    worker.end_orders()
    with pytest.raises(EOFError):
        worker.next()
    assert worker.process.wait(DEADLINE_S) == 0
