"""How the long-running commands log: one JSON object a line on standard error, times in UTC.

Invariant: a log that cannot be written (a closed pipe, a full disk) never stops who logs: a door opens without it.
"""

import contextlib
import sys
from typing import Final, TextIO

import structlog

_PROCESSORS: Final = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
)


class _LineLogger:
    """Writes a line to a stream, or to whatever standard error is at that moment."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line and flush it; what cannot be written is lost."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            print(line, file=self._stream or sys.stderr, flush=True)

    debug = info = warning = error = critical = exception = msg


def log_as_json(stream: TextIO | None = None) -> None:
    """Configure structlog; called once by the command, before anything logs.

    Args:
        stream: where to; standard error when None.
    """
    structlog.configure(
        processors=list(_PROCESSORS),
        logger_factory=lambda *_arguments: _LineLogger(stream),
        cache_logger_on_first_use=False,
    )
