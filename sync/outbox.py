"""What to send next: a run of events after the last one that the cloud has, as large as the line bears.

Invariant: a run starts at or before the first event that is not known to be durable, so nothing is ever skipped;
the cloud drops what it has already. One run is under way at a time.
Must not: decide what may be deleted; only a verified acknowledgement does, in the journal.
"""

from dataclasses import dataclass, replace
from typing import Final

from sync.ports import Marks
from wire.batch import MAX_BATCH_EVENTS

SMALL_RUN_EVENTS: Final = 100
"""Where a run starts and shrinks to: about 25 kB, two seconds on a line of 100 kbit/s."""
LARGE_RUN_EVENTS: Final = MAX_BATCH_EVENTS


@dataclass(frozen=True, slots=True)
class Run:
    """Up to `limit` events with a number above `after`.

    Attributes:
        probe: it repeats what the cloud has, and may be left out.
    """

    after: int
    limit: int
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Outbox:
    """The state of sending.

    Attributes:
        limit: events in the next run; doubles with each success, halves with each failure.
        rewound_to: the cloud said, unsigned, that it has events up to here only; None follows the durable mark.
    """

    limit: int = SMALL_RUN_EVENTS
    rewound_to: int | None = None

    def next_run(self, marks: Marks, *, bearable: int = LARGE_RUN_EVENTS) -> Run | None:
        """Give the run to send now, None when the cloud has everything.

        Args:
            marks: how far journal and cloud are.
            bearable: most events that the way to the cloud bears at once.
        """
        after = marks.durable if self.rewound_to is None else min(self.rewound_to, marks.durable)
        return Run(after, min(self.limit, bearable)) if after < marks.last else None

    def probe(self, marks: Marks) -> Run | None:
        """Give the newest event again, None when there is none.

        Its acknowledgement brings what a quiet door cannot learn otherwise: the backed-up mark, a cloud that was
        restored to an earlier state, signed time.
        """
        return Run(marks.last - 1, 1, probe=True) if marks.last > 0 else None

    def acknowledged(self) -> "Outbox":
        """Note a verified acknowledgement: from here on the journal's durable mark is right."""
        return Outbox(min(2 * self.limit, LARGE_RUN_EVENTS))

    def failed(self) -> "Outbox":
        """Note a run without acknowledgement: it is sent again, in smaller parts."""
        return replace(self, limit=max(self.limit // 2, SMALL_RUN_EVENTS))

    def rewound(self, durable: int) -> "Outbox":
        """Note that the cloud says that it has events up to `durable` only."""
        return replace(self, rewound_to=durable)

    def unwound(self) -> "Outbox":
        """Forget what the cloud said unsigned: the journal no longer has those events."""
        return replace(self, rewound_to=None)
