"""What both loops share: how they stand, when they try again, what they tell the log.

Invariant: a fault is noted once when it begins, again when its reason changes, and its end is noted.
Must not: know what the loop does.
"""

from dataclasses import dataclass
from typing import Final

from sync.backoff import Backoff
from sync.ports import Direction, Notice, Notices, Reason, Surroundings, SyncError, UplinkError

_NO_ANSWER: Final = frozenset(
    {Reason.UNREACHABLE, Reason.DEADLINE, Reason.TLS_REFUSED, Reason.NOT_ENROLLED, Reason.CLOSED}
)
_NOT_ASKED: Final = frozenset({Reason.JOURNAL_GAP, Reason.JOURNAL_DAMAGED, Reason.JOURNAL_UNAVAILABLE})
"""Faults on this side of the line: they tell nothing about the connection."""


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """How one loop stands, as of its latest exchange.

    Attributes:
        as_of_monotonic_ms: when the latest exchange ended, -1 before the first.
        connected: the cloud answered the latest exchange, if only to refuse it; False before the first.
        last_success_monotonic_ms, last_success_wall_ms: when one last did, None for never.
        last_error: the latest fault in one sentence, None when there was none since the start.
        last_error_reason: its class.
        failures: in a row; 0 while all is well.
        retry_at_monotonic_ms: when the next try is due after a failure, None while all is well.
    """

    as_of_monotonic_ms: int = -1
    connected: bool = False
    last_success_monotonic_ms: int | None = None
    last_success_wall_ms: int | None = None
    last_error: str | None = None
    last_error_reason: Reason | None = None
    failures: int = 0
    retry_at_monotonic_ms: int | None = None


class LoopHealth:
    """Keeps a loop's status and its backoff.

    Args:
        direction: which loop.
        surroundings: clocks and chance.
        notices: the log.
    """

    def __init__(self, direction: Direction, surroundings: Surroundings, notices: Notices) -> None:
        self._direction = direction
        self._surroundings = surroundings
        self._notices = notices
        self._backoff = Backoff()
        self._noted: Reason | None = None
        self.status = LoopStatus()

    def succeeded(self) -> None:
        """Note an exchange that did what it should."""
        if self._noted is not None:
            self._notices.notice(Notice(self._direction, None, "the cloud answers again"))
            self._noted = None
        self._backoff = Backoff()
        now_ms = self._surroundings.monotonic_ms()
        self.status = LoopStatus(
            as_of_monotonic_ms=now_ms,
            connected=True,
            last_success_monotonic_ms=now_ms,
            last_success_wall_ms=self._surroundings.wall_ms(),
            last_error=self.status.last_error,
            last_error_reason=self.status.last_error_reason,
        )

    def failed(self, error: SyncError) -> float:
        """Note a fault and give the seconds to wait before the next try."""
        if error.reason is not self._noted:
            self._notices.notice(Notice(self._direction, error.reason, str(error)))
            self._noted = error.reason
        self._backoff = self._backoff.failed()
        asked_s = error.retry_after_s if isinstance(error, UplinkError) else None
        delay_s = self._backoff.delay_s(self._surroundings.fraction(), asked_s)
        now_ms = self._surroundings.monotonic_ms()
        self.status = LoopStatus(
            as_of_monotonic_ms=now_ms,
            connected=self.status.connected if error.reason in _NOT_ASKED else error.reason not in _NO_ANSWER,
            last_success_monotonic_ms=self.status.last_success_monotonic_ms,
            last_success_wall_ms=self.status.last_success_wall_ms,
            last_error=str(error),
            last_error_reason=error.reason,
            failures=self._backoff.failures,
            retry_at_monotonic_ms=now_ms + round(delay_s * 1000),
        )
        return delay_s
