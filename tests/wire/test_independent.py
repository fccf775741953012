"""A reader that shares no code with `wire` sees the same: cbor2 as it comes, and OpenSSL for both algorithms."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.vectors import make
from tests.vectors.parts.kit import PASS, STATUS


def _input(name: str, case: str) -> tuple[bytes, Any]:
    for found in json.loads(make.path(name).read_text())["vectors"]:
        if found["name"] == case:
            return bytes.fromhex(found["input"]), found["expect"]
    raise LookupError(case)


def _check_ed25519(point: bytes, message: cbor2.CBORTag, aad: bytes) -> None:
    protected, _, payload, signature = message.value
    signed = cbor2.dumps(["Signature1", protected, aad, payload])
    ed25519.Ed25519PublicKey.from_public_bytes(point).verify(signature, signed)


def test_presentation_is_cose_and_cwt():
    data, expect = _input("presentation", "usual")
    outer = cbor2.loads(data)
    assert outer.tag == 18
    protected, unprotected, payload, signature = outer.value
    assert unprotected == {}
    header = cbor2.loads(protected)
    assert (header[1], header[16], set(header)) == (-9, 294, {1, 13, 16})
    inner = header[13]
    assert inner.tag == 18
    _check_ed25519(PASS.public_key.point, inner, b"doorward-pass-v1")
    claims = cbor2.loads(inner.value[2])
    assert claims[1] == expect["pass"]["issuer"]
    assert (claims[4], claims[6]) == (expect["pass"]["expires_at_s"], expect["pass"]["issued_at_s"])
    assert claims[7].hex() == expect["pass"]["pass_id"]
    assert cbor2.loads(claims[9]) == [0, 0, expect["pass"]["access_levels"]]
    key = claims[8][1]
    point = bytes((3 if key[-3] else 2,)) + key[-2]
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point).verify(
        encode_dss_signature(r, s),
        cbor2.dumps(["Signature1", protected, b"doorward-kbt-v1", payload]),
        ec.ECDSA(hashes.SHA256()),
    )
    said = cbor2.loads(payload)
    assert said == {3: expect["audience"], 6: expect["issued_at_s"]}
    assert hashlib.sha256(protected + payload).hexdigest() == expect["replay_key"]


def test_status_list_is_that_of_the_draft():
    data, expect = _input("status-list", "the draft's example")
    token = cbor2.loads(data)
    _check_ed25519(STATUS.public_key.point, token, b"")
    assert cbor2.loads(token.value[0])[16] == "application/statuslist+cwt"
    claims = cbor2.loads(token.value[2])
    assert claims[65533]["bits"] == 1
    bits = zlib.decompress(claims[65533]["lst"])
    assert bits.hex() == expect["bits"]
    # draft-ietf-oauth-status-list §4.1: the statuses of the example, in the order of their index.
    assert [bits[index // 8] >> index % 8 & 1 for index in range(16)] == [
        1,
        0,
        0,
        1,
        1,
        1,
        0,
        1,
        1,
        1,
        0,
        0,
        0,
        1,
        0,
        1,
    ]


@pytest.mark.parametrize("case", ["granted", "denied", "relocked", "largest"])
def test_event_is_a_map_of_its_fields(case: str):
    data, expect = _input("event", case)
    event = cbor2.loads(data)
    assert list(event) == list(range(24))
    assert event[1] == expect["event"]["device"]
    assert event[23].hex() == expect["event"]["prev"]
    assert hashlib.sha256(data).hexdigest() == expect["hash"]


def test_events_of_a_batch_are_a_chain():
    data, _ = _input("batch", "three events")
    batch = cbor2.loads(cbor2.loads(data).value[2])
    hashes_of = [hashlib.sha256(event).digest() for event in batch[5]]
    assert [cbor2.loads(event)[23] for event in batch[5]] == [bytes(32), *hashes_of[:-1]]
    assert batch[6] == hashes_of[-1]
    assert [cbor2.loads(event)[3] for event in batch[5]] == list(range(batch[3], batch[4] + 1))
