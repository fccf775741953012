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
from edge.core.credential import Presentation, read_credential
from edge.core.effects import Denied
from edge.core.tap import Tap
from edge.rerun import Pair, Remade
from wire.codec import MAX_TIME_MS
from wire.event import Event
from wire.names import Assurance, ClockState, PassFlags, PassKind, Reason, Step

MAX_LINE_BYTES: Final = 16 * 1024
"""A pass with the most access levels that one may have takes less than 2 KiB."""

_E = TypeVar("_E", bound=IntEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What policy is told of a verified credential."""

    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    assurance: Assurance


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
    """Give the taps of a range that were decided one by one, as the journal has them; raises as `Recorded.steps`."""
    for step in recorded.steps(span, progress):
        if isinstance(step, Remade) and isinstance(step.event, Tap):
            for pair in step.pairs:
                event = None if pair.row is None else pair.row.event
                if pair.seq in span and event is not None and event.granted is not None:
                    yield _tap(pair, event, step.event.presentation)


def _tap(pair: Pair, event: Event, presentation: Presentation) -> DecidedTap:
    asked = event.granted or (event.step is not None and event.step >= Step.DOOR_MODE)
    return DecidedTap(
        seq=pair.seq,
        at_ms=event.wall_ms,
        clock=event.clock,
        reader=presentation.reader,
        granted=bool(event.granted),
        step=event.step,
        reason=event.reason,
        rule=event.rule,
        credential=event.credential,
        facts=_facts(presentation) if asked else None,
    )


def _facts(presentation: Presentation) -> Facts | None:
    """Read what a credential says of itself; that it was verified is known from how far its tap came."""
    credential = read_credential(presentation.payload)
    if isinstance(credential, Denied):
        return None
    claims = credential.signed_pass.unverified
    return Facts(
        kind=claims.kind, flags=claims.flags, access_levels=claims.access_levels, assurance=credential.assurance
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
    if not all(type(level) is int for level in levels):
        raise TypeError(levels)
    return Facts(
        kind=_named(PassKind, record["kind"].upper()),
        flags=flags,
        access_levels=tuple(levels),
        assurance=Assurance(record["assurance"]),
    )


def _named(kind: type[_E], name: str) -> _E:
    return kind[name]
