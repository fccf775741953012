"""A card reader's worker process by itself: what it tells of its reader, and what it does with orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from firmware_adapters.address import parse_address
from firmware_adapters.card_records import (
    ORDERS,
    RECORDS,
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
)
from firmware_adapters.worker_records import MAX_RECORD_BYTES, Fault, FaultKind, by_name, decode, encode
from tests.support.pcsc import PcscBench
from tests.support.pn532 import NfcBench
from tests.support.virtual_cards import NUMBER, NumberCard, StorageCard
from tests.support.worker_bench import WorkerBench

_MODULE: Final = "firmware_adapters.card_worker"
_SELECT: Final = bytes.fromhex("00a4040001aa00")
_KINDS: Final[Mapping[str, type[Record | Order | Fault]]] = {**RECORDS, **ORDERS, "Fault": Fault}
_SAID: Final[list[Record | Order | Fault]] = [
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
def test_what_is_said_is_one_line_and_comes_back(said: Record | Order | Fault):
    line = encode(said)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line, _KINDS) == said
    assert NUMBER.hex() not in repr(said)


def test_the_longest_answer_fits_a_line():
    assert len(encode(Answer(2**31, bytes(65_538)))) < MAX_RECORD_BYTES


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"record": []}',
        b'{"record": "Nobody"}',
        b'{"record": "Ready", "more": 1}',
        b'{"record": "Departed"}',
        b'{"record": "Fault", "kind": "new", "what": "", "remedy": ""}',
        b'{"record": "Fault", "kind": [], "what": "", "remedy": ""}',
        b'{"record": "Answer", "to": 1, "apdu": "%"}',
        b'{"record": "Answer", "to": 1, "apdu": 1}',
        b"\xff",
    ],
)
def test_anything_else_is_refused(line: bytes):
    with pytest.raises(ValueError, match=r"not a record|Expecting|is not a valid FaultKind|base64|decode"):
        decode(line, _KINDS)


def test_settings_come_back():
    settings = Settings("pcsc", "ACS ACR122U", signals=True)
    assert decode(encode(settings), by_name(Settings)) == settings


def _tells(worker: WorkerBench) -> Record | Order | Fault:
    """Return what a worker tells next, except that it is idle."""
    while isinstance(said := worker.next(_KINDS), Idle):
        pass
    return said


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
def _worker(bench: _Bench) -> Iterator[WorkerBench]:
    with WorkerBench(_MODULE, _settings(bench)) as worker:
        assert _tells(worker) == Ready()
        yield worker


def test_a_card_arrives_answers_and_departs(bench: _Bench, worker: WorkerBench):
    bench.field.hold(NumberCard())
    assert _tells(worker) == Arrived(1, NUMBER, speaks=True)
    worker.tell(Transmit(7, 1, _SELECT))
    assert _tells(worker) == Answer(7, b"\x6a\x82")
    worker.tell(Signal("granted"))
    worker.tell(Transmit(8, 1, _SELECT))
    assert _tells(worker) == Answer(8, b"\x6a\x82")
    bench.field.take_away()
    assert _tells(worker) == Departed(1)


def test_a_command_reaches_the_card_it_was_meant_for_or_none(bench: _Bench, worker: WorkerBench):
    worker.tell(Signal("granted"))
    worker.tell(Transmit(1, 1, _SELECT))
    assert _tells(worker) == Gone(1)
    bench.field.hold(NumberCard())
    assert _tells(worker) == Arrived(1, NUMBER, speaks=True)
    for number, card in enumerate((0, 2), start=2):
        worker.tell(Transmit(number, card, _SELECT))
        assert _tells(worker) == Gone(number)
    worker.tell(Transmit(4, 1, _SELECT))
    assert _tells(worker) == Answer(4, b"\x6a\x82")


def test_a_command_to_a_card_that_has_left_is_gone(bench: _Bench, worker: WorkerBench):
    bench.field.hold(NumberCard())
    assert _tells(worker) == Arrived(1, NUMBER, speaks=True)
    bench.field.take_away()
    worker.tell(Transmit(1, 1, _SELECT))
    said = {_tells(worker), _tells(worker)}
    assert said == {Gone(1), Departed(1)}


def test_a_card_without_apdus_is_told_so(bench: _Bench, worker: WorkerBench):
    bench.field.hold(StorageCard(b"\xa1\xb2\xc3\xd4"))
    assert _tells(worker) == Arrived(1, b"\xa1\xb2\xc3\xd4", speaks=False)
    bench.field.take_away()
    assert _tells(worker) == Departed(1)


def test_a_reader_that_is_lost_is_told_and_ends_the_worker(bench: _Bench, worker: WorkerBench):
    bench.lose()
    said = _tells(worker)
    assert isinstance(said, Fault)
    assert said.kind is FaultKind.LOST
    with pytest.raises(EOFError):
        _tells(worker)


def test_a_reader_that_is_lost_under_a_card_is_told(bench: _Bench, worker: WorkerBench):
    bench.field.hold(NumberCard())
    assert _tells(worker) == Arrived(1, NUMBER, speaks=True)
    bench.lose()
    said = _tells(worker)
    while isinstance(said, Departed):
        said = _tells(worker)
    assert isinstance(said, Fault)


def test_a_reader_that_is_not_there_is_told(bench: _Bench):
    bench.lose()
    worker = WorkerBench(_MODULE, _settings(bench))
    said = _tells(worker)
    assert isinstance(said, Fault)
    assert said.kind is FaultKind.LOST
    worker.end()


def test_the_end_of_the_orders_is_the_end_of_the_worker(worker: WorkerBench):
    worker.end()


@pytest.mark.parametrize("sent", [b"nonsense\n", encode(Idle()), b"x" * (MAX_RECORD_BYTES + 1)])
def test_what_is_no_order_is_the_end_of_the_worker(worker: WorkerBench, sent: bytes):
    worker.send(sent)
    with pytest.raises(EOFError):
        _tells(worker)
