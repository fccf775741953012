"""`doorward cloud devices`."""

from enum import Enum, unique
from typing import Annotated, Any, Final

import typer

from doorward.api import CloudApi, CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.output import JsonOption, Output, Style, local_instant, table

EXAMPLES: Final = """
Examples:
  doorward cloud devices --tenant north-campus
  doorward cloud devices --tenant north-campus --status error
  doorward cloud devices --tenant north-campus --behind
  doorward cloud devices --tenant north-campus --json

Status: online; offline (silent for three minutes); error (something is broken at the door, or the device is in
quarantine); maintenance; revoked. Durable: the number of the newest event that the cloud has stored. Waiting: events
that the door has and the cloud has not acknowledged, as of its newest report; way: how they travel, mqtt or https. With
--json, `mark` is the durable number, and `versions` are the documents in force at the door, by its newest report.

Quarantine: since when nothing of the device is stored, and why (docs/operations.md says what to look for):
CHAIN_BROKEN, other events came under stored numbers; EPOCH_CLOSED, a journal writes that was replaced;
EPOCH_UNEXPECTED, a further journal that nobody has accepted.
"""

_PAGE: Final = 100
_MOST_PAGES: Final = 1_000


@unique
class Status(Enum):
    """The words of the cloud."""

    ONLINE = "online"
    OFFLINE = "offline"
    ERROR = "error"
    MAINTENANCE = "maintenance"
    REVOKED = "revoked"


def run(
    *,
    tenant: Institution,
    status: Annotated[
        Status | None, typer.Option("--status", help="Only devices with this status.", show_choices=True)
    ] = None,
    behind: Annotated[bool, typer.Option("--behind", help="Only devices whose events wait.")] = False,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """List an institution's devices.

    Shows how each is, what it runs, which way its events travel, how many are durable in the cloud and how many wait,
    and what is wrong with it.
    """
    out = Output(json_lines=json_lines)
    with connect(url=cloud, token_file=token_file, state=state) as api:
        devices = [each for each in _all_devices(api, tenant, status) if not behind or _waiting(each)]
    for each in devices if json_lines else ():
        out.result(_record(each))
    header = ("DEVICE", "DOOR", "STATUS", "SOFTWARE", "WAY", "DURABLE", "WAITING", "LAST SEEN", "CERTIFICATE UNTIL")
    out.say(*table(header, [_row(each) for each in devices]))
    wrong = [(each["id"], sentence) for each in devices for sentence in _faults(each)]
    if wrong:
        out.say("", *(out.paint(f"{device}: {sentence}", Style.CAUTION) for device, sentence in wrong))
    held = sum(each["quarantine"] is not None for each in devices)
    if held:
        out.say("", out.paint(f"In quarantine: {held}. See: doorward cloud release --help", Style.CAUTION))


def _all_devices(api: CloudApi, tenant: str, status: Status | None) -> list[Any]:
    found: list[Any] = []
    wanted = {} if status is None else {"status": status.value}
    for page in range(1, _MOST_PAGES + 1):
        answer = api.get("institutions", tenant, "devices", page=page, limit=_PAGE, **wanted)
        found += answer["data"]
        if len(answer["data"]) < _PAGE:
            break
    return found


def _waiting(device: Any) -> int:  # noqa: ANN401 - JSON of the cloud
    """Give how many events waited at the device's newest report; none for one that has not reported."""
    return int(device["report"]["queued"]) if device["report"] else 0


def _record(device: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of the cloud
    report = device["report"] or {}
    return {
        "id": device["id"],
        "door": device["door"],
        "status": device["status"],
        "last_seen": device["lastSeen"],
        "software": (device["firmware"] or {}).get("version"),
        "way": report.get("way"),
        "queued": report.get("queued"),
        "faults": report.get("faults", []),
        "certificate_until": device["certificate"]["notAfter"],
        "epoch": device["epoch"],
        "mark": device["mark"],
        "versions": report.get("versions"),
        "backed_up": device["backedUp"],
        "quarantine": device["quarantine"],
        "accepted_epoch": device["acceptedEpoch"],
    }


def _row(device: Any) -> tuple[str, ...]:  # noqa: ANN401 - as above
    report = device["report"]
    return (
        device["id"],
        device["door"],
        device["status"],
        device["firmware"]["version"] if device["firmware"] else "-",
        report["way"] if report else "-",
        str(device["mark"]),
        str(report["queued"]) if report else "-",
        local_instant(device["lastSeen"]) if device["lastSeen"] else "never",
        local_instant(device["certificate"]["notAfter"]),
    )


def _faults(device: Any) -> list[str]:  # noqa: ANN401 - as above
    held, report = device["quarantine"], device["report"]
    found = list(report["faults"]) if report else []
    if held is not None:
        found.append(f"in quarantine since {local_instant(held['since'])}: {held['reason']}, journal {held['epoch']}")
    return found
