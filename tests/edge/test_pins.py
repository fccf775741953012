"""Checking a PIN: right, under duress, wrong, and what cannot be told."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.core.companions import PinOutcome
from edge.core.credential import PinEntry
from edge.core.effects import CheckPin
from edge.core.state import PinEntered
from edge.pins import PinError, check_pin, check_pin_in_time
from tests.support.enrolled import verifiers
from wire.roster import PinVerifiers

WITH_DURESS = verifiers(b"1234", b"4321")
ONE_PIN = verifiers(b"1234")


@pytest.mark.parametrize(
    ("known", "digits", "outcome"),
    [
        (WITH_DURESS, b"1234", PinOutcome.RIGHT),
        (WITH_DURESS, b"4321", PinOutcome.DURESS),
        (WITH_DURESS, b"1235", PinOutcome.WRONG),
        (WITH_DURESS, b"", PinOutcome.WRONG),
        (WITH_DURESS, b"12345", PinOutcome.WRONG),
        (ONE_PIN, b"1234", PinOutcome.RIGHT),
        (ONE_PIN, b"4321", PinOutcome.WRONG),
        (verifiers(b"1234", b"1234"), b"1234", PinOutcome.DURESS),
    ],
)
async def test_a_pin_is_right_under_duress_or_wrong(known: PinVerifiers, digits: bytes, outcome: PinOutcome):
    assert check_pin(known, digits) is outcome
    assert await check_pin_in_time(known, digits) is outcome


def test_verifiers_that_are_none_are_a_fault_and_no_wrong_pin():
    with pytest.raises(PinError) as caught:
        check_pin(PinVerifiers(salt=bytes(15), pin=bytes(16), duress=None), b"73519264")
    assert "73519264" not in str(caught.value)


async def test_a_check_that_takes_too_long_is_a_fault():
    held = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as overloaded:
        asyncio.get_running_loop().set_default_executor(overloaded)
        overloaded.submit(held.wait, 30)
        try:
            with pytest.raises(PinError, match="longer than 2 s"):
                await check_pin_in_time(ONE_PIN, b"1234")
        finally:
            held.set()


def test_nothing_that_holds_a_pin_prints_it():
    entry = PinEntry("in", b"73519264", 0)
    for holder in (entry, PinEntered(entry), CheckPin(0, ONE_PIN, b"73519264")):
        assert "73519264" not in repr(holder)
