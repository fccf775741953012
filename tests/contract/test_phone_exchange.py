"""A phone at a reader, to the door's decision: a nonce goes out, the holder's signature comes back, the core judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.core.tap import Tap
from edge.ports import Home
from firmware_adapters.card_reader import CardReader
from firmware_adapters.catalogue import open_reader
from tests.core.campus import DOOR, KEYS, NOW_S, SITE, TENANT, commits, door, drafts, feed, instant, issue
from tests.support.pcsc import CardBench, PcscBench
from tests.support.pn532 import NfcBench
from tests.support.readers import listening
from tests.support.virtual_cards import Phone
from wire.names import Assurance, ClockState, Reason, SuspectRule
from wire.presentation import seal_presentation
from wire.settings import DoorSettings

_PASS: Final = issue()
_BENCHES: Final[dict[str, Callable[[Path], CardBench]]] = {"pcsc": PcscBench, "nfc": NfcBench}


@pytest.fixture(params=_BENCHES, name="bench")
def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CardBench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    bench.dispose()


def _sign(nonce: bytes, named: str) -> bytes:
    """Sign as a wallet does: the audience is site and door, out of what the door says of itself."""
    tenant, _, audience = named.partition("/")
    assert tenant == TENANT
    return seal_presentation(_PASS, KEYS.holder, issued_at_s=NOW_S, audience=audience, nonce=nonce)


async def _taps(bench: CardBench, *phones: Phone) -> list[Tap]:
    """Hold phones to the door's reader, one after another."""
    home = Home(state_folder=bench.state_folder, tenant=TENANT, site=SITE, door=DOOR)
    reader = open_reader(bench.address, "outside", home)
    assert isinstance(reader, CardReader)
    taps = []
    async with listening(reader) as listener:
        for phone in phones:
            bench.field.hold(phone)
            taps.append(Tap(await listener.next()))
            bench.field.take_away()
    await reader.aclose()
    return taps


async def test_a_phone_opens_the_door_also_when_the_door_does_not_know_the_time(bench: CardBench):
    (tap,) = await _taps(bench, Phone(_sign))
    lenient = DoorSettings(suspect=SuspectRule.IGNORE_SCHEDULES)
    for clock in ClockState:
        _, effects = feed(door(lenient), tap, now=instant(clock=clock))
        (commit,) = commits(effects)
        assert commit.draft.assurance is Assurance.NONCE_BOUND


async def test_a_signature_for_another_door_is_refused(bench: CardBench):
    """Somebody who passes this door's nonce on to a phone at another door gets a signature that names the other."""
    (tap,) = await _taps(bench, Phone(lambda nonce, _named: _sign(nonce, f"{TENANT}/{SITE}/side-door")))
    _, effects = feed(door(), tap)
    assert commits(effects) == []
    assert [draft.reason for draft in drafts(effects)] == [Reason.WRONG_AUDIENCE]


async def test_a_recorded_answer_is_refused(bench: CardBench):
    recorded: list[bytes] = []

    def record(nonce: bytes, named: str) -> bytes:
        recorded.append(_sign(nonce, named))
        return recorded[0]

    _, again = await _taps(bench, Phone(record), Phone(lambda _nonce, _named: recorded[0]))
    _, effects = feed(door(), again)
    assert commits(effects) == []
    assert [draft.reason for draft in drafts(effects)] == [Reason.NONCE_MISMATCH]


async def test_a_presentation_without_a_nonce_is_no_answer(bench: CardBench):
    shown = seal_presentation(_PASS, KEYS.holder, issued_at_s=NOW_S, audience=SITE)
    (tap,) = await _taps(bench, Phone(lambda _nonce, _named: shown))
    _, effects = feed(door(), tap)
    assert [draft.reason for draft in drafts(effects)] == [Reason.UNSUPPORTED_CREDENTIAL]
