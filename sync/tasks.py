"""Ending tasks for good.

Invariant: when it returns, none of them runs any more.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final

_AGAIN_S: Final = 1.0


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended: a library may lose a cancellation, as `asyncio.wait_for` does before 3.12."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_AGAIN_S)
