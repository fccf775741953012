"""Policy files for a command: the operators' JSON document, or the signed bundle that a door holds.

Invariant: a signed bundle is read for comparing only; nobody checks its signature here, and nothing is let in by it.
"""

from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from doorward.errors import CliError, ExitCode
from doorward.files import read_bounded
from edge.core.policy import PolicyState
from wire.errors import WireError
from wire.names import DoorId, Tenant
from wire.policy import MAX_POLICY_BYTES, PolicyBundle, unverified_policy

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
"""JSON takes several times the room of the bundle made from it."""


def load_policies(old: Path, new: Path, timezone: str | None) -> tuple[PolicyState, PolicyState]:
    """Read two policy files.

    Args:
        old: a JSON document (its name ends in .json) or a signed bundle.
        new: the same.
        timezone: of JSON documents; None to take that of the signed bundle beside it.

    Raises:
        CliError: UNUSABLE, one cannot be read, or nobody says the time zone; MISSING_PART for a JSON document.
    """
    signed = {path: _signed(path) for path in (old, new) if path.suffix != ".json"}
    zone = timezone or next((bundle.timezone for bundle in signed.values()), None)
    found = [signed[path] if path in signed else _document(path, zone) for path in (old, new)]
    first, second = (PolicyState(bundle, _zone(bundle.timezone)) for bundle in found)
    return first, second


def _signed(path: Path) -> PolicyBundle:
    try:
        return unverified_policy(read_bounded(path, MAX_POLICY_BYTES))
    except WireError as error:
        raise _unusable(
            path, str(error), "name a signed bundle, or a JSON document whose name ends in .json"
        ) from error


def _document(path: Path, timezone: str | None) -> PolicyBundle:
    """Translate the operators' document as the cloud does."""
    data = read_bounded(path, MAX_DOCUMENT_BYTES)
    if timezone is None:
        raise _unusable(path, "a JSON document says no time zone", "add --timezone, such as --timezone Europe/Vienna")
    try:
        import msgspec  # noqa: PLC0415 - a part that a door does not have

        from cloud.errors import CloudError  # noqa: PLC0415 - the same
        from cloud.issuing.policy_bundle import to_bundle  # noqa: PLC0415 - the same
        from cloud.issuing.policy_models import PolicyDocument  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise CliError(
            ExitCode.MISSING_PART,
            what=f"{path} is a JSON document, and this installation lacks the part 'cloud' that reads it",
            remedy="install it with: pip install 'doorward[cloud]', or name a signed bundle",
        ) from error
    try:
        plain = msgspec.json.decode(data)
        stored = plain["policy"] if isinstance(plain, dict) and "policy" in plain else plain  # as the API shows it
        document = msgspec.convert(stored, PolicyDocument)
        return to_bundle(
            document, tenant=Tenant("any"), door=DoorId("any"), timezone=timezone, version=1, issued_at_s=0
        )
    except (msgspec.DecodeError, CloudError) as error:
        raise _unusable(path, str(error), "correct it; docs/spec/policy.md says what a policy holds") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise CliError(
            ExitCode.UNUSABLE, what=f"this machine knows no time zone {name}", remedy="name one such as Europe/Vienna"
        ) from error


def _unusable(path: Path, why: str, remedy: str) -> CliError:
    return CliError(ExitCode.UNUSABLE, what=f"{path} is not a usable policy ({why})", remedy=remedy)
