"""Which acknowledgements a door believes."""

from __future__ import annotations

import pytest

from sync.acknowledgement import verify_acknowledgement
from sync.ports import Reason, SyncError
from tests.support.door_journal import DEVICE, EPOCH
from tests.support.peer_cloud import NOW_S, PeerCloud, signer, trusted
from wire.batch import Acknowledgement
from wire.names import DeviceId, KeyPurpose
from wire.trust import TrustBundle


def check(data: bytes, trust: TrustBundle | None, last: int = 0) -> Acknowledgement:
    return verify_acknowledgement(data, trust=trust, device=DEVICE, epoch=EPOCH, last=last)


def refusal(data: bytes, trust: TrustBundle | None, last: int = 0) -> SyncError:
    with pytest.raises(SyncError) as caught:
        check(data, trust, last)
    return caught.value


def with_key(*, starts_s: int, ends_s: int) -> TrustBundle:
    key = trusted(signer(5), KeyPurpose.ACKNOWLEDGEMENT, starts_s=starts_s, ends_s=ends_s)
    return TrustBundle(tenant=PeerCloud().trust.tenant, version=2, issued_at_s=NOW_S, keys=(key,))


def test_a_true_acknowledgement_is_believed():
    cloud = PeerCloud()
    assert check(cloud.acknowledgement(EPOCH), cloud.trust).durable == 0


def test_nothing_is_believed_without_a_trust_bundle():
    assert refusal(PeerCloud().acknowledgement(EPOCH), None).reason is Reason.NO_TRUST


def test_a_key_that_is_not_in_the_bundle_is_not_believed():
    cloud = PeerCloud()
    error = refusal(cloud.acknowledgement(EPOCH, signer=signer(99)), cloud.trust)
    assert error.reason is Reason.ACKNOWLEDGEMENT_REFUSED


def test_a_key_of_another_purpose_is_not_believed():
    cloud = PeerCloud()
    error = refusal(cloud.acknowledgement(EPOCH, signer=cloud.status_key), cloud.trust)
    assert error.reason is Reason.ACKNOWLEDGEMENT_REFUSED


def test_a_changed_acknowledgement_is_not_believed():
    cloud = PeerCloud()
    data = cloud.acknowledgement(EPOCH)
    error = refusal(data[:-1] + bytes((data[-1] ^ 1,)), cloud.trust)
    assert error.reason is Reason.ACKNOWLEDGEMENT_REFUSED


@pytest.mark.parametrize("data", [b"", b"\x00", b"{}", b"\xd2\x84", bytes(513)])
def test_what_is_no_acknowledgement_is_not_believed(data: bytes):
    assert refusal(data, PeerCloud().trust).reason is Reason.ACKNOWLEDGEMENT_REFUSED


@pytest.mark.parametrize(
    "changes", [{"device": DeviceId("back-door-1111")}, {"epoch": b"\xff" * 8}], ids=["device", "epoch"]
)
def test_an_acknowledgement_of_another_journal_is_not_believed(changes: dict[str, object]):
    cloud = PeerCloud()
    error = refusal(cloud.acknowledgement(EPOCH, **changes), cloud.trust)
    assert "another journal" in str(error)


def test_an_event_that_does_not_exist_cannot_be_acknowledged():
    cloud = PeerCloud()
    data = cloud.acknowledgement(EPOCH, durable=6, head=b"\x01" * 32)
    assert check(data, cloud.trust, last=6).durable == 6
    assert refusal(data, cloud.trust, last=5).reason is Reason.ACKNOWLEDGEMENT_REFUSED


@pytest.mark.parametrize(
    ("issued_at_ms", "believed"),
    [
        (NOW_S * 1000 - 1, False),
        (NOW_S * 1000, True),
        ((NOW_S + 10) * 1000 - 1, True),
        ((NOW_S + 10) * 1000, False),
    ],
)
def test_the_key_must_be_valid_when_the_acknowledgement_was_issued(issued_at_ms: int, *, believed: bool):
    trust = with_key(starts_s=NOW_S, ends_s=NOW_S + 10)
    data = PeerCloud().acknowledgement(EPOCH, issued_at_ms=issued_at_ms)
    if believed:
        assert check(data, trust).issued_at_ms == issued_at_ms
    else:
        assert "not valid when" in str(refusal(data, trust))
