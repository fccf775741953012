"""The cloud's answers, read without trust: problem documents and version announcements.

Invariant: any bytes whatsoever give a value or `UplinkError`.
Must not: believe a number to mean more than a hint; only signed documents decide.
"""

import json
from typing import Final, NoReturn

from sync.ports import Reason, UplinkError
from wire.codec import MAX_UINT
from wire.status_list import MAX_LIST_ID
from wire.versions import MAX_STATUS_LISTS, Versions

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Largest JSON answer: the versions of 256 status lists take about 5 kB."""
_MAX_DETAIL: Final = 300
_MAX_DIGITS: Final = 6

_REASONS: Final = {
    "SEQUENCE_GAP": Reason.SEQUENCE_GAP,
    "CHAIN_BROKEN": Reason.CHAIN_BROKEN,
    "EPOCH_CLOSED": Reason.EPOCH_CLOSED,
    "EPOCH_UNEXPECTED": Reason.QUARANTINED,
    "DEVICE_QUARANTINED": Reason.QUARANTINED,
    "DEVICE_CERTIFICATE_REQUIRED": Reason.NOT_ENROLLED,
    "DEVICE_CERTIFICATE_UNKNOWN": Reason.NOT_ENROLLED,
    "DEVICE_REVOKED": Reason.NOT_ENROLLED,
}
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNKNOWN_CALLER: Final = frozenset({401, 403})

_REMEDIES: Final = {
    Reason.SEQUENCE_GAP: "they are sent again from there",
    Reason.CHAIN_BROKEN: (
        "look for a copied memory card: two doors may be writing under one identity; enrol one of them anew, or start"
        " a new journal here (doorward edge new-journal), then have the cloud's operator release this device"
    ),
    Reason.EPOCH_CLOSED: (
        "this device was re-imaged elsewhere; start a new journal here (doorward edge new-journal) or enrol it anew"
    ),
    Reason.QUARANTINED: (
        "ask the cloud's operator to look at this device and release it (doorward cloud devices, doorward cloud"
        " release); it keeps its events and works on"
    ),
    Reason.NOT_ENROLLED: (
        "enrol the door again with a new claim code (doorward provision door); it keeps working offline"
    ),
    Reason.BUSY: "it is tried again by itself",
    Reason.REFUSED: "check that door and cloud run versions that fit; the door keeps working offline",
}


def refuse(status: int, body: bytes, *, retry_after: str | None) -> NoReturn:
    """Raise what a refusal of the cloud means.

    Args:
        status: of HTTP, not a success.
        body: a problem document (RFC 9457), or anything at all.
        retry_after: the header of that name.
    """
    problem = _object(body)
    name, detail = problem.get("reason"), problem.get("detail")
    reason = _REASONS.get(name) if isinstance(name, str) else None
    reason = reason or _by_status(status)
    said = f": {_printable(detail).removesuffix('.')}" if isinstance(detail, str) and detail else ""
    raise UplinkError(
        reason,
        what=f"the cloud answered {status}{said}",
        remedy=_REMEDIES[reason],
        retry_after_s=_seconds(retry_after),
        durable=_count(problem.get("durable")),
    )


def parse_versions(body: bytes) -> Versions:
    """Read {"trust": 12, "policy": 17, "status": {"0": 881}, "roster": 9, "commands": 3}; the last two may be absent.

    Raises:
        UplinkError: UNREADABLE for anything else.
    """
    found = _object(body)
    trust, policy, status = _count(found.get("trust")), _count(found.get("policy")), found.get("status")
    roster, commands = _count(found.get("roster", 0)), _count(found.get("commands", 0))
    if trust is None or policy is None or not isinstance(status, dict) or len(status) > MAX_STATUS_LISTS:
        raise unreadable("a version announcement without trust, policy and status")
    if roster is None:
        raise unreadable("a version announcement with a roster that has no version")
    if commands is None:
        raise unreadable("a version announcement with commands that have no counter")
    lists: dict[int, int] = {}
    for name, value in status.items():
        sequence = _count(value)
        number = _decimal(name)
        if sequence is None or number is None or number > MAX_LIST_ID:
            raise unreadable("a version announcement with a status list that has no number")
        lists[number] = sequence
    return Versions(trust, policy, lists, roster, commands)


def unreadable(what: str) -> UplinkError:
    """Make the error for an answer that is not what the protocol says."""
    return UplinkError(
        Reason.UNREADABLE,
        what=f"the cloud answered with {what}",
        remedy="check that the address is the cloud's device listener and that no proxy answers in its place",
    )


def _by_status(status: int) -> Reason:
    if status in _UNKNOWN_CALLER:
        return Reason.NOT_ENROLLED
    return Reason.BUSY if status in _BUSY else Reason.REFUSED


def _object(body: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_UINT else None


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_DETAIL])


def _seconds(header: str | None) -> float | None:
    """Read Retry-After in seconds; its other form, a date, needs a clock that is right (RFC 9110 §10.2.3)."""
    return None if header is None else _decimal(header)


def _decimal(text: str) -> int | None:
    usable = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if usable else None
