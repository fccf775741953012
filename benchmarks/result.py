"""What a benchmark tells: one figure against its floor of the same run.

Invariant: ratio is value over floor where more is better, and the other way round is never mixed in: `must` says which.
Must not: judge; `script/bench` prints, people decide.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of a benchmark.

    Attributes:
        name: of the figure ("ingest").
        value, unit: what was measured ("events/s").
        floor: the same work without us, in the same unit and run; None when there is none.
        ratio: value / floor; None without a floor.
        n: how many single operations were measured.
        p50, p95, p99: of one operation, in milliseconds; None when only the whole was timed.
        must: what docs/performance.md asks for, in words (">= 0.2 of the floor").
        note: what exactly the floor is, and anything a reader must know.
    """

    name: str
    value: float
    unit: str
    floor: float | None
    ratio: float | None
    n: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    must: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Give the members for one line of JSON."""
        return asdict(self)
