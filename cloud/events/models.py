"""Messages about events."""

from datetime import datetime

import msgspec


class AccessEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event of a door's journal, with the names of docs/spec/event.md.

    `at` is the event's own time when that is plausible, else when it was received; `wallMs` is what the door's clock
    showed. `passId` is a pass id or another credential's pseudonym. `hash` is what the next event names as `prev`.
    """

    device: str
    epoch: str
    seq: int
    at: datetime
    received_at: datetime
    wall_ms: int
    monotonic_ms: int
    boot: int
    clock: str
    door: str
    access_point: str
    kind: str
    step: str | None
    reason: str | None
    granted: bool | None
    pass_id: str | None
    assurance: str | None
    reader: str | None
    rule: str | None
    policy_version: int
    trust_version: int
    status_sequence: int | None
    status_age_s: int | None
    elapsed_us: int | None
    count: int | None
    prev: str
    hash: str


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events; `next` is the cursor of the page after, null on the last."""

    data: list[AccessEvent]
    next: str | None


class ClosedChain(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An earlier journal of a re-imaged device."""

    epoch: str
    ok: bool
    events: int
    last: int
    broken_at: int | None


class ChainReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a check of every stored event of a device found.

    `ok` speaks for all its journals; the other members for the open one. `brokenAt` is the first number whose event is
    missing, altered, out of place or not the one that was acknowledged. `head` is the hash of the last good event.
    """

    ok: bool
    epoch: str | None
    events: int
    first: int
    last: int
    head: str
    broken_at: int | None
    closed: list[ClosedChain]
