"""Verify a presentation offline, from files, with the very code that runs at the door.

Invariant: a key or a list counts only once its signature is checked under the pinned root.
Must not: ask a policy or remember presentations; those are a door's, and this answers for every door of a site.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from doorward.errors import CliError, ExitCode
from doorward.files import read_bounded
from edge.core.credential import PresentedCredential, read_code
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.trust import HeldStatus, TrustState
from edge.core.verify import Place, VerifiedCredential, verify
from wire.errors import WireError
from wire.names import ClockState, KeyPurpose
from wire.settings import DoorSettings
from wire.status_list import MAX_TOKEN_BYTES, open_status_list, status_key_id
from wire.trust import MAX_PINNED_BYTES, TrustBundle, parse_pinned

_DOOR: Final = "any"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found.

    Attributes:
        outcome: the verified credential, or the refusal with its step and reason.
        credential: what was read, None when it did not even parse.
    """

    outcome: VerifiedCredential | Denied
    credential: PresentedCredential | None


def check(payload: bytes, trust: TrustState, *, site: str, at_ms: int, settings: DoorSettings) -> Verdict:
    """Run steps 1 to 8 of a tap on what a reader read.

    Args:
        payload: the text form.
        trust: from `load_trust`.
        site: the audience that the presentation must name.
        at_ms: the moment of the tap, Unix milliseconds, taken as exact.
        settings: the staleness rule to apply.
    """
    credential = read_code(payload)
    if isinstance(credential, Denied):
        return Verdict(credential, None)
    now = Instant(wall_ms=at_ms, monotonic_ms=at_ms, clock=ClockState.TRUSTED)
    place = Place(tenant=str(trust.bundle.tenant), site=site, door=_DOOR)
    return Verdict(verify(credential, trust, place, settings, now), credential)


def load_trust(trust: Path, statuses: Iterable[Path]) -> TrustState:
    """Read a trust file and the status lists that belong to it.

    Raises:
        CliError: UNUSABLE when a file cannot be read, is not what it should be, or was not signed as it says.
    """
    data = read_bounded(trust, MAX_PINNED_BYTES)
    try:
        bundle = parse_pinned(data).open()
    except WireError as error:
        raise _not_usable(trust, "trust file", error) from error
    held = {}
    for path in statuses:
        list_id, status = _load_status(path, bundle)
        if list_id in held:
            raise CliError(
                ExitCode.UNUSABLE,
                what=f"{path} is another copy of status list {list_id}",
                remedy="give each list once, the newest copy of it",
            )
        held[list_id] = status
    return TrustState(bundle, held)


def _load_status(path: Path, bundle: TrustBundle) -> tuple[int, HeldStatus]:
    data = read_bounded(path, MAX_TOKEN_BYTES)
    try:
        signer = bundle.find(status_key_id(data), KeyPurpose.STATUS)
        if signer is None:
            raise CliError(
                ExitCode.UNUSABLE,
                what=f"{path} is signed by a key that the trust file does not name",
                remedy=f"fetch a newer trust file, or the status list of the institution {bundle.tenant}",
            )
        status = open_status_list(data, signer.key)
    except WireError as error:
        raise _not_usable(path, "status list", error) from error
    if status.tenant != bundle.tenant:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"{path} is a status list of {status.tenant}, the trust file is of {bundle.tenant}",
            remedy="give the lists of one institution",
        )
    return status.list_id, HeldStatus(
        sequence=status.sequence,
        issued_at_s=status.issued_at_s,
        expires_at_s=status.expires_at_s,
        bits=status.bits,
    )


def _not_usable(path: Path, name: str, error: WireError) -> CliError:
    return CliError(
        ExitCode.UNUSABLE,
        what=f"{path} is not a usable {name} ({error})",
        remedy="fetch it again with: doorward trust export",
    )
