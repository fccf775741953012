"""Waiting for what a test expects: a condition with a deadline, never a guess."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Generous: a shared two-core machine pauses a process for seconds. A right program never gets near it. An emulated
# machine sets more (script/test-hardware).
DEADLINE_S = float(os.environ.get("TEST_DEADLINE_S", "30"))
_POLL_S = 0.005


async def until(condition: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
    """Return once `condition()` holds; raise TimeoutError when it does not within `deadline_s`."""
    async with asyncio.timeout(deadline_s):
        # The conditions are files and processes of others: nothing here could set an Event.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
