"""How times are taken: floor and subject in turn within one run, the collector quiet, medians told with their tails.

Invariant: whatever slows the machine for a while slows floor and subject alike, so that their ratio stays honest.
Must not: judge.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.result import Result

Work = Callable[[int], object]
"""One operation; its argument counts the rounds, so that inputs can differ."""

_NS_A_US = 1_000
_NS_A_MS = 1_000_000
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Times:
    """Nanoseconds of one operation, round by round."""

    ns: Sequence[int]

    def percentile(self, percent: int) -> float:
        """Give a percentile in nanoseconds."""
        return statistics.quantiles(self.ns, n=_PERCENT, method="inclusive")[percent - 1]

    @property
    def median(self) -> float:
        """The median in nanoseconds."""
        return statistics.median(self.ns)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep Python's garbage collector out of the figures: collect before, freeze what is there, collect nothing."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def in_turn(*works: Work, rounds: int, warm_up: int) -> list[Times]:
    """Time operations one after the other, round after round.

    Args:
        works: the operations; all get the same round number. The order rotates, so that none always comes first.
        rounds: how many are measured.
        warm_up: how many are run before.
    """
    clock = time.perf_counter_ns
    seen: list[list[int]] = [[] for _ in works]
    numbered = list(enumerate(works))
    with quiet_collector():
        for round_number in range(warm_up + rounds):
            turn = round_number % len(works)
            for place, work in numbered[turn:] + numbered[:turn]:
                started = clock()
                work(round_number)
                seen[place].append(clock() - started)
    return [Times(each[warm_up:]) for each in seen]


def compared(name: str, subject: Times, floor: Times, *, must: str, note: str) -> Result:
    """Tell a subject's median in microseconds against its floor's."""
    return Result(
        name=name,
        value=round(subject.median / _NS_A_US, 2),
        unit="us",
        floor=round(floor.median / _NS_A_US, 2),
        ratio=round(subject.median / floor.median, 3),
        n=len(subject.ns),
        p50=_ms(subject.median),
        p95=_ms(subject.percentile(95)),
        p99=_ms(subject.percentile(99)),
        must=must,
        note=note,
    )


def compared_p99(name: str, subject: Times, floor: Times, *, must: str, note: str) -> Result:
    """Tell a subject's 99th percentile in microseconds against its floor's."""
    value, least = subject.percentile(99), floor.percentile(99)
    return Result(
        name=name,
        value=round(value / _NS_A_US, 2),
        unit="us",
        floor=round(least / _NS_A_US, 2),
        ratio=round(value / least, 3),
        n=len(subject.ns),
        p50=_ms(subject.median),
        p95=_ms(subject.percentile(95)),
        p99=_ms(value),
        must=must,
        note=note,
    )


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds / _NS_A_MS, 6)
