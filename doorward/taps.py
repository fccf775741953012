"""Taps as they were decided, with what policy needs to know of the credential: one JSON object a line.

Invariant: what is written reads back equal; a tap whose credential policy was not asked about has no facts.
Must not: decide anything.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, TypeVar

from doorward.output import Json, rfc3339
from doorward.recordings import Recorded, Span
from doorward.records import flag_names
from edge.core.admission import identify
from edge.core.tap import Tap
from edge.core.verify import VerifiedCredential
from edge.rerun import Pair, Remade
from wire.codec import MAX_TIME_MS
from wire.event import Event
from wire.names import Assurance, ClockState, PassFlags, PassKind, Reason, Step

MAX_LINE_BYTES: Final = 16 * 1024
"""A pass with the most access levels that one may have takes less than 2 KiB."""

_E = TypeVar("_E", bound=IntEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What policy is told of a verified credential.

    Attributes:
        holder: the same for every pass of one phone, at most 8 bytes; pin: whether this holder has one.
    """

    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    assurance: Assurance
    holder: bytes
    pin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedTap:
    """One tap and its decision.

    Attributes:
        seq: the number of the event in the journal; at_ms: when, Unix milliseconds, by a clock in that state.
        rule: what admitted, None for a denial; step, reason: where and why it was denied.
        facts: None when it was denied before policy was asked.
    """

    seq: int
    at_ms: int
    clock: ClockState
    reader: str
    granted: bool
    step: Step | None
    reason: Reason | None
    rule: str | None
    credential: bytes | None
    facts: Facts | None


class TapError(Exception):
    """A line that is no tap."""


def decided_taps(recorded: Recorded, span: Span, progress: Callable[[int], None]) -> Iterator[DecidedTap]:
    """Give the taps of a range that were decided one by one, as the journal has them; raises as `Recorded.steps`.

    Who waited for a PIN or for others was decided by a later input; what is known of a credential is kept until then.
    """
    known: dict[bytes, _Presented] = {}
    for step in recorded.steps(span, progress):
        if not isinstance(step, Remade):
            continue
        shown = _look_at(step)
        if shown is not None and shown.verified is not None:
            known[shown.verified.credential] = shown
        for pair in step.pairs:
            event = None if pair.row is None else pair.row.event
            if pair.seq in span and event is not None and event.granted is not None:
                yield _tap(pair, event, known.get(event.credential or b"", shown))


@dataclass(frozen=True, slots=True)
class _Presented:
    """What was presented where; `verified` is None for what did not hold."""

    reader: str
    verified: VerifiedCredential | None


def _look_at(step: Remade) -> _Presented | None:
    if not isinstance(step.event, Tap):
        return None
    presentation = step.event.presentation
    found = identify(step.before, presentation, step.now)
    return _Presented(presentation.reader, found if isinstance(found, VerifiedCredential) else None)


def _tap(pair: Pair, event: Event, shown: _Presented | None) -> DecidedTap:
    asked = event.granted or (event.step is not None and event.step >= Step.DOOR_MODE)
    verified = shown.verified if shown is not None and asked else None
    return DecidedTap(
        seq=pair.seq,
        at_ms=event.wall_ms,
        clock=event.clock,
        reader=event.reader or "",
        granted=bool(event.granted),
        step=event.step,
        reason=event.reason,
        rule=event.rule,
        credential=event.credential,
        facts=None if verified is None else _facts(verified),
    )


def _facts(verified: VerifiedCredential) -> Facts:
    return Facts(
        kind=verified.kind,
        flags=verified.flags,
        access_levels=verified.access_levels,
        assurance=verified.assurance,
        holder=verified.holder,
        pin=verified.pin is not None,
    )


# --- as a line -------------------------------------------------------------------------------------------------


def tap_record(tap: DecidedTap) -> dict[str, Json]:
    """Give a tap as JSON."""
    return {
        "seq": tap.seq,
        "at": rfc3339(tap.at_ms),
        "clock": tap.clock.name,
        "reader": tap.reader,
        "granted": tap.granted,
        "step": None if tap.step is None else int(tap.step),
        "reason": None if tap.reason is None else tap.reason.name,
        "rule": tap.rule,
        "credential": None if tap.credential is None else tap.credential.hex(),
        "facts": None if tap.facts is None else _facts_record(tap.facts),
    }


def _facts_record(facts: Facts) -> dict[str, Json]:
    return {
        "kind": facts.kind.name.lower(),
        "flags": flag_names(facts.flags),
        "access_levels": list(facts.access_levels),
        "assurance": int(facts.assurance),
        "holder": facts.holder.hex(),
        "pin": facts.pin,
    }


def parse_tap(line: bytes) -> DecidedTap:
    """Read a line.

    Raises:
        TapError: it is no tap.
    """
    if len(line) > MAX_LINE_BYTES:
        raise TapError(f"it has more than {MAX_LINE_BYTES} bytes")
    try:
        return _parse(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise TapError(f"it is no tap as `doorward diag taps --json` writes it ({error})") from error


def _parse(record: dict[str, Any]) -> DecidedTap:
    moment = datetime.fromisoformat(record["at"])
    at_ms = round(moment.timestamp() * 1000)
    if moment.tzinfo is None or not 0 <= at_ms <= MAX_TIME_MS:
        raise ValueError(record["at"])
    granted, rule, reason, credential, facts = (
        record[name] for name in ("granted", "rule", "reason", "credential", "facts")
    )
    if type(granted) is not bool or not isinstance(rule, str | None):
        raise TypeError(rule)
    return DecidedTap(
        seq=int(record["seq"]),
        at_ms=at_ms,
        clock=_named(ClockState, record["clock"]),
        reader=str(record["reader"]),
        granted=granted,
        step=None if record["step"] is None else Step(record["step"]),
        reason=None if reason is None else _named(Reason, reason),
        rule=rule,
        credential=None if credential is None else bytes.fromhex(credential),
        facts=None if facts is None else _parse_facts(facts),
    )


def _parse_facts(record: dict[str, Any]) -> Facts:
    flags = PassFlags.NONE
    for name in record["flags"]:
        flags |= PassFlags[name.upper()]
    levels = record["access_levels"]
    if not all(type(level) is int for level in levels) or type(record["pin"]) is not bool:
        raise TypeError(levels)
    return Facts(
        kind=_named(PassKind, record["kind"].upper()),
        flags=flags,
        access_levels=tuple(levels),
        assurance=Assurance(record["assurance"]),
        holder=bytes.fromhex(record["holder"]),
        pin=record["pin"],
    )


def _named(kind: type[_E], name: str) -> _E:
    return kind[name]
