"""What a revocation list of ten million passes costs to ask."""

import random
import time
from collections.abc import Iterable

from benchmarks.door import PASSES, make_world
from benchmarks.measure import compared, in_turn
from benchmarks.result import Result
from wire.passes import make_pass_id

_LOOKUPS = 1_000
"""Timed together, because one is shorter than a clock's tick is precise."""
_ROUNDS = 300
_WARM_UP = 30


def lookup() -> Iterable[Result]:
    """Measure `status-lookup`: pass id to revoked or not, with the list's age."""
    chosen = random.Random(11)  # noqa: S311 - repeatable places in the list, no secret
    indexes = [chosen.randrange(PASSES) for _ in range(_LOOKUPS)]
    ids = [make_pass_id(0, index) for index in indexes]
    bits = bytearray(chosen.randbytes(PASSES // 8))
    trust = make_world(holders=0, codes_a_holder=0, now_ms=int(time.time() * 1000)).believing(bits)
    now_s = int(time.time())

    def bare(_turn: int) -> None:
        for index in indexes:
            _ = bits[index >> 3] >> (index & 7) & 1

    def asked(_turn: int) -> None:
        for pass_id in ids:
            trust.revocation(pass_id, now_s)

    floor, subject = in_turn(bare, asked, rounds=_ROUNDS, warm_up=_WARM_UP)
    each = [type(times)([round(ns / _LOOKUPS) for ns in times.ns]) for times in (subject, floor)]
    yield compared("status-lookup", each[0], each[1], must="< 1 us", note=_NOTE)


_NOTE = (
    "pass id to revoked or not, with the list's number and age, in a list of ten million at random places; "
    f"mean of {_LOOKUPS:,} a round; floor: an index into a bytearray and a bit of it"
)
