"""A door's recordings for a command: opened beside the daemon, run again, and held against the journal.

Invariant: the state folder is only read; what was not run again is told, never taken for the same.
Must not: print.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from edge.config import ConfigError, load_config
from edge.materials import read_root
from edge.recording import RecordingReader
from edge.recording_forms import RecordingError
from edge.recording_tables import checkpoints, load_segment
from edge.rerun import Pair, Remade, Row, SegmentEnd, Step, compare, rerun
from edge.retained import OtherSchemaError, StoredDocuments, open_read_only
from wire.codec import MAX_UINT
from wire.errors import WireError

_RANGE: Final = re.compile(r"(\d{0,18})\.\.(\d{0,18})|(\d{1,18})")

RangeArgument = Annotated[
    str, typer.Argument(metavar="[FROM..TO]", help="Numbers of events in the journal, one or a range; all when absent.")
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="FOLDER", help="The door's state folder, or a copy; else that of --config."),
]


@dataclass(frozen=True, slots=True)
class Span:
    """A range of event numbers, both included."""

    first: int = 0
    last: int = MAX_UINT

    def __contains__(self, seq: int) -> bool:
        return self.first <= seq <= self.last


def parse_span(text: str) -> Span:
    """Read "FROM..TO", where either may be left out, or one number.

    Raises:
        CliError: UNUSABLE, for anything else.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _unusable(f"{text!r} is no range of event numbers", "write it as 1200..1300, 1200.., ..1300, or 1207")
    low, high, single = match.groups()
    if single is not None:
        return Span(int(single), int(single))
    return Span(int(low or 0), int(high or MAX_UINT))


def state_folder(state: Path | None, config: Path) -> Path:
    """Give the folder that is named, else the one of a configuration.

    Raises:
        CliError: UNUSABLE, the configuration cannot be read.
    """
    if state is not None:
        return state
    try:
        return load_config(config).state_folder
    except ConfigError as error:
        raise _unusable(str(error), "correct it, or name the folder with --state") from error


class Divergence(Enum):
    """How a decision that was made again differs from the journal."""

    CHANGED = "changed"
    NOT_MADE = "not_made_again"
    NOT_JOURNALED = "not_journaled"
    UNREADABLE = "unreadable"
    UNCHAINED = "unchained"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `fields` holds (journal, again) by name."""

    seq: int
    divergence: Divergence
    fields: dict[str, tuple[object, object]] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What was run again: how many inputs; how many events and decisions among them were compared.

    Attributes:
        first, last: the numbers of the first and last event that was compared, None for none.
        unrecorded: events in the range whose inputs were not recorded.
        dropped: events in the range that the journal holds no more.
    """

    inputs: int = 0
    events: int = 0
    decisions: int = 0
    differences: int = 0
    unrecorded: int = 0
    dropped: int = 0
    first: int | None = None
    last: int | None = None


class Recorded:
    """The recordings of one door.

    Args:
        connection: to its database.
        documents: what they name.
    """

    def __init__(self, connection: sqlite3.Connection, documents: StoredDocuments) -> None:
        self._connection = connection
        self._reader = RecordingReader(documents)
        self.tally = Tally()

    def steps(self, span: Span, progress: Callable[[int], None]) -> Iterator[Step]:
        """Run again what the events of a range came from.

        Raises:
            CliError: UNUSABLE: nothing is recorded, or not from the start of the range on, or it cannot be read.
        """
        starts = self._starts(span)
        for number in starts:
            segment = load_segment(self._connection, number)
            if segment is None:  # dropped meanwhile: it is not retained any more
                continue
            try:
                for step in rerun(segment, self._reader):
                    if isinstance(step, Remade):
                        self.tally.inputs += 1
                        progress(self.tally.inputs)
                    yield step
            except RecordingError as error:
                what = f"what was recorded before event {segment.end_seq} cannot be run again ({error})"
                later = "name an earlier range" if number == starts[-1] else f"begin later, with {segment.end_seq}.."
                raise _unusable(what, later) from error

    def _starts(self, span: Span) -> list[int]:
        """Give the checkpoints to begin at."""
        kept = checkpoints(self._connection)
        if not kept:
            raise _unusable("this door has recorded nothing yet", "run its daemon, of this release, and try again")
        oldest = kept[0][1]
        if 0 < span.first < oldest:
            raise _unusable(
                f"event {span.first} is not covered any more: recordings are kept from event {oldest} on",
                f"begin with {oldest}..",
            )
        starting = max((first for _, first in kept if first <= span.first), default=oldest)
        return [number for number, first in kept if starting <= first <= span.last]

    def differences(self, span: Span, progress: Callable[[int], None]) -> Iterator[Difference]:
        """Run a range again and give what differs from the journal; `tally` tells what was compared."""
        for step in self.steps(span, progress):
            found = [each for pair in step.pairs for each in self._compare(pair, span)]
            if isinstance(step, SegmentEnd):
                found += self._end(step, span)
            self.tally.differences += len(found)
            yield from found

    def _compare(self, pair: Pair, span: Span) -> list[Difference]:
        if pair.seq not in span:
            return []
        if not pair.comparable:
            self.tally.dropped += 1
            return []
        draft, row = pair.draft, pair.row
        if row is None:
            made = None if draft is None else draft.kind
            return [Difference(pair.seq, Divergence.NOT_JOURNALED, {"kind": (None, made)})]
        self._count(row)
        if row.event is None:
            return [Difference(pair.seq, Divergence.UNREADABLE)]
        if draft is None:
            return [Difference(pair.seq, Divergence.NOT_MADE, {"kind": (row.event.kind, None)})]
        fields = compare(row.event, draft)
        return [Difference(pair.seq, Divergence.CHANGED, fields)] if fields else []

    def _count(self, row: Row) -> None:
        tally = self.tally
        tally.events += 1
        tally.decisions += row.event is not None and row.event.granted is not None
        tally.first = row.seq if tally.first is None else tally.first
        tally.last = row.seq

    def _end(self, end: SegmentEnd, span: Span) -> list[Difference]:
        self.tally.unrecorded += sum(1 for seq in end.unrecorded if seq in span)
        found = [Difference(seq, Divergence.UNCHAINED) for seq in end.unchained if seq in span]
        place = end.unrecorded.start
        return [*found, Difference(place, Divergence.STATE)] if end.state_differs and place in span else found


@contextmanager
def open_recorded(folder: Path) -> Iterator[Recorded]:
    """Open the recordings in a door's state folder.

    Raises:
        CliError: UNUSABLE, they cannot be read.
    """
    path = folder / "journal.db"
    try:
        root = read_root(folder)
    except OSError as error:
        raise _unreadable(Path(error.filename or folder), error.strerror) from error
    except WireError as error:
        raise _unreadable(folder, error) from error
    try:
        with closing(open_read_only(path)) as connection:
            yield Recorded(connection, StoredDocuments(connection, root))
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    except OtherSchemaError as error:
        what = f"{path} was written by another release"
        raise _unusable(what, "use the command of the release that the door's daemon runs") from error


def _unreadable(path: Path, why: object) -> CliError:
    remedy = "name a door's state folder, and read it as its user: sudo -u doorward doorward …"
    return _unusable(f"{path} cannot be read ({why})", remedy)


def _unusable(what: str, remedy: str) -> CliError:
    return CliError(ExitCode.UNUSABLE, what=what, remedy=remedy)
