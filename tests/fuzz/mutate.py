"""Mutants of genuine passes and presentations, as somebody would try them who owns a key, but no pass.

Invariant: no mutant is genuine. An attacker has seen the tokens in `GENUINE`, may change any byte, and may sign with
`THIEF` (as a holder) and `STRANGER` (as an issuer); nothing that comes of it may ever be verified.
Deterministic: a seed and a count give the same mutants on every machine, so that a failure can be made again.

`tests/wire/test_mutants.py` puts them to the parsers and signatures, `tests/core` may put them to `handle`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.vectors.parts.kit import (
    AT,
    FALSE,
    HALF_ONE,
    HOLDER,
    HOLDER_ED,
    NULL,
    PASS,
    SITE,
    STRANGER,
    THIEF,
    TRUE,
    array,
    cose_key,
    ed25519,
    mapping,
    num,
    octets,
    pairs,
    text,
)
from tests.vectors.parts.passes import PRINTED, USUAL
from wire.envelope import to_be_signed
from wire.names import ExternalAad
from wire.passes import seal_pass
from wire.presentation import seal_presentation
from wire.text import MAX_TEXT_BYTES, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.keys import Signer

Pairs: TypeAlias = list[tuple[bytes, bytes]]

_ISSUED: Final = (
    USUAL,
    replace(USUAL, holder_key=HOLDER_ED.public_key, access_levels=()),
    replace(USUAL, not_before_s=AT - 60, access_levels=tuple(range(100, 116))),
)


def _genuine() -> tuple[bytes, ...]:
    shown = []
    for claims in _ISSUED:
        signer: Signer = HOLDER if claims.holder_key == HOLDER.public_key else HOLDER_ED
        data = seal_pass(claims, PASS)
        shown += [seal_presentation(data, signer, issued_at_s=AT - age, audience=SITE) for age in (0, 15)]
    return (*shown, seal_pass(PRINTED, PASS))


GENUINE: Final = _genuine()
"""What the attacker has seen: six presentations of three passes, and a printed pass."""
_KNOWN: Final = frozenset(GENUINE)
_ODD_BYTES: Final = bytes((0x00, 0x01, 0x17, 0x18, 0x40, 0x58, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xD2, 0xF5, 0xF6, 0xFF))
_ODD_ITEMS: Final = (
    *(NULL, TRUE, FALSE, HALF_ONE, b"\xf7", b"\x9f\xff", b"\xbf\xff", b"\x5f\xff", b"\x1c", b"\xff"),
    *(num(0), num(1), num(-1), num(-7), num(-8), num(-9), num(-19), num(294), num(AT), num(AT + 10**6)),
    *(num(2**32), num(2**63), num(2**64 - 1), num(AT, extra_bytes=8), num(1, extra_bytes=1), b"\xc2\x49" + bytes(9)),
    *(octets(b""), octets(bytes(4)), octets(bytes(6)), octets(bytes(300)), text(""), text(SITE), text("gym")),
    *(text("\u0430dmin"), text("../.."), array(), array(num(1), num(1)), mapping({}), mapping({1: num(1)})),
    *(cose_key(THIEF.public_key), mapping({1: cose_key(THIEF.public_key)}), b"\xd2" + array()),
    *(octets(array(num(4), num(1), array(*map(num, range(16))))), octets(array(num(5), num(0), array()))),
)
_OTHER_ED25519: Final = ed25519("thief")


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Give `count` mutants as bytes."""
    random = Random(seed)
    for _ in range(count):
        mutant = _mutant(random)
        yield mutant if mutant not in _KNOWN else mutant + b"\x00"


def text_mutants(seed: int, count: int) -> Iterator[bytes]:
    """Give `count` mutants as a scanner would read them, some of them changed as text."""
    random = Random(seed)
    for mutant in mutants(seed, count):
        readable = to_text(mutant[:MAX_TEXT_BYTES])
        if random.random() < 0.8:
            yield readable
        else:
            changed = _bytes_of(random, readable)
            yield changed if changed not in _known_texts() else changed + b"0"


@cache
def _known_texts() -> frozenset[bytes]:
    return frozenset(map(to_text, GENUINE))


def _mutant(random: Random) -> bytes:
    if random.random() < 0.6:
        mutant = random.choice(GENUINE)
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            mutant = _bytes_of(random, mutant)
        return mutant
    return _structure(random)


# --- bytes -------------------------------------------------------------------------------------------------


def _bytes_of(random: Random, data: bytes) -> bytes:
    """Change some bytes without understanding them."""
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((1, 1, 2, 4, 8, 33, 64)))
    way = random.randrange(8)
    if way == 0:  # flip a bit
        place = random.randrange(len(data)) if data else 0
        return (
            data[:place]
            + bytes(byte ^ 1 << random.randrange(8) for byte in data[place : place + 1])
            + data[place + 1 :]
        )
    if way == 1:  # write something odd
        return data[:start] + bytes((random.choice(_ODD_BYTES),)) + data[start + 1 :]
    if way == 2:  # cut the end
        return data[:start]
    if way == 3:  # leave a piece out
        return data[:start] + data[end:]
    if way == 4:  # say a piece twice
        return data[:end] + data[start:end] + data[end:]
    if way == 5:  # put something in
        return data[:start] + random.randbytes(random.choice((1, 2, 4, 64))) + data[start:]
    if way == 6:  # go on with another token
        other = random.choice(GENUINE)
        return data[:start] + other[random.choice((start, random.randrange(len(other)))) :]
    other = random.choice(GENUINE)  # take a piece of another token at the same place
    return data[:start] + other[start:end] + data[end:]


# --- structure ---------------------------------------------------------------------------------------------


def _structure(random: Random) -> bytes:
    """Build a token from its parts, some of them changed, and sign it with what the attacker has."""
    claims = random.choice(_ISSUED)
    holder = random.choice((THIEF, THIEF, _OTHER_ED25519))
    header: Pairs = [(num(1), num(-19)), (num(4), octets(random.choice((PASS, STRANGER)).public_key.key_id))]
    body: Pairs = [
        (num(1), text(claims.issuer)),
        (num(4), num(claims.expires_at_s)),
        (num(6), num(claims.issued_at_s)),
        (num(7), octets(claims.pass_id)),
        (num(8), mapping({1: cose_key(random.choice((holder, HOLDER)).public_key)})),
        (num(9), octets(array(num(random.randrange(6)), num(0), array(num(random.randrange(9)))))),
    ]
    if random.random() < 0.2:
        del body[4]
    changes = random.choice((0, 0, 1, 2))
    inner = _envelope(
        random, _edited(random, header, changes // 2), _edited(random, body, changes), STRANGER, ExternalAad.PASS
    )
    if random.random() < 0.3:
        inner = seal_pass_of(random)
    if random.random() < 0.1:
        return inner if inner not in _KNOWN else inner[:-1]
    outer: Pairs = [(num(1), num(int(holder.public_key.algorithm))), (num(13), inner), (num(16), num(294))]
    payload: Pairs = [(num(3), text(SITE)), (num(6), num(AT - random.randrange(20)))]
    edits = random.choice((0, 0, 0, 1))
    return _envelope(
        random, _edited(random, outer, edits), _edited(random, payload, edits), holder, ExternalAad.PRESENTATION
    )


@cache
def _sealed() -> tuple[bytes, ...]:
    return (*(seal_pass(claims, PASS) for claims in _ISSUED), seal_pass(PRINTED, PASS))


def seal_pass_of(random: Random) -> bytes:
    """A genuine pass of somebody else, as taken from what they showed."""
    return random.choice(_sealed())


def _edited(random: Random, entries: Pairs, changes: int) -> bytes:
    """Encode a map with some of its pairs doubled, dropped, exchanged, reordered or replaced."""
    found = list(entries)
    for _ in range(changes):
        place, other = random.randrange(len(found) or 1), random.randrange(len(found) or 1)
        way = random.randrange(6)
        if not found or way == 0:
            found.insert(place, (num(random.choice((1, 2, 4, 5, 6, 13, 39, 99))), random.choice(_ODD_ITEMS)))
        elif way == 1:
            found.insert(other, found[place])
        elif way == 2:
            del found[place]
        elif way == 3:
            found[place], found[other] = (found[place][0], found[other][1]), (found[other][0], found[place][1])
        elif way == 4:
            random.shuffle(found)
        else:
            found[place] = (found[place][0], random.choice(_ODD_ITEMS))
    return pairs(*found)


def _envelope(random: Random, protected: bytes, payload: bytes, signer: Signer, aad: ExternalAad) -> bytes:
    """Wrap and sign: with the attacker's key, or with a signature seen somewhere, or with none."""
    way = random.randrange(8)
    if way == 0:
        signature = random.choice(GENUINE)[-64:]
    elif way == 1:
        signature = random.randbytes(64) if random.random() < 0.5 else bytes(64)
    else:
        said = random.choice(tuple(ExternalAad)) if way == 2 else aad
        signature = signer.sign(to_be_signed(protected, payload, said))
    unprotected = random.choice(_ODD_ITEMS) if random.random() < 0.03 else b"\xa0"
    tag = b"" if random.random() < 0.02 else b"\xd2"
    return tag + array(octets(protected), unprotected, octets(payload), octets(signature))
