"""Mutated rosters and deltas, truly signed: read as what they say or refused, and never an exception but WireError."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.vectors.parts.kit import POLICY, signed
from tests.vectors.parts.rosters import NEXT, USUAL, record
from wire.codec import Value, decode, encode
from wire.envelope import parse_envelope
from wire.errors import WireError
from wire.names import ExternalAad
from wire.roster import MAX_ROSTER_BYTES, open_roster, seal_roster
from wire.roster_delta import (
    apply_roster_delta,
    make_roster_delta,
    open_roster_delta,
    seal_roster_delta,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Effort

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]

_KEY = POLICY.public_key
_ROSTER = seal_roster(USUAL, POLICY)
_DELTA = seal_roster_delta(make_roster_delta(USUAL, NEXT), POLICY)
_SHARE = 5_000
"""Mutants of one seed: what a failure has to go through to be made again."""


def _payload(data: bytes) -> bytes:
    return parse_envelope(data, field="message", max_bytes=MAX_ROSTER_BYTES).payload


def _mutant(random: Random, data: bytes) -> bytes:
    """Change some bytes: flip, overwrite, cut out, repeat, insert, or exchange two pieces of equal length."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        start = random.randrange(len(changed))
        length = random.choice((1, 1, 2, 8, 16, 29, 64))
        piece = bytes(changed[start : start + length])
        way = random.randrange(6)
        if way == 0:
            changed[start] ^= 1 << random.randrange(8)
        elif way == 1:
            changed[start] = random.choice((0, 1, 2, 3, 5, 0x17, 0x18, 0x58, 0x59, 0x80, 0xF5, 0xFF))
        elif way == 2 and len(changed) > length:
            del changed[start : start + length]
        elif way == 3:
            changed[start:start] = piece
        elif way == 4:
            changed[start:start] = record(random.randbytes(16))[:length]
        else:
            other = random.randrange(len(changed))
            there = bytes(changed[other : other + len(piece)])
            changed[other : other + len(there)] = piece[: len(there)]
            changed[start : start + len(there)] = there
    return bytes(changed)


def _edited(random: Random, payload: bytes) -> bytes:
    """Change the values of some members and leave the encoding sound."""
    claims = decode(payload, field="payload", max_bytes=MAX_ROSTER_BYTES)
    assert isinstance(claims, dict)
    for key in random.sample([*claims], random.choice((1, 1, 2, 3))):
        claims[key] = _other(random, claims[key])
    return encode(claims)


def _other(random: Random, value: Value) -> Value:
    if isinstance(value, bytes):
        return _mutant(random, value) if value else random.randbytes(29)
    if isinstance(value, int):
        return max(0, value + random.choice((-2, -1, 1, 2, 2**40)))
    if isinstance(value, str):
        return value[:-1] + random.choice("aZ\u0430/")
    return [[random.randrange(9)], [random.randrange(9), random.randrange(9)]]


def _end_of_roster(data: bytes) -> str:
    """Tell where a mutant ends; one that is read is written as it was, and all its keys are found."""
    try:
        found = open_roster(signed(data, POLICY, ExternalAad.ROSTER), _KEY)
    except WireError as error:
        return f"{error.reason.value} {error.field}"
    assert _payload(seal_roster(found, POLICY)) == data
    for start in range(0, len(found.records), 29):
        entry = found.find(found.records[start : start + 16])
        assert entry is not None
        assert entry.access_levels in found.level_sets
    return "read"


def _end_of_delta(data: bytes) -> str:
    try:
        delta = open_roster_delta(signed(data, POLICY, ExternalAad.ROSTER_DELTA), _KEY)
        assert _payload(seal_roster_delta(delta, POLICY)) == data
        applied = apply_roster_delta(USUAL, delta)
    except WireError as error:
        return f"{error.reason.value} {error.field}"
    assert (applied.records, applied.pins, applied.level_sets) == (NEXT.records, NEXT.pins, NEXT.level_sets)
    return "applied"


@pytest.mark.parametrize(
    ("genuine", "judge", "reached"),
    [
        pytest.param(
            _ROSTER,
            _end_of_roster,
            (
                "read",
                "not_canonical roster.records",
                "unknown_value roster.records",
                "out_of_range roster.records",
                "not_canonical roster.pins",
                "out_of_range roster.pins",
                "not_canonical roster.level_sets",
                "not_cbor roster",
            ),
            id="roster",
        ),
        pytest.param(
            _DELTA,
            _end_of_delta,
            (
                "applied",
                "hash_mismatch roster_delta.before",
                "hash_mismatch roster_delta.after",
                "rollback roster_delta.version",
                "out_of_range roster_delta.site",
                "not_canonical roster_delta.upserts",
                "unknown_value roster_delta.upserts",
                "out_of_range roster_delta.removals",
                "not_canonical roster_delta.pins",
            ),
            id="delta",
        ),
    ],
)
def test_no_mutant_breaks_a_parser(
    effort: Effort, genuine: bytes, judge: Callable[[bytes], str], reached: tuple[str, ...]
):
    ends: Counter[str] = Counter()
    for seed in range(effort.pick(usual=20_000, long=1_000_000) // _SHARE):
        random = Random(seed)
        for place in range(_SHARE):
            change = _edited if random.random() < 0.5 else _mutant
            mutant = change(random, _payload(genuine))
            try:
                ends[judge(mutant)] += 1
            except Exception as error:
                message = f"mutant {place} of seed {seed}: {mutant.hex()}"
                raise AssertionError(message) from error
    # A fuzzer that never gets past the front door proves nothing: each of these must have been reached.
    assert [end for end in reached if not ends[end]] == [], ends


@pytest.mark.parametrize("data", [_ROSTER, _DELTA], ids=["roster", "delta"])
def test_no_flipped_bit_or_cut_is_verified(data: bytes):
    read = open_roster if data is _ROSTER else open_roster_delta
    mutants = [data[:length] for length in range(len(data))]
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place >> 3] ^= 1 << (place & 7)
        mutants.append(bytes(flipped))
    for mutant in mutants:
        with pytest.raises(WireError):
            read(mutant, _KEY)
