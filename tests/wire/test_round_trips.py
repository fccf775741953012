"""What is written is read as it was, and what is read is written as it was, for every format."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.vectors.parts.kit import (
    ACKNOWLEDGEMENT,
    COMMAND,
    DEVICE,
    HOLDER,
    HOLDER_ED,
    PASS,
    POLICY,
    ROOT,
    STATUS,
    Case,
)
from tests.vectors.parts.messages import USUAL_MODE
from tests.wire import strategies as ours
from tests.wire.readers import octets
from tests.wire.test_vectors import accepted_cases
from wire.batch import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    Acknowledgement,
    open_acknowledgement,
    open_batch,
    seal_acknowledgement,
    seal_batch,
)
from wire.codec import Value, decode, encode
from wire.command import Command, open_command, seal_command
from wire.command_list import encode_command_list, parse_command_list
from wire.errors import WireError
from wire.event import FIELD_NAMES, MAX_EVENT_BYTES, Event, chain_hash, encode_event, event_values, parse_event
from wire.health import encode_health, parse_health
from wire.keys import PublicKey, Signer, parse_key
from wire.messages import decode_claim_code, encode_claim_code
from wire.mqtt import MAX_EVENTS, MAX_UP_BYTES, encode_reply, parse_reply
from wire.names import DeviceId
from wire.passes import MAX_PASS_BYTES, Pass, parse_pass, seal_pass, split_pass_id
from wire.policy import PolicyBundle, open_policy, seal_policy, unverified_policy
from wire.presentation import MAX_PRESENTATION_BYTES, RotatingPresentation, parse_presented, seal_presentation
from wire.roster import Roster, open_roster, seal_roster
from wire.roster_delta import open_roster_delta, seal_roster_delta
from wire.status_delta import apply_delta, make_delta, open_delta, seal_delta
from wire.status_list import StatusList, is_set, open_status_list, seal_status_list
from wire.text import MAX_TEXT_BYTES, from_text, to_text
from wire.trust import PinnedTrust, TrustBundle, encode_pinned, open_trust, parse_pinned, seal_trust
from wire.versions import encode_versions, parse_versions


@given(ours.values())
def test_cbor_is_read_as_written(value: Value):
    data = encode(value)
    assert decode(data, field="value", max_bytes=len(data)) == value


@given(st.binary(max_size=MAX_TEXT_BYTES))
def test_text_is_read_as_written(data: bytes):
    assert from_text(to_text(data)) == data


@given(ours.keys)
def test_key_is_read_as_written(key: PublicKey):
    assert parse_key(decode(encode(key.to_cose()), field="key", max_bytes=128), "key") == key


@given(ours.passes())
def test_pass_is_read_as_written(claims: Pass):
    data = seal_pass(claims, PASS)
    assert len(data) <= MAX_PASS_BYTES
    assert parse_pass(data).verify_issuer(PASS.public_key) == claims


@given(
    claims=ours.passes(holders=st.sampled_from([HOLDER, HOLDER_ED])),
    issued=ours.times,
    site=ours.slugs,
    bound=st.none() | st.tuples(ours.slugs, st.binary(min_size=16, max_size=16)),
)
def test_presentation_is_read_as_written(claims: Pass, issued: int, site: str, bound: tuple[str, bytes] | None):
    signer: Signer = HOLDER if claims.holder_key == HOLDER.public_key else HOLDER_ED
    audience, nonce = (site, None) if bound is None else (f"{site}/{bound[0]}", bound[1])
    data = seal_presentation(seal_pass(claims, PASS), signer, issued_at_s=issued, audience=audience, nonce=nonce)
    assert len(data) <= MAX_PRESENTATION_BYTES
    assert nonce is not None or len(data) <= MAX_TEXT_BYTES
    read = parse_presented(data)
    assert isinstance(read, RotatingPresentation)
    assert read.signed_pass.verify_issuer(PASS.public_key) == claims
    read.verify_holder(signer.public_key)
    assert (read.issued_at_s, read.audience, read.nonce) == (issued, audience, nonce)


@given(ours.status_lists())
def test_status_list_is_read_as_written(status: StatusList):
    assert open_status_list(seal_status_list(status, STATUS), STATUS.public_key) == status


@given(status=ours.status_lists(), data=st.data())
def test_delta_leads_from_one_list_to_the_next(status: StatusList, data: st.DataObject):
    later = replace(
        status,
        sequence=data.draw(st.integers(status.sequence + 1, 2**63 - 1)),
        bits=data.draw(st.binary(min_size=len(status.bits), max_size=len(status.bits))),
    )
    delta = open_delta(seal_delta(make_delta(status, later), STATUS), STATUS.public_key)
    assert apply_delta(status, delta) == later
    changed = {i for i in range(8 * len(status.bits)) if is_set(status.bits, i) is not is_set(later.bits, i)}
    assert set(delta.flips) == changed


@given(ours.trust_bundles())
def test_trust_bundle_and_file_are_read_as_written(bundle: TrustBundle):
    data = seal_trust(bundle, ROOT)
    assert open_trust(data, ROOT.public_key) == bundle
    assert parse_pinned(encode_pinned(PinnedTrust(ROOT.public_key, data))).open() == bundle


@given(ours.policies())
def test_policy_is_read_as_written(bundle: PolicyBundle):
    assert open_policy(seal_policy(bundle, POLICY), POLICY.public_key) == bundle
    assert unverified_policy(seal_policy(bundle, POLICY)) == bundle


@given(ours.rosters())
def test_roster_is_read_as_written(roster: Roster):
    assert open_roster(seal_roster(roster, POLICY), POLICY.public_key) == roster


@given(ours.commands())
def test_command_is_read_as_written(command: Command):
    assert open_command(seal_command(command, COMMAND), COMMAND.public_key) == command


def test_a_mode_ends_its_time_after_it_was_issued_or_with_its_command():
    assert USUAL_MODE.ends_at_s == USUAL_MODE.issued_at_s + 7_200
    assert replace(USUAL_MODE, hold_s=None).ends_at_s == USUAL_MODE.expires_at_s


@given(ours.events)
def test_event_is_read_as_written(event: Event):
    data = encode_event(event)
    assert parse_event(data) == event
    assert decode(data, field="event", max_bytes=MAX_EVENT_BYTES) == dict(enumerate(event_values(data)))
    assert event_values(data)[1:] == [getattr(event, name) for name in FIELD_NAMES[1:]]


@given(
    events=st.lists(ours.events.map(encode_event), min_size=1, max_size=5),
    first=st.integers(1, 2**63 - 6),
    device=ours.slugs,
    epoch=st.binary(min_size=8, max_size=8),
)
def test_batch_is_read_as_written(events: list[bytes], first: int, device: str, epoch: bytes):
    data = seal_batch(device=DeviceId(device), epoch=epoch, first=first, events=events, signer=DEVICE)
    batch = open_batch(data, DEVICE.public_key)
    assert (batch.device, batch.epoch, batch.first, list(batch.events)) == (device, epoch, first, events)
    assert batch.last == first + len(events) - 1
    assert batch.head == chain_hash(events[-1])


@given(ours.acknowledgements())
def test_acknowledgement_is_read_as_written(acknowledgement: Acknowledgement):
    data = seal_acknowledgement(acknowledgement, ACKNOWLEDGEMENT)
    assert open_acknowledgement(data, ACKNOWLEDGEMENT.public_key) == acknowledgement


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_claim_code_is_read_as_written(secret: bytes, fingerprint: bytes):
    code = encode_claim_code(secret=secret, ca_fingerprint=fingerprint)
    assert decode_claim_code(code) == (secret, fingerprint)
    assert decode_claim_code(code.lower().replace("-", "")) == (secret, fingerprint)


@given(ours.passes())
def test_pass_id_is_list_and_index(claims: Pass):
    number, index = split_pass_id(claims.pass_id)
    assert claims.pass_id == number.to_bytes(2, "big") + index.to_bytes(4, "big")


@pytest.mark.parametrize(("events", "limit"), [(MAX_BATCH_EVENTS, MAX_BATCH_BYTES), (MAX_EVENTS, MAX_UP_BYTES)])
def test_largest_batch_is_within_its_limit(events: int, limit: int):
    largest = bytes(MAX_EVENT_BYTES)
    data = seal_batch(
        device=DeviceId("d" * 32), epoch=bytes(8), first=2**63 - events, events=[largest] * events, signer=DEVICE
    )
    assert limit - MAX_EVENT_BYTES < len(data) <= limit
    assert open_batch(data, DEVICE.public_key).last == 2**63 - 1


def _write_pass(data: bytes) -> bytes:
    return seal_pass(parse_pass(data).unverified, PASS)


def _write_delta(data: bytes) -> bytes:
    return seal_delta(open_delta(data, STATUS.public_key), STATUS)


def _write_batch(data: bytes) -> bytes:
    batch = open_batch(data, DEVICE.public_key)
    return seal_batch(device=batch.device, epoch=batch.epoch, first=batch.first, events=batch.events, signer=DEVICE)


_WRITERS = {
    "pass": _write_pass,
    "status-delta": _write_delta,
    "trust": lambda data: seal_trust(open_trust(data, ROOT.public_key), ROOT),
    "policy": lambda data: seal_policy(open_policy(data, POLICY.public_key), POLICY),
    "roster": lambda data: seal_roster(open_roster(data, POLICY.public_key), POLICY),
    "roster-delta": lambda data: seal_roster_delta(open_roster_delta(data, POLICY.public_key), POLICY),
    "command": lambda data: seal_command(open_command(data, COMMAND.public_key), COMMAND),
    "command-list": lambda data: encode_command_list(parse_command_list(data)),
    "acknowledgement": lambda data: seal_acknowledgement(
        open_acknowledgement(data, ACKNOWLEDGEMENT.public_key), ACKNOWLEDGEMENT
    ),
    "batch": _write_batch,
    "mqtt-reply": lambda data: encode_reply(parse_reply(data)),
    "versions": lambda data: encode_versions(parse_versions(data)),
    "health": lambda data: encode_health(parse_health(data)),
    "event": lambda data: encode_event(parse_event(data)),
    "trust-file": lambda data: encode_pinned(parse_pinned(data)),
    "key": lambda data: encode(parse_key(decode(data, field="key", max_bytes=128), "key").to_cose()),
    "cbor": lambda data: encode(decode(data, field="cbor", max_bytes=1024)),
}


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case['name']}") for name in _WRITERS for case in accepted_cases(name)],
)
def test_what_is_read_is_written_byte_for_byte(name: str, case: Case):
    assert _WRITERS[name](octets(case)) == octets(case)


@pytest.mark.parametrize("case", accepted_cases("presentation"), ids=lambda case: cast("str", case["name"]))
def test_presentation_that_is_read_is_written_byte_for_byte(case: Case):
    read = parse_presented(octets(case))
    if isinstance(read, RotatingPresentation):
        inner = seal_pass(read.signed_pass.unverified, PASS)
        signer: Signer = HOLDER if read.algorithm is HOLDER.public_key.algorithm else HOLDER_ED
        written = seal_presentation(
            inner, signer, issued_at_s=read.issued_at_s, audience=read.audience, nonce=read.nonce
        )
    else:
        written = seal_pass(read.unverified, PASS)
    assert written == octets(case)


@given(ours.values())
def test_no_other_encoding_of_the_same_item_is_read(value: Value):
    data = encode(value)
    assume(len(data) > 1 and data[0] & 0x1F < 24)
    wider = bytes((data[0] & 0xE0 | 24, data[0] & 0x1F)) + data[1:]
    with pytest.raises(WireError):
        decode(wider, field="value", max_bytes=len(wider))
