"""Ctrl-C and SIGTERM as an event.

Invariant: outside the main thread nothing happens, and afterwards the loop is as before.
Must not: end anything itself.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_by_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set the event; nothing outside the main thread."""
    loop = asyncio.get_running_loop()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
    except (RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
