"""Who is where: a holder does not enter an area twice without leaving it, and no more enter than an area holds.

Invariant: presence is noted by the same reader that admits, in the transaction of the grant; a person who did not pass
after all is put back.
Must not: apply to emergency passes, which are noted and never refused.
"""

from typing import Final

from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.verify import VerifiedCredential
from wire.names import AntiPassbackRule, EventKind, PassKind, Reason
from wire.policy import OUTSIDE, Area, Passage, PolicyBundle
from wire.settings import DoorSettings

_UNLIMITED: Final = Area(0, 0)
_REFUSING: Final = frozenset({AntiPassbackRule.ENFORCE, AntiPassbackRule.TIMED})


def refused_by_area(
    credential: VerifiedCredential, passage: Passage, bundle: PolicyBundle, memory: Memory, now: Instant
) -> Reason | None:
    """Check step 13: anti-passback, then the area's limit."""
    if credential.kind is PassKind.EMERGENCY:
        return None
    violation = find_violation(credential, passage, bundle.settings, memory, now)
    if violation is not None and bundle.settings.anti_passback in _REFUSING:
        return violation
    limit = bundle.areas.get(passage.into, _UNLIMITED).limit
    inside = memory.present.get(passage.into, 0)
    full = 0 < limit <= inside and not _is_in(credential, passage.into, memory)
    return Reason.OCCUPANCY_LIMIT if full else None


def find_violation(
    credential: VerifiedCredential, passage: Passage, settings: DoorSettings, memory: Memory, now: Instant
) -> Reason | None:
    """Find out whether a holder cannot be coming from where the reader leads out of.

    Whoever was never noted, or before the last reset, may be anywhere. For TIMED only entering the same area again
    counts, and only for a while; a clock that was ahead and was set right again locks nobody out.
    """
    rule = settings.anti_passback
    fact = memory.get(MemoKind.PRESENCE, credential.holder)
    if rule is AntiPassbackRule.OFF or fact is None or fact[1] < settings.forget_presence_before_s:
        return None
    area, noted_s = fact
    if rule is AntiPassbackRule.TIMED:
        again = area == passage.into and 0 <= now.wall_s - noted_s < settings.anti_passback_s
    else:
        again = area != passage.out_of
    return Reason.ANTIPASSBACK_VIOLATION if again else None


def _is_in(credential: VerifiedCredential, area: int, memory: Memory) -> bool:
    fact = memory.get(MemoKind.PRESENCE, credential.holder)
    return fact is not None and fact[0] == area


def note(credential: VerifiedCredential, passage: Passage, settings: DoorSettings, now: Instant) -> Memo:
    """Give the memo that puts a holder into the area a reader leads to.

    Who goes outside is forgotten, except where TIMED counts from the last passage.
    """
    leaves = passage.into == OUTSIDE and settings.anti_passback is not AntiPassbackRule.TIMED
    value = None if leaves else (passage.into, now.wall_s)
    return Memo(MemoKind.PRESENCE, credential.holder, value)


def put_back(fact: Memo, settings: DoorSettings) -> Memo:
    """Give the memo that puts a holder back where it was before a passage, unless that was reset meanwhile."""
    reset = fact.value is not None and fact.value[-1] < settings.forget_presence_before_s
    return Memo(fact.kind, fact.key, None) if reset else fact


def crossed(bundle: PolicyBundle, before: Memory, after: Memory) -> tuple[EventKind, ...]:
    """Tell which warnings of occupancy begin or end between two memories."""
    kinds: list[EventKind] = []
    for number, area in bundle.areas.items():
        was, is_now = before.present.get(number, 0), after.present.get(number, 0)
        if area.warning and was < area.warning <= is_now:
            kinds.append(EventKind.OCCUPANCY_WARNING)
        elif area.warning and is_now < area.warning <= was:
            kinds.append(EventKind.OCCUPANCY_NORMAL)
    return tuple(kinds)
