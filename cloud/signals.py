"""Ctrl-C and SIGTERM as an event, or SIGTERM as Ctrl-C.

Invariant: outside the main thread nothing happens, and afterwards loop and process are as before.
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


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end what the block runs as Ctrl-C does, so that it cleans up; nothing outside the main thread."""
    try:
        before = signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
