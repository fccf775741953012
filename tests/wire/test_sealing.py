"""Nothing is signed that nobody would read, and errors say where, without the bytes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.vectors.parts.events import DEVICE_ID, EPOCH, GRANTED, USUAL_ACK
from tests.vectors.parts.kit import (
    ACKNOWLEDGEMENT,
    COMMAND,
    DEVICE,
    HOLDER,
    HOLDER_ED,
    PASS,
    POLICY,
    ROOT,
    SITE,
    STATUS,
    THIEF,
)
from tests.vectors.parts.messages import USUAL as USUAL_COMMAND
from tests.vectors.parts.messages import USUAL_MODE
from tests.vectors.parts.passes import PRINTED
from tests.vectors.parts.passes import USUAL as USUAL_PASS
from tests.vectors.parts.policies import USUAL as USUAL_POLICY
from tests.vectors.parts.presentations import USUAL_PASS as USUAL_PASS_BYTES
from tests.vectors.parts.status import NEXT, token
from tests.vectors.parts.status import USUAL as USUAL_LIST
from tests.vectors.parts.trusts import USUAL as USUAL_TRUST
from wire.batch import MAX_BATCH_EVENTS, seal_acknowledgement, seal_batch
from wire.codec import encode
from wire.command import seal_command
from wire.errors import WireError, WireReason
from wire.event import encode_event
from wire.messages import encode_claim_code
from wire.names import Assurance, DeviceId, DoorId, DoorMode, KeyPurpose, Tenant
from wire.passes import make_pass_id, seal_pass
from wire.policy import AssuranceHours, Passage, Window, seal_policy
from wire.presentation import seal_presentation
from wire.settings import DoorSettings
from wire.status_delta import apply_delta, make_delta, seal_delta
from wire.status_list import MAX_TOKEN_BYTES, seal_status_list, status_key_id
from wire.trust import seal_trust

if TYPE_CHECKING:
    from collections.abc import Callable

_EVENT = encode_event(GRANTED)
_HOURS = (AssuranceHours(3, Assurance.ROTATING), AssuranceHours(5, Assurance.ROTATING))


def _batch(*, events: list[bytes], first: int = 1, device: str = DEVICE_ID, epoch: bytes = EPOCH) -> bytes:
    return seal_batch(device=DeviceId(device), epoch=epoch, first=first, events=events, signer=DEVICE)


def _present(pass_bytes: bytes, *, audience: str = SITE, at: int = 0, nonce: bytes | None = None) -> bytes:
    return seal_presentation(pass_bytes, HOLDER, issued_at_s=at, audience=audience, nonce=nonce)


_REFUSED: dict[str, tuple[Callable[[], object], WireReason, str]] = {
    "pass of a tenant in upper case": (
        lambda: seal_pass(replace(USUAL_PASS, issuer=Tenant("North")), PASS),
        WireReason.WRONG_ALPHABET,
        "pass.iss",
    ),
    "pass with levels out of order": (
        lambda: seal_pass(replace(USUAL_PASS, access_levels=(7, 1)), PASS),
        WireReason.NOT_CANONICAL,
        "pass.scope.levels",
    ),
    "pass by a P-256 issuer": (lambda: seal_pass(USUAL_PASS, HOLDER), WireReason.UNKNOWN_ALGORITHM, "pass.alg"),
    "pass id in a list beyond 16 bits": (
        lambda: make_pass_id(0x10000, 0),
        WireReason.OUT_OF_RANGE,
        "pass_id.list",
    ),
    "pass id with an index beyond 32 bits": (
        lambda: make_pass_id(0, 2**32),
        WireReason.OUT_OF_RANGE,
        "pass_id.index",
    ),
    "presentation of a printed pass": (
        lambda: _present(seal_pass(PRINTED, PASS)),
        WireReason.MISSING_FIELD,
        "pass.cnf",
    ),
    "presentation of no CBOR": (lambda: _present(b"\x1c"), WireReason.NOT_CBOR, "pass"),
    "presentation of too much": (lambda: _present(bytes(449)), WireReason.TOO_LARGE, "pass"),
    "presentation of something else": (lambda: _present(encode([1])), WireReason.WRONG_TYPE, "pass"),
    "presentation to a place that is none": (
        lambda: _present(USUAL_PASS_BYTES, audience="Library"),
        WireReason.WRONG_ALPHABET,
        "presentation.aud",
    ),
    "presentation before 1970": (
        lambda: _present(USUAL_PASS_BYTES, at=-1),
        WireReason.OUT_OF_RANGE,
        "presentation.iat",
    ),
    "presentation with a short nonce": (
        lambda: _present(USUAL_PASS_BYTES, audience="a/b", nonce=b"nonce"),
        WireReason.OUT_OF_RANGE,
        "presentation.cnonce",
    ),
    "status list that is over before it starts": (
        lambda: seal_status_list(replace(USUAL_LIST, expires_at_s=0), STATUS),
        WireReason.OUT_OF_RANGE,
        "status.exp",
    ),
    "delta with changes out of order": (
        lambda: seal_delta(replace(make_delta(USUAL_LIST, NEXT), flips=(3, 2)), STATUS),
        WireReason.NOT_CANONICAL,
        "delta.gaps",
    ),
    "delta with a change before the list": (
        lambda: seal_delta(replace(make_delta(USUAL_LIST, NEXT), flips=(-1, 2)), STATUS),
        WireReason.NOT_CANONICAL,
        "delta.gaps",
    ),
    "delta to an older list": (lambda: make_delta(NEXT, USUAL_LIST), WireReason.OUT_OF_RANGE, "delta"),
    "delta to another list of the same sequence": (
        lambda: make_delta(USUAL_LIST, replace(NEXT, sequence=USUAL_LIST.sequence)),
        WireReason.OUT_OF_RANGE,
        "delta",
    ),
    "delta to a longer list": (
        lambda: make_delta(USUAL_LIST, replace(NEXT, bits=bytes(3))),
        WireReason.OUT_OF_RANGE,
        "delta",
    ),
    "delta to another list": (
        lambda: make_delta(USUAL_LIST, replace(NEXT, list_id=1)),
        WireReason.OUT_OF_RANGE,
        "delta",
    ),
    "delta to another tenant's list": (
        lambda: make_delta(USUAL_LIST, replace(NEXT, tenant="elsewhere")),
        WireReason.OUT_OF_RANGE,
        "delta",
    ),
    "trust bundle with a key twice": (
        lambda: seal_trust(replace(USUAL_TRUST, keys=USUAL_TRUST.keys[:1] * 2), ROOT),
        WireReason.DUPLICATE_KEY,
        "trust.keys",
    ),
    "policy with a window that ends before it starts": (
        lambda: seal_policy(
            replace(
                USUAL_POLICY,
                schedules={3: replace(USUAL_POLICY.schedules[3], windows=(Window(1, 60, 30),))},
            ),
            POLICY,
        ),
        WireReason.OUT_OF_RANGE,
        "policy.schedules.window",
    ),
    "policy with a reader that leads nowhere": (
        lambda: seal_policy(replace(USUAL_POLICY, passages={"outside": Passage(1, 1)}), POLICY),
        WireReason.OUT_OF_RANGE,
        "policy.passages",
    ),
    "policy with assurance hours out of order": (
        lambda: seal_policy(replace(USUAL_POLICY, assurance_hours=(_HOURS[1], _HOURS[0])), POLICY),
        WireReason.NOT_CANONICAL,
        "policy.assurance_hours",
    ),
    "policy with a flag that is a number": (
        lambda: seal_policy(replace(USUAL_POLICY, settings=DoorSettings(interlock=1)), POLICY),  # type: ignore[arg-type]
        WireReason.WRONG_TYPE,
        "policy.settings.interlock",
    ),
    "policy with a number that is a flag": (
        lambda: seal_policy(replace(USUAL_POLICY, settings=DoorSettings(escorts=True)), POLICY),
        WireReason.WRONG_TYPE,
        "policy.settings.escorts",
    ),
    "unlock for a minute and a second": (
        lambda: seal_command(replace(USUAL_COMMAND, expires_at_s=USUAL_COMMAND.issued_at_s + 61), COMMAND),
        WireReason.OUT_OF_RANGE,
        "command.exp",
    ),
    "order of a mode without one": (
        lambda: seal_command(replace(USUAL_MODE, mode=None), COMMAND),
        WireReason.MISSING_FIELD,
        "command.mode",
    ),
    "order of a lockdown": (
        lambda: seal_command(replace(USUAL_MODE, mode=DoorMode.LOCKED_DOWN), COMMAND),
        WireReason.UNKNOWN_VALUE,
        "command.mode",
    ),
    "unlock with a mode": (
        lambda: seal_command(replace(USUAL_COMMAND, mode=DoorMode.LOCKED), COMMAND),
        WireReason.UNKNOWN_FIELD,
        "command",
    ),
    "unlock for a while": (
        lambda: seal_command(replace(USUAL_COMMAND, hold_s=1), COMMAND),
        WireReason.UNKNOWN_FIELD,
        "command",
    ),
    "event with a name in upper case": (
        lambda: encode_event(replace(GRANTED, door=DoorId("Main"))),
        WireReason.NOT_CANONICAL,
        "event",
    ),
    "event with half a surrogate": (
        lambda: encode_event(replace(GRANTED, reader="\ud800")),
        WireReason.OUT_OF_RANGE,
        "event",
    ),
    "event before 1970": (lambda: encode_event(replace(GRANTED, wall_ms=-1)), WireReason.NOT_CANONICAL, "event"),
    "batch of nothing": (lambda: _batch(events=[]), WireReason.OUT_OF_RANGE, "batch.last"),
    "batch of 501 events": (
        lambda: _batch(events=[_EVENT] * (MAX_BATCH_EVENTS + 1)),
        WireReason.OUT_OF_RANGE,
        "batch.events",
    ),
    "batch that starts at 0": (lambda: _batch(events=[_EVENT], first=0), WireReason.OUT_OF_RANGE, "batch.last"),
    "batch of a device without name": (
        lambda: _batch(events=[_EVENT], device=""),
        WireReason.OUT_OF_RANGE,
        "batch.device",
    ),
    "acknowledgement of more backed up than durable": (
        lambda: seal_acknowledgement(replace(USUAL_ACK, backed_up=4), ACKNOWLEDGEMENT),
        WireReason.OUT_OF_RANGE,
        "acknowledgement.backed_up",
    ),
    "claim code with a short secret": (
        lambda: encode_claim_code(secret=bytes(9), ca_fingerprint=bytes(10)),
        WireReason.OUT_OF_RANGE,
        "claim_code",
    ),
    "claim code with a long fingerprint": (
        lambda: encode_claim_code(secret=bytes(10), ca_fingerprint=bytes(11)),
        WireReason.OUT_OF_RANGE,
        "claim_code",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_it_is_not_written(name: str):
    write, reason, field = _REFUSED[name]
    with pytest.raises(WireError) as refused:
        write()
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_what_cannot_be_encoded_is_refused():
    for value in (1.5, {1, 2}, (1, 2), {b"key": 1}, {True: 1}, object()):
        with pytest.raises(WireError) as refused:
            encode([value], field="value")  # type: ignore[list-item]
        assert refused.value.reason is WireReason.FORBIDDEN_TYPE
    with pytest.raises(WireError) as refused:
        encode("\ud800", field="value")
    assert refused.value.reason is WireReason.OUT_OF_RANGE


def test_what_contains_itself_is_refused():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(WireError):
        encode(endless, field="value")  # type: ignore[arg-type]


def test_error_says_where_and_why_also_after_a_journey_between_processes():
    error = WireError(WireReason.TOO_LARGE, "pass.exp")
    assert str(error) == "pass.exp: too_large"
    travelled = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (travelled.reason, travelled.field, str(travelled)) == (error.reason, error.field, str(error))


def test_error_does_not_show_what_was_read():
    secret = b"\xf5" * 40
    with pytest.raises(WireError) as refused:
        seal_presentation(secret, HOLDER, issued_at_s=0, audience=SITE)
    assert "f5" not in str(refused.value)


def test_presentation_by_another_key_is_written_and_not_verified():
    # A wallet does not check its own key; a door does.
    data = seal_presentation(USUAL_PASS_BYTES, THIEF, issued_at_s=0, audience=SITE)
    assert data != _present(USUAL_PASS_BYTES)
    seal_presentation(USUAL_PASS_BYTES, HOLDER_ED, issued_at_s=0, audience=SITE)


def test_key_of_a_status_list_is_told_before_it_is_checked():
    assert status_key_id(token(USUAL_LIST)) == STATUS.public_key.key_id
    for data, reason, field in (
        (USUAL_PASS_BYTES, WireReason.MISSING_FIELD, "status.typ"),
        (b"", WireReason.EMPTY, "status"),
        (bytes(MAX_TOKEN_BYTES), WireReason.WRONG_TYPE, "status"),
        (bytes(MAX_TOKEN_BYTES + 1), WireReason.TOO_LARGE, "status"),
    ):
        with pytest.raises(WireError) as refused:
            status_key_id(data)
        assert (refused.value.reason, refused.value.field) == (reason, field)


def test_keys_of_a_bundle_are_found_by_id_and_purpose():
    key_id = PASS.public_key.key_id
    found = USUAL_TRUST.find(key_id, KeyPurpose.PASS)
    assert found is not None
    assert found.key == PASS.public_key
    assert USUAL_TRUST.find(key_id, KeyPurpose.STATUS) is None
    assert [item.key for item in USUAL_TRUST.of(KeyPurpose.STATUS)] == [STATUS.public_key]


def test_delta_applies_to_the_list_that_it_was_made_from():
    for newer in (NEXT, replace(NEXT, ttl_s=NEXT.ttl_s + 1)):
        assert apply_delta(USUAL_LIST, make_delta(USUAL_LIST, newer)) == newer
