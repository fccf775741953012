"""A daemon that holds a lock open: `python tests/support/lock_holder.py URL HOLD_MS`; says so, and then hangs."""

from __future__ import annotations

import asyncio
import sys

from firmware_adapters.catalogue import open_lock


async def main(url: str, hold_ms: str) -> None:
    lock = open_lock(url)
    await lock.energise(hold_ms=int(hold_ms), cause_seq=1)
    sys.stdout.write("unlocked\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
