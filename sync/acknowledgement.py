"""Whether an acknowledgement may be believed.

Invariant: an acknowledgement is believed only under a key of purpose ACKNOWLEDGEMENT from the trust bundle, and only
about this journal. That its head is the journal's own is the journal's check.
Must not: read a clock. A door that lost the time learns it from acknowledgements, so that the key's validity is
judged at the instant the acknowledgement itself names.
"""

from sync.ports import Reason, SyncError
from wire.batch import MAX_ACKNOWLEDGEMENT_BYTES, Acknowledgement, open_acknowledgement
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError
from wire.names import DeviceId, KeyPurpose
from wire.trust import TrustBundle, TrustedKey

_ADVICE = (
    "the events are kept and sent again; if it persists, ask the cloud's operator to check the acknowledgement key"
)


def verify_acknowledgement(
    data: bytes, *, trust: TrustBundle | None, device: DeviceId, epoch: bytes, last: int
) -> Acknowledgement:
    """Give what the cloud says it has committed, once every check has passed (docs/spec/sync.md).

    Args:
        data: what the uplink answered.
        trust: the bundle in force.
        device: whose journal it must name.
        epoch: the journal's, 8 bytes.
        last: number of the journal's newest event.

    Raises:
        SyncError: NO_TRUST, or ACKNOWLEDGEMENT_REFUSED.
    """
    if trust is None:
        raise SyncError(
            Reason.NO_TRUST,
            what="there is no trust bundle yet to check the cloud's acknowledgement with",
            remedy="wait until it has been fetched; if it persists, provision the door again",
        )
    try:
        key = _signing_key(data, trust)
        found = open_acknowledgement(data, key.key)
    except WireError as error:
        raise _refused(f"it does not verify ({error})") from error
    if not key.not_before_s * 1000 <= found.issued_at_ms < key.expires_at_s * 1000:
        raise _refused("its key was not valid when it was issued")
    if found.device != device or found.epoch != epoch:
        raise _refused("it is about another journal")
    if found.durable > last:
        raise _refused(f"it names event {found.durable}, which does not exist yet")
    return found


def _signing_key(data: bytes, trust: TrustBundle) -> TrustedKey:
    envelope = parse_envelope(data, field="acknowledgement", max_bytes=MAX_ACKNOWLEDGEMENT_BYTES)
    _, key_id = parse_key_header(envelope.protected, "acknowledgement")
    key = trust.find(key_id, KeyPurpose.ACKNOWLEDGEMENT)
    if key is None:
        raise _refused(f"its key {key_id.hex()} is no acknowledgement key of trust bundle {trust.version}")
    return key


def _refused(why: str) -> SyncError:
    return SyncError(
        Reason.ACKNOWLEDGEMENT_REFUSED, what=f"the cloud's acknowledgement was refused: {why}", remedy=_ADVICE
    )
