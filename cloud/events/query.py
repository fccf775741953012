"""Ask for events: filtered, in a stable order, page by page.

Invariant: the order is (at, device, epoch, number), which no later event changes; a page after a cursor holds what
comes after it in that order.
Must not: read more rows than a page needs, or believe anything in a cursor.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, cast

import asyncpg

from cloud.database import Pool
from cloud.errors import CloudError, Reason
from cloud.events.models import AccessEvent, Events
from wire.codec import Value, array, decode, encode, octets, text, uint
from wire.errors import WireError
from wire.event import FIELD_NAMES, event_values
from wire.names import Assurance, ClockState, EventKind, Step, Tenant
from wire.names import Reason as Denial

QUERY_S: Final = 10.0
_MAX_CURSOR_CHARACTERS: Final = 160
_MAX_CURSOR_BYTES: Final = 120
_PARTS: Final = 4
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to show; None does not filter. `since` is included, `until` is not."""

    door: str | None = None
    kind: EventKind | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_events(pool: Pool, tenant: Tenant, wanted: Filter, *, after: str | None, limit: int) -> Events:
    """Give one page, oldest first.

    Raises:
        CloudError: QUERY_INVALID for a cursor that is not ours.
    """
    conditions, values = _conditions(tenant, wanted)
    if after is not None:
        at, device, epoch, seq = read_cursor(after)
        values += [at, device, epoch, seq]
        first = len(values) - 3
        # The first condition says what the second implies, in words that an index understands.
        conditions.append(f"at >= ${first}")
        conditions.append(f"(at, device_id, epoch, seq) > (${first}, ${first + 1}, ${first + 2}, ${first + 3})")
    rows = await pool.fetch(
        f"SELECT device_id, epoch, seq, at, received_at, raw FROM events WHERE {' AND '.join(conditions)}"  # noqa: S608 - fixed words and numbered parameters
        f" ORDER BY at, device_id, epoch, seq LIMIT ${len(values) + 1}",
        *values,
        limit + 1,
        timeout=QUERY_S,
    )
    page = rows[:limit]
    return Events(data=[to_event(row) for row in page], next=write_cursor(page[-1]) if len(rows) > limit else None)


def _conditions(tenant: Tenant, wanted: Filter) -> tuple[list[str], list[object]]:
    values: list[object] = [tenant]
    conditions = ["tenant_id = $1"]
    for column, value in (
        ("door_id =", wanted.door),
        ("kind =", wanted.kind),
        ("at >=", wanted.since),
        ("at <", wanted.until),
    ):
        if value is not None:
            values.append(int(value) if isinstance(value, IntEnum) else value)
            conditions.append(f"{column} ${len(values)}")
    return conditions, values


def write_cursor(row: asyncpg.Record) -> str:
    """Write the place of a row in the order."""
    at_us = (row["at"] - _EPOCH) // _US
    return base64.urlsafe_b64encode(encode([at_us, row["device_id"], row["epoch"], row["seq"]])).rstrip(b"=").decode()


def read_cursor(cursor: str) -> tuple[datetime, str, bytes, int]:
    """Read a place.

    Raises:
        CloudError: QUERY_INVALID.
    """
    try:
        if len(cursor) > _MAX_CURSOR_CHARACTERS:
            raise _no_cursor()
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = array(decode(data, field="cursor", max_bytes=_MAX_CURSOR_BYTES), "cursor", _PARTS)
        if len(parts) != _PARTS:
            raise _no_cursor()
        at = _EPOCH + timedelta(microseconds=uint(parts[0], "at"))
        return at, text(parts[1], "device", 32), octets(parts[2], "epoch", 8, 8), uint(parts[3], "seq")
    except (binascii.Error, ValueError, OverflowError, WireError) as error:
        raise _no_cursor() from error


def to_event(row: asyncpg.Record) -> AccessEvent:
    """Read a stored event for people: names instead of numbers."""
    raw: bytes = row["raw"]
    values = dict(zip(FIELD_NAMES, event_values(raw), strict=True))
    return AccessEvent(
        device=row["device_id"],
        epoch=row["epoch"].hex(),
        seq=row["seq"],
        at=row["at"],
        received_at=row["received_at"],
        wall_ms=_int(values, "wall_ms"),
        monotonic_ms=_int(values, "monotonic_ms"),
        boot=_int(values, "boot"),
        clock=_required(ClockState, values["clock"]),
        door=_text(values, "door"),
        access_point=_text(values, "access_point"),
        kind=_required(EventKind, values["kind"]),
        step=_name(Step, values["step"]),
        reason=_name(Denial, values["reason"]),
        granted=cast("bool | None", values["granted"]),
        pass_id=_hex(values["credential"]),
        assurance=_name(Assurance, values["assurance"]),
        reader=cast("str | None", values["reader"]),
        rule=cast("str | None", values["rule"]),
        policy_version=_int(values, "policy_version"),
        trust_version=_int(values, "trust_version"),
        status_sequence=cast("int | None", values["status_sequence"]),
        status_age_s=cast("int | None", values["status_age_s"]),
        elapsed_us=cast("int | None", values["elapsed_us"]),
        count=cast("int | None", values["count"]),
        prev=cast("bytes", values["prev"]).hex(),
        hash=hashlib.sha256(raw).hexdigest(),
    )


def _int(values: Mapping[str, Value], name: str) -> int:
    return cast("int", values[name])


def _text(values: Mapping[str, Value], name: str) -> str:
    return cast("str", values[name])


def _hex(value: Value) -> str | None:
    return None if value is None else cast("bytes", value).hex()


def _name(kind: type[IntEnum], value: Value) -> str | None:
    return None if value is None else _required(kind, value)


def _required(kind: type[IntEnum], value: Value) -> str:
    """Name a number; one that only newer doors know keeps its number."""
    number = cast("int", value)
    known = {int(item): item.name.lower() for item in kind}
    return known.get(number, f"unknown_{number}")


def _no_cursor() -> CloudError:
    return CloudError(Reason.QUERY_INVALID, "after: this is not a cursor of ours; pass `next` of the page before.")
