"""Running recorded inputs through the core again, and holding what it decides against the journal (docs/replay.md).

Invariant: a segment begins with its own checkpoint, so that one difference does not spread beyond its segment.
Must not: ask a clock, or the world; what is not recorded does not exist here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Final, TypeAlias

from edge.core.effects import Effect, EventDraft, Journaling
from edge.core.instant import Instant
from edge.core.tap import Input, State, handle
from edge.recording import RecordingReader
from edge.recording_tables import BOOT_SHIFT, Segment
from wire.errors import WireError
from wire.event import Event, chain_hash, parse_event

_COMPARED: Final = tuple(each.name for each in fields(EventDraft) if each.name not in ("at", "elapsed_us"))
"""All that the core says of an event; how long the shell took is not the core's."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the journal; `event` is None when its bytes are no event."""

    seq: int
    data: bytes
    event: Event | None


@dataclass(frozen=True, slots=True)
class Pair:
    """What was made again, and what the journal holds in its place.

    Attributes:
        seq: the place in the journal.
        draft: None when nothing was made for the row; row: None when the journal holds nothing for the draft.
        comparable: False when the journal has dropped that row.
    """

    seq: int
    draft: EventDraft | None
    row: Row | None
    comparable: bool = True


@dataclass(frozen=True, slots=True)
class Remade:
    """One input that was run again, from the state before it."""

    event: Input
    now: Instant
    pairs: tuple[Pair, ...]
    before: State


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """What is left after the last input of a segment.

    Attributes:
        pairs: rows that no input caused again.
        state_differs: the state that was come to is not that of the next checkpoint.
        unrecorded: the numbers of the rows that follow and whose inputs were not recorded.
        unchained: the numbers of rows that do not carry the hash of the row before.
    """

    pairs: tuple[Pair, ...]
    state_differs: bool
    unrecorded: range
    unchained: tuple[int, ...]


Step: TypeAlias = Remade | SegmentEnd


def rerun(segment: Segment, reader: RecordingReader) -> Iterator[Step]:
    """Run one segment again, input by input.

    Raises:
        RecordingError: it cannot be read, or what it names is not kept.
    """
    state = reader.state(segment.state)
    place = _Place(segment)
    held: Remade | None = None
    for data in segment.runs:
        for event, now in reader.inputs(data):
            if held is not None:
                yield held
            before = state
            state, effects = handle(before, event, now)
            held = Remade(event, now, place.pair(_drafts(effects), now), before)
    whole = segment.next_state is not None
    if held is not None:
        yield held if whole else _without_lost(held)
    yield SegmentEnd(
        pairs=place.left(None if whole or held is None else held.now),
        state_differs=segment.next_state is not None and reader.state(segment.next_state) != state,
        unrecorded=place.unrecorded(),
        unchained=tuple(_unchained(segment)),
    )


def _drafts(effects: Sequence[Effect]) -> list[EventDraft]:
    return [effect.draft for effect in effects if isinstance(effect, Journaling)]


def _without_lost(last: Remade) -> Remade:
    """Leave out what the last input before a gap caused and the journal did not get: that is what made the gap."""
    return replace(last, pairs=tuple(each for each in last.pairs if each.row is not None))


class _Place:
    """How far the journal's rows of a segment were followed."""

    def __init__(self, segment: Segment) -> None:
        self._rows = [_row(seq, data) for seq, data in segment.events]
        self._at = 0
        self._boot = segment.number >> BOOT_SHIFT
        self._end_seq = segment.end_seq
        self._next_seq = segment.first_seq
        self._kept_from = segment.kept_from

    def pair(self, drafts: Sequence[EventDraft], now: Instant) -> tuple[Pair, ...]:
        """Pair what one input caused with the rows of its moment; rows of an earlier one were not made again."""
        pairs = list(self._earlier_than(now))
        for draft in drafts:
            if self._next_seq < self._kept_from:
                pairs.append(Pair(self._next_seq, draft, None, comparable=False))
                self._next_seq += 1
            elif self._at < len(self._rows) and _may_be_of(self._rows[self._at], now):
                pairs.append(self._take(draft))
            else:
                pairs.append(Pair(self._next_seq, draft, None))
        return tuple(pairs)

    def _earlier_than(self, now: Instant) -> Iterator[Pair]:
        while self._at < len(self._rows):
            event = self._rows[self._at].event
            if event is None or event.monotonic_ms >= now.monotonic_ms:
                return
            yield self._take(None)

    def _take(self, draft: EventDraft | None) -> Pair:
        row = self._rows[self._at]
        self._at += 1
        self._next_seq = row.seq + 1
        return Pair(row.seq, draft, row)

    def left(self, last: Instant | None) -> tuple[Pair, ...]:
        """Give the rows that were not made again: all, or before a gap those not later than the last input."""
        pairs: list[Pair] = []
        while self._at < len(self._rows):
            event = self._rows[self._at].event
            if last is not None and (event is None or not self._is_until(event, last)):
                break
            pairs.append(self._take(None))
        return tuple(pairs)

    def _is_until(self, event: Event, last: Instant) -> bool:
        return event.boot == self._boot and event.monotonic_ms <= last.monotonic_ms

    def unrecorded(self) -> range:
        """Give the rows up to the next checkpoint that were not come to."""
        return range(max(self._next_seq, self._kept_from), self._end_seq)


def _row(seq: int, data: bytes) -> Row:
    try:
        return Row(seq, data, parse_event(data))
    except WireError:
        return Row(seq, data, None)


def _may_be_of(row: Row, now: Instant) -> bool:
    event = row.event
    return event is None or (event.monotonic_ms, event.wall_ms) == (now.monotonic_ms, max(0, now.wall_ms))


def compare(event: Event, draft: EventDraft) -> dict[str, tuple[object, object]]:
    """Tell in which fields an event of the journal and what was made again differ, as (journal, again)."""
    both = {name: (getattr(event, name), getattr(draft, name)) for name in _COMPARED}
    both["clock"] = (event.clock, draft.at.clock)
    return {name: (then, again) for name, (then, again) in both.items() if then != again}


def _unchained(segment: Segment) -> Iterator[int]:
    rows = list(segment.events)
    if segment.previous is not None:
        rows.insert(0, (segment.first_seq - 1, segment.previous))
    for (before, data), (seq, following) in pairwise(rows):
        if seq != before + 1 or not following.endswith(chain_hash(data)):
            yield seq
