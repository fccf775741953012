"""How the long-running commands log: one JSON object a line on the given stream.

Invariant: called once, by the command, before anything logs.
"""

from typing import TextIO

import structlog


def log_as_json(stream: TextIO) -> None:
    """Write structlog's events as JSON lines with an RFC 3339 time in UTC."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
