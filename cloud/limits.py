"""Bound how often somebody may try to authenticate.

Invariant: memory is bounded, whatever addresses callers come from.
Must not: be relied on for correctness; a secret must be strong without it.
"""

from collections import OrderedDict, deque
from typing import Final

from cloud.errors import CloudError, Reason

WINDOW_S: Final = 60.0
ATTEMPTS: Final = 5
"""Failed authentications an address may have in a window (customer: authentication 5/min)."""
_MAX_ADDRESSES: Final = 10_000


class AttemptLimiter:
    """Count failures by address in a sliding window."""

    def __init__(self, *, attempts: int = ATTEMPTS, window_s: float = WINDOW_S) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str, *, now_s: float) -> None:
        """Return when the address may try.

        Args:
            address: who tries.
            now_s: a monotonic clock's seconds.

        Raises:
            CloudError: TOO_MANY_ATTEMPTS, with the seconds to wait.
        """
        failures = self._failures.get(address)
        if failures is None:
            return
        while failures and now_s - failures[0] >= self._window_s:
            failures.popleft()
        if not failures:
            del self._failures[address]
        elif len(failures) >= self._attempts:
            wait_s = int(self._window_s - (now_s - failures[0])) + 1
            detail = f"Too many failed attempts from {address}; try again in {wait_s} s."
            raise CloudError(Reason.TOO_MANY_ATTEMPTS, detail, retry_after_s=wait_s)

    def failed(self, address: str, *, now_s: float) -> None:
        """Count a failure; the address that has been quiet longest is forgotten when there are too many."""
        failures = self._failures.setdefault(address, deque(maxlen=self._attempts))
        self._failures.move_to_end(address)
        failures.append(now_s)
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)
