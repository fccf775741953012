"""Mutants of what a door hears from its cloud or a broker, by somebody who may write anything there.

Deterministic: a seed and a count give the same mutants on every machine, so that a failure can be made again. Each kind
begins with genuine messages; a mutant of them may still be genuine in form, for nothing here is signed.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.vectors.parts.kit import ed25519
from wire.codec import decode, encode
from wire.mqtt import MAX_BODY_BYTES, Reply, batch_hash, encode_reply
from wire.status_list import MAX_LIST_ID
from wire.versions import MAX_STATUS_LISTS, Versions, encode_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wire.codec import Value

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_BATCH: Final = batch_hash(b"a batch")
REPLIES: Final = tuple(
    encode_reply(each)
    for each in (
        Reply(of=_BATCH, status=200, body=bytes(161)),
        Reply(of=_BATCH, status=409, body=b'{"reason":"SEQUENCE_GAP","durable":7}'),
        Reply(of=_BATCH, status=503, body=b"", retry_after_s=5),
        Reply(of=_BATCH, status=200, body=bytes(MAX_BODY_BYTES)),
    )
)
ANNOUNCEMENTS: Final = tuple(
    encode_versions(each)
    for each in (
        Versions(12, 17, {0: 881, 1: 4}, 9, 3),
        Versions(0, 0, {}),
        Versions(1, 1, dict.fromkeys(range(MAX_STATUS_LISTS), 2**63 - 1), 1, 1),
    )
)
CHANGES: Final[tuple[Json, ...]] = (
    {"trust": 12, "policy": 17, "status": {"0": 881, "1": 4}, "roster": 9, "commands": 3},
    {"trust": 1, "policy": 0, "status": {}},
    {"trust": 1, "policy": 1, "status": {str(number): number for number in range(MAX_STATUS_LISTS)}},
)
PROBLEMS: Final[tuple[Json, ...]] = (
    {"status": 409, "title": "Conflict", "reason": "SEQUENCE_GAP", "detail": "the events from 8 on", "durable": 7},
    {"status": 503, "title": "Busy", "reason": "INGEST_BUSY", "detail": "later"},
    {"status": 403, "reason": "DEVICE_REVOKED"},
)
BOOTSTRAPS: Final[tuple[Json, ...]] = (
    {
        "tenant": "oakfield",
        "site": "campus",
        "door": "main-entrance",
        "access_point": "in",
        "device": "main-entrance-k3v9",
        "timezone": "UTC",
        "root_key": encode(ed25519("root").public_key.to_cose()).hex(),
        "broker": "mqtts://broker.example:8883",
    },
)
_ODD_BYTES: Final = bytes((0x00, 0x01, 0x17, 0x18, 0x40, 0x58, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xD2, 0xF5, 0xF6, 0xFF))
_ODD_NUMBERS: Final = (0, 1, -1, 199, 200, 599, 600, MAX_LIST_ID, MAX_LIST_ID + 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_ODD_TEXTS: Final = ("", "0", "-1", "1e3", "٣", "0" * 40, "\x00", "\ud800", "\u202e", "a" * 5_000, "SEQUENCE_GAP", "..")
_ODD_JSON: Final[tuple[Json, ...]] = (None, True, False, 0.5, 1e308, float("nan"), float("inf"), 10**400, [], {}, [[]])
_ODD_TAILS: Final = (b"{", b"}", b"[" * 3_000, b'{"a":' * 3_000, b"\xff", b"\x00", b"null", b" " * 70_000)


def cbor_mutants(seed: int, count: int, genuine: Sequence[bytes]) -> Iterator[bytes]:
    """Give mutants of CBOR messages: of their bytes, and of what they hold."""
    random = Random(seed)
    for _ in range(count):
        data = random.choice(genuine)
        if random.random() < 0.5:
            data = encode(_of_value(random, decode(data, field="genuine", max_bytes=len(data))), field="mutant")
        if random.random() < 0.6:
            data = _of_bytes(random, data)
        yield data


def json_mutants(seed: int, count: int, genuine: Sequence[Json]) -> Iterator[bytes]:
    """Give mutants of JSON messages: of their text, and of what they hold."""
    random = Random(seed)
    for _ in range(count):
        value = random.choice(genuine)
        if random.random() < 0.7:
            value = _of_json(random, value)
        data = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
        if random.random() < 0.3:
            data = _of_bytes(random, data)
        yield data + random.choice(_ODD_TAILS) if random.random() < 0.05 else data


def texts(seed: int, count: int) -> Iterator[str]:
    """Give headers, right and odd."""
    random = Random(seed)
    for _ in range(count):
        yield str(random.choice(_ODD_NUMBERS)) if random.random() < 0.5 else random.choice(_ODD_TEXTS)


def _of_bytes(random: Random, data: bytes) -> bytes:
    """Change some bytes without understanding them."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        start = random.randrange(len(found) + 1)
        end = min(len(found), start + random.choice((1, 1, 2, 8, 64)))
        way = random.randrange(6)
        if way == 0 and start < len(found):
            found[start] ^= 1 << random.randrange(8)
        elif way == 1:
            found[start:end] = bytes((random.choice(_ODD_BYTES),))
        elif way == 2:
            del found[start:]
        elif way == 3:
            del found[start:end]
        elif way == 4:
            found[end:end] = found[start:end]
        else:
            found[start:start] = random.randbytes(random.choice((1, 2, 4, 64)))
    return bytes(found)


def _of_value(random: Random, value: Value) -> Value:
    """Change one member of a map, however deep."""
    if not isinstance(value, dict) or not value:
        return random.choice((random.choice(_ODD_NUMBERS[:11]), b"", bytes(16), bytes(3_000), "text", [], {}))
    name = random.choice(list(value))
    way = random.randrange(4)
    changed = dict(value)
    if way == 0:
        del changed[name]
    elif way == 1:
        changed[random.choice((0, 6, 99, 70_000, "1"))] = value[name]
    else:
        changed[name] = _of_value(random, value[name] if way == 2 else 0)
    return changed


def _of_json(random: Random, value: Json) -> Json:
    """Change one member of an object, however deep."""
    if not isinstance(value, dict) or not value:
        return random.choice((random.choice(_ODD_NUMBERS), random.choice(_ODD_TEXTS), random.choice(_ODD_JSON)))
    name = random.choice(list(value))
    way = random.randrange(4)
    changed = dict(value)
    if way == 0:
        del changed[name]
    elif way == 1:
        changed[random.choice(_ODD_TEXTS)] = value[name]
    else:
        changed[name] = _of_json(random, value[name] if way == 2 else None)
    return changed
