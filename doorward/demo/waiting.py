"""Waiting for something to be seen, with a deadline.

Invariant: a wait ends by seeing the thing or by `NotSeenError`; it never ends by hoping.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

_POLL_S: Final = 0.01
_T = TypeVar("_T")


class NotSeenError(Exception):
    """Something that had to happen was not seen; the sentence says what."""


def wait_for(what: str, look: Callable[[], _T | None], *, deadline_s: float) -> _T:
    """Look again and again until there is something to see.

    Args:
        what: the thing that is waited for, for the complaint.
        look: gives it, or None while it is not there.
        deadline_s: seconds to wait at most.

    Raises:
        NotSeenError: the time is over.
    """
    give_up_s = time.monotonic() + deadline_s
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() >= give_up_s:
            raise NotSeenError(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(_POLL_S)


def must(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Insist on what was seen.

    Raises:
        NotSeenError: it does not hold.
    """
    if not holds:
        raise NotSeenError(what)
