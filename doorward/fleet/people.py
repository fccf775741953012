"""Who comes to simulated doors, and what they do: drawn at random, in believable parts.

Invariant: pure; chance is an argument.
"""

import math
import random
from dataclasses import dataclass
from typing import Final, TypeAlias

from wire.names import EventKind, Reason, Step

_PASS_ID_BYTES: Final = 6
_DENIED: Final = 0.08
"""Of the taps; a campus sees 5 to 10 % of codes shown twice, expired or for another door."""
_NOT_TAKEN: Final = 0.06
"""Of the grants: nobody opens the door."""
_LEVELS: Final = 12
_DENIALS: Final = (
    (Step.REPLAY, Reason.REPLAYED, 40),
    (Step.HOLDER, Reason.PRESENTATION_EXPIRED, 25),
    (Step.ACCESS, Reason.UNAUTHORIZED, 15),
    (Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME, 8),
    (Step.VALIDITY, Reason.CREDENTIAL_EXPIRED, 6),
    (Step.REVOCATION, Reason.REVOKED, 4),
    (Step.FORM, Reason.MALFORMED, 2),
)
_RELOCK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What follows a grant: (seconds later, kind of event)."""

    events: tuple[tuple[float, EventKind], ...]


@dataclass(frozen=True, slots=True)
class Granted:
    """Somebody is let in."""

    credential: bytes
    level: int
    ending: Ending


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody is not."""

    credential: bytes
    step: Step
    reason: Reason


Visit: TypeAlias = Granted | Refused


def draw_visit(chance: random.Random) -> Visit:
    """Draw who comes and what becomes of it."""
    credential = chance.randbytes(_PASS_ID_BYTES)
    if chance.random() < _DENIED:
        ((step, reason, _),) = chance.choices(_DENIALS, weights=[weight for _, _, weight in _DENIALS])
        return Refused(credential, step, reason)
    return Granted(credential, chance.randint(1, _LEVELS), _draw_ending(chance))


def _draw_ending(chance: random.Random) -> Ending:
    if chance.random() < _NOT_TAKEN:
        return Ending(((_RELOCK_S, EventKind.ACCESS_NOT_TAKEN), (_RELOCK_S, EventKind.DOOR_RELOCKED)))
    opened_s = chance.uniform(0.6, 2.5)
    closed_s = opened_s + chance.uniform(1.5, 4.0)
    return Ending(
        ((opened_s, EventKind.DOOR_OPENED), (closed_s, EventKind.DOOR_CLOSED), (closed_s, EventKind.DOOR_RELOCKED))
    )


def draw_pause_s(chance: random.Random, per_s: float) -> float:
    """Draw the seconds until the next one of `per_s` independent arrivals a second (Poisson); infinite for none."""
    return chance.expovariate(per_s) if per_s > 0 else math.inf
