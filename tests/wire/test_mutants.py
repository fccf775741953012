"""Mutated tokens by the hundred thousand: never verified, and never an exception but WireError."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.mutate import GENUINE, mutants, text_mutants
from tests.vectors.parts.kit import PASS
from wire.errors import WireError
from wire.presentation import RotatingPresentation, parse_presented
from wire.text import MAX_TEXT_BYTES, from_text, to_text

if TYPE_CHECKING:
    from tests.conftest import Effort

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]

_SHARE = 25_000
"""Mutants of one seed: what a failure has to go through to be made again."""


def verify(data: bytes) -> str:
    """Tell where a token ends: the class of its fault, or "verified"."""
    try:
        read = parse_presented(data)
        signed = read.signed_pass if isinstance(read, RotatingPresentation) else read
        claims = signed.verify_issuer(PASS.public_key)
        if isinstance(read, RotatingPresentation):
            assert claims.holder_key is not None
            read.verify_holder(claims.holder_key)
    except WireError as error:
        return f"{error.reason.value} {error.field}"
    return "verified"


def _read_text(text: bytes) -> bytes:
    try:
        return from_text(text)
    except WireError:
        return b""


def _run(seed: int) -> Counter[str]:
    """Put one seed's mutants to the parsers; a crash says which mutant of which seed it was."""
    ends: Counter[str] = Counter()
    for place, mutant in enumerate(mutants(seed, _SHARE)):
        try:
            ends[verify(mutant)] += 1
        except Exception as error:
            message = f"mutant {place} of seed {seed}: {mutant.hex()}"
            raise AssertionError(message) from error
        assert not ends["verified"], f"mutant {place} of seed {seed} was verified: {mutant.hex()}"
    return ends


@pytest.mark.timeout(3 * 3600)
def test_no_mutant_is_verified_and_none_breaks_a_parser(effort: Effort):
    seeds = range(effort.pick(usual=100_000, long=10_000_000) // _SHARE)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        ends = sum(pool.map(_run, seeds), Counter())
    assert ends.total() == len(seeds) * _SHARE
    # A fuzzer that never gets past the front door proves nothing: each of these must have been reached.
    for reached in (
        "not_cbor presentation",
        "not_canonical presentation",
        "duplicate_key pass.claims",
        "out_of_range pass.exp",
        "signature_invalid pass",
        "signature_invalid presentation",
        "algorithm_mismatch presentation.alg",
    ):
        assert ends[reached] > len(seeds), f"{reached}: {ends}"


def test_no_mutated_text_is_verified():
    for mutant in text_mutants(seed=1, count=5_000):
        assert verify(_read_text(mutant)) != "verified", mutant


@pytest.mark.parametrize("token", GENUINE)
def test_the_tokens_that_are_mutated_are_themselves_verified(token: bytes):
    assert verify(token) == "verified"
    assert verify(_read_text(to_text(token[:MAX_TEXT_BYTES]))) == "verified"


@pytest.mark.parametrize("token", GENUINE)
def test_no_single_flipped_bit_is_verified(token: bytes):
    for place in range(8 * len(token)):
        mutant = bytearray(token)
        mutant[place >> 3] ^= 1 << (place & 7)
        assert verify(bytes(mutant)) != "verified", place


@pytest.mark.parametrize("token", GENUINE)
def test_no_shortened_token_is_verified(token: bytes):
    assert {verify(token[:length]) == "verified" for length in range(len(token))} == {False}


def test_a_seed_gives_the_same_mutants_again():
    assert list(mutants(7, 200)) == list(mutants(7, 200))
    assert list(mutants(7, 200)) != list(mutants(8, 200))
    assert not set(mutants(7, 2_000)) & set(GENUINE)
