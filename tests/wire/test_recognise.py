"""The pattern and the reader agree: what one recognises, the other accepts with the same result."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutate import GENUINE, mutants
from tests.vectors.parts.kit import HOLDER, HOLDER_ED, PASS, Case, DeterministicP256Signer
from tests.vectors.parts.passes import USUAL
from tests.wire import strategies as ours
from tests.wire.readers import octets
from tests.wire.test_vectors import all_cases
from wire.errors import WireError
from wire.passes import MAX_LIFETIME_S, Pass, seal_pass
from wire.presentation import RotatingPresentation, _parse, _recognise, parse_presented, seal_presentation
from wire.recognise import recognise

_AT = 1_772_442_000


def _by_reader(data: bytes) -> object:
    try:
        return _parse(data)
    except WireError as error:
        return (error.reason, error.field)


def _by_both(data: bytes) -> object:
    try:
        return parse_presented(data)
    except WireError as error:
        return (error.reason, error.field)


def _usual(claims: Pass = USUAL, *, at: int = _AT, audience: str = "library") -> bytes:
    return seal_presentation(seal_pass(claims, PASS), HOLDER, issued_at_s=at, audience=audience)


@pytest.mark.parametrize("case", all_cases("presentation"), ids=lambda case: str(case["name"]))
def test_both_agree_on_every_vector(case: Case):
    assert _by_both(octets(case)) == _by_reader(octets(case))


def test_keys_of_either_sign_are_recognised():
    holders = [DeterministicP256Signer(f"holder-{number}") for number in range(8)]
    assert {holder.public_key.point[0] for holder in holders} == {2, 3}
    for holder in holders:
        issued = seal_pass(replace(USUAL, holder_key=holder.public_key), PASS)
        data = seal_presentation(issued, holder, issued_at_s=_AT, audience="library")
        found = _recognise(data)
        assert found is not None
        assert found == _parse(data)
        assert found.signed_pass.unverified.holder_key == holder.public_key


@pytest.mark.fuzz
def test_both_agree_on_mutants():
    recognised = 0
    for mutant in mutants(seed=3, count=20_000):
        found = _recognise(mutant)
        recognised += found is not None
        assert found is None or found == _by_reader(mutant), mutant.hex()
    assert recognised > 1_000, "the mutants that only change a key, a time or a signature are recognised"


@given(
    claims=ours.passes(holders=st.sampled_from([HOLDER])),
    at=ours.times,
    audience=ours.slugs,
)
def test_both_agree_on_what_is_issued(claims: Pass, at: int, audience: str):
    data = _usual(claims, at=at, audience=audience)
    assert _recognise(data) in (None, _parse(data))
    assert parse_presented(data) == _parse(data)


@given(
    claims=ours.passes(holders=st.sampled_from([HOLDER])),
    starts=st.integers(0x1_0000, 0xFFFF_FFFF - 31 * 86_400),
    at=st.integers(0x1_0000, 0xFFFF_FFFF),
    lifetime=st.integers(1, 31 * 86_400),
    audience=ours.slugs,
)
def test_what_phones_show_until_2106_is_recognised(claims: Pass, starts: int, at: int, lifetime: int, audience: str):
    usual = replace(claims, issued_at_s=starts, not_before_s=None, expires_at_s=starts + lifetime)
    data = _usual(usual, at=at, audience=audience)
    assert _recognise(data) == _parse(data)


def test_what_is_recognised_is_verified_like_what_is_read():
    data = _usual()
    for found in (_recognise(data), _parse(data)):
        assert isinstance(found, RotatingPresentation)
        assert found.signed_pass.verify_issuer(PASS.public_key) == USUAL
        found.verify_holder(HOLDER.public_key)


def test_unusual_ones_are_left_to_the_reader():
    ed = seal_pass(replace(USUAL, holder_key=HOLDER_ED.public_key), PASS)
    unusual = [
        _usual(replace(USUAL, not_before_s=USUAL.issued_at_s)),
        _usual(at=0xFFFF),
        _usual(at=0x1_0000_0000),
        seal_presentation(ed, HOLDER_ED, issued_at_s=_AT, audience="library"),
        seal_presentation(seal_pass(USUAL, PASS), HOLDER, issued_at_s=_AT, audience="a/b", nonce=bytes(16)),
    ]
    for data in unusual:
        assert _recognise(data) is None
        assert isinstance(parse_presented(data), RotatingPresentation)


def _that_disagree() -> list[bytes]:
    """The usual presentation with one length, count, order or time made wrong; its signatures do not matter here."""
    good = _usual()
    inner = seal_pass(USUAL, PASS)
    found = []
    for part in (
        good[2:4],  # the length of the protected header
        b"\xa0\x58" + bytes((inner[inner.index(b"\xa0\x58") + 2],)),  # of the claims
        b"\x01\x6cnorth",  # of the issuer
        b"\x09\x4c\x83",  # of the scope
        b"\x00\x84\x01",  # the number of levels
        b"\xa0\x50\xa2",  # the length of the payload
        b"\x03\x67lib",  # of the audience
    ):
        place = good.index(part) + 1
        found += [good[:place] + bytes((good[place] + by,)) + good[place + 1 :] for by in (-1, 1)]
    times = [USUAL.issued_at_s.to_bytes(4, "big"), USUAL.expires_at_s.to_bytes(4, "big")]
    found.append(good.replace(b"\x01\x07\x19", b"\x07\x01\x19"))
    found.append(good.replace(b"\x01\x07\x19", b"\x07\x07\x19"))
    found.append(good.replace(times[1], times[0]))
    found.append(good.replace(times[1], (USUAL.issued_at_s + MAX_LIFETIME_S + 1).to_bytes(4, "big")))
    return found


@pytest.mark.parametrize("data", _that_disagree())
def test_what_does_not_agree_with_itself_is_not_recognised(data: bytes):
    assert data != _usual()
    assert _recognise(data) is None
    with pytest.raises(WireError):
        parse_presented(data)


def test_the_pattern_takes_time_in_proportion_to_the_length():
    # 64 KiB of what the pattern likes best; backtracking would take years.
    for piece in (GENUINE[0], b"\x00", b"\x19\x01\x00", b"a", b"\xd2\x84\x58"):
        assert recognise(piece * (0x1_0000 // len(piece))) is None
