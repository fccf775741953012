"""Passes on paper: anybody can copy one, so a door may count how often each opens it.

Invariant: a use is counted in the transaction of its grant, and given back when nobody passed.
Must not: count elsewhere; each door counts for itself, also while it is offline.
"""

from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.verify import VerifiedCredential
from wire.names import Assurance, Reason
from wire.settings import DoorSettings


def refused_by_uses(credential: VerifiedCredential, settings: DoorSettings, memory: Memory) -> Reason | None:
    """Refuse a printed pass that opened this door as often as it may."""
    if not _is_counted(credential, settings):
        return None
    return Reason.USES_EXHAUSTED if _uses(credential.credential, memory) >= settings.printed_uses else None


def count_use(credential: VerifiedCredential, settings: DoorSettings, memory: Memory, now: Instant) -> tuple[Memo, ...]:
    """Give the memo of one more use, where uses are counted."""
    if not _is_counted(credential, settings):
        return ()
    used = _uses(credential.credential, memory) + 1
    return (Memo(MemoKind.USES, credential.credential, (used, now.wall_s)),)


def give_back(key: bytes, memory: Memory) -> Memo:
    """Give the memo of one use less, whatever was counted since."""
    fact = memory.get(MemoKind.USES, key)
    return Memo(MemoKind.USES, key, None if fact is None or fact[0] <= 1 else (fact[0] - 1, *fact[1:]))


def _is_counted(credential: VerifiedCredential, settings: DoorSettings) -> bool:
    return credential.assurance is Assurance.PRINTED and settings.printed_uses > 0


def _uses(key: bytes, memory: Memory) -> int:
    used, *_ = memory.get(MemoKind.USES, key) or (0,)
    return used
