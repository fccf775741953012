"""Batches by themselves: signature, owner, chain, times; without a database."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.guard import DeviceIdentity
from cloud.errors import CloudError, Reason
from cloud.events.reading import FUTURE, PAST, ReadBatch, read_batch
from cloud.events.rows import DAY_US, PARTS_A_ROW, to_postgres_us
from tests.support.door_batches import EPOCH, NOW_MS, Journal
from wire.batch import MAX_BATCH_BYTES, seal_batch
from wire.event import CHAIN_START
from wire.keys import P256Signer
from wire.names import DeviceId, DoorId, EventKind, Tenant

_SIGNER = P256Signer(ec.generate_private_key(ec.SECP256R1()))
_OTHER = P256Signer(ec.generate_private_key(ec.SECP256R1()))
_MS = timedelta(milliseconds=1)
_WHO = DeviceIdentity(Tenant("north"), DoorId("main-entrance"), DeviceId("door-1"), _SIGNER.public_key, bytes(32))


def journal(
    count: int = 10, *, device: str = "door-1", start_ms: int = NOW_MS, signer: P256Signer = _SIGNER
) -> Journal:
    made = Journal(DeviceId(device), signer, start_ms=start_ms)
    made.grow(count)
    return made


def read(body: bytes, *, now_ms: int = NOW_MS) -> ReadBatch:
    return read_batch(body, _WHO, now_ms=now_ms)


def refusal(body: bytes) -> Reason:
    with pytest.raises(CloudError) as caught:
        read(body)
    return caught.value.reason


def sealed(events: list[bytes], *, first: int = 1, device: str = "door-1") -> bytes:
    return seal_batch(device=DeviceId(device), epoch=EPOCH, first=first, events=events, signer=_SIGNER)


def test_a_batch_is_read_with_one_row_an_event():
    made = journal()
    batch = read(made.batch(3, 10))
    assert (batch.tenant, batch.device, batch.epoch) == ("north", "door-1", EPOCH)
    assert (batch.first, batch.last, batch.prev, batch.head) == (3, 10, made.head_at(2), made.head)
    assert len(batch.parts) == 8 * PARTS_A_ROW
    assert list(batch.events) == made.events[2:]


def test_the_first_batch_of_a_journal_starts_its_chain():
    assert read(journal().batch(1, 2)).prev == CHAIN_START


def test_a_batch_signed_by_another_key_is_refused():
    assert refusal(journal(signer=_OTHER).batch(1, 10)) is Reason.BATCH_SIGNATURE_INVALID


def test_a_batch_whose_bytes_were_changed_is_refused():
    body = bytearray(journal().batch(1, 10))
    body[-100] ^= 1
    assert refusal(bytes(body)) is Reason.BATCH_SIGNATURE_INVALID


def test_a_batch_of_another_device_is_refused():
    assert refusal(sealed(journal().events, device="door-2")) is Reason.BATCH_FOREIGN


def test_a_batch_that_holds_an_event_of_another_device_is_refused():
    assert refusal(sealed(journal(device="door-2").events)) is Reason.BATCH_FOREIGN


def test_an_event_with_another_number_than_its_place_is_refused():
    assert refusal(sealed(journal().events, first=2)) is Reason.BATCH_INVALID


def test_an_event_that_does_not_follow_from_the_one_before_is_told():
    made = journal(3)
    other = made.branched(2)
    other.grow(2, kind=EventKind.ACCESS_DENIED)
    found = read_batch(sealed([made.events[0], made.events[1], other.events[2]]), _WHO, now_ms=NOW_MS)
    assert found.broken_at == 3


def test_an_event_that_is_no_event_is_refused():
    assert refusal(sealed([b"\xa0"])) is Reason.BATCH_INVALID


def test_a_batch_longer_than_any_may_be_is_refused():
    assert refusal(b"\xd2" + bytes(MAX_BATCH_BYTES)) is Reason.BATCH_INVALID


@given(st.binary(max_size=400))
def test_garbage_is_refused_as_unreadable(body: bytes):
    assert refusal(body) in {Reason.BATCH_INVALID, Reason.BATCH_SIGNATURE_INVALID}


_VALID = journal(4).batch(1, 4)


@given(st.integers(0, len(_VALID) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_through(place: int, flip: int):
    body = bytearray(_VALID)
    body[place] ^= flip
    assert refusal(bytes(body)) in {Reason.BATCH_INVALID, Reason.BATCH_SIGNATURE_INVALID}


def filed_under(wall_ms: int) -> set[int]:
    made = Journal(DeviceId("door-1"), _SIGNER, start_ms=wall_ms - 1000)
    made.grow(1)
    return set(read(made.batch(1, 1)).days)


def day(unix_ms: int) -> int:
    return to_postgres_us(unix_ms) // DAY_US


@pytest.mark.parametrize("wall_ms", [NOW_MS, NOW_MS - PAST // _MS, NOW_MS + FUTURE // _MS])
def test_an_event_of_a_plausible_time_is_filed_under_its_own_day(wall_ms: int):
    assert filed_under(wall_ms) == {day(wall_ms)}


@pytest.mark.parametrize("wall_ms", [1_000, NOW_MS - PAST // _MS - 1, NOW_MS + FUTURE // _MS + 1, 250_000_000_000_000])
def test_an_event_of_an_implausible_time_is_filed_under_the_day_of_receipt(wall_ms: int):
    assert filed_under(wall_ms) == {day(NOW_MS)}


def test_the_head_is_the_hash_of_the_last_event():
    made = journal(5)
    assert read(made.batch(1, 5)).head == hashlib.sha256(made.events[-1]).digest()
