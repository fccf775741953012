"""What a fleet counts while it runs, and how that is put together from several processes.

Invariant: sums are sums of what each door counted; quantiles are of all events, not of processes' quantiles.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from doorward.fleet.uplink import Traffic

_STEPS_A_DOUBLING: Final = 16
"""Of the histogram: a quantile is right within 4.5 %."""
_FIRST_MS: Final = 0.25
_LAST_STEP: Final = 30 * _STEPS_A_DOUBLING


@dataclass(slots=True)
class Waits:
    """How long events waited until they were durable: a histogram with steps that grow by 4.4 %."""

    counts: list[int] = field(default_factory=lambda: [0] * (_LAST_STEP + 1))

    def add(self, waits_ms: Iterable[float]) -> None:
        """Count waits, milliseconds."""
        for wait_ms in waits_ms:
            self.counts[_step(wait_ms)] += 1

    def merge(self, counts: Iterable[int]) -> None:
        """Add another's counts."""
        self.counts = [own + more for own, more in zip(self.counts, counts, strict=True)]

    def quantile_ms(self, part: float) -> float | None:
        """Give the wait that `part` of the events did not exceed, None when there were none."""
        left = part * sum(self.counts)
        if not left:
            return None
        for step, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                return round(_FIRST_MS * 2 ** (step / _STEPS_A_DOUBLING), 2)
        return None  # pragma: no cover - the counts add up to more than `left`


def _step(wait_ms: float) -> int:
    step, edge_ms = 0, _FIRST_MS
    while edge_ms < wait_ms and step < _LAST_STEP:
        double = 2 * edge_ms
        if double < wait_ms:
            step, edge_ms = step + _STEPS_A_DOUBLING, double
        else:
            step, edge_ms = step + 1, edge_ms * _GROWTH
    return min(step, _LAST_STEP)


_GROWTH: Final = 2 ** (1 / _STEPS_A_DOUBLING)


@dataclass(slots=True)
class Figures:
    """The sums over doors.

    Attributes:
        events: journaled; acknowledged: of those, as the doors believe.
        unlocks: how often a lock moved.
        connected: doors that know their root key and whose latest exchange succeeded.
        cpu_s: processor time; rss_bytes: memory of all processes at their largest.
    """

    doors: int = 0
    connected: int = 0
    events: int = 0
    acknowledged: int = 0
    unlocks: int = 0
    cpu_s: float = 0.0
    rss_bytes: int = 0
    waits: Waits = field(default_factory=Waits)
    traffic: Traffic = field(default_factory=Traffic)

    def add(self, other: "Figures") -> None:
        """Add another process's."""
        for name in ("doors", "connected", "events", "acknowledged", "unlocks", "cpu_s", "rss_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits.merge(other.waits.counts)
        self.traffic.add(other.traffic)

    def to_json(self) -> dict[str, Any]:
        """Write for the process that puts them together."""
        return {
            "doors": self.doors,
            "connected": self.connected,
            "events": self.events,
            "acknowledged": self.acknowledged,
            "unlocks": self.unlocks,
            "cpu_s": self.cpu_s,
            "rss_bytes": self.rss_bytes,
            "waits": self.waits.counts,
            "traffic": {
                "batches": self.traffic.batches,
                "by_broker": self.traffic.by_broker,
                "fetches": self.traffic.fetches,
                "sent_bytes": self.traffic.sent_bytes,
                "received_bytes": self.traffic.received_bytes,
                "refusals": dict(self.traffic.refusals),
            },
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Figures":
        """Read what `to_json` wrote."""
        made = cls(**{name: told[name] for name in told.keys() - {"waits", "traffic"}})
        made.waits = Waits(list(told["waits"]))
        made.traffic.add(Traffic(**{name: told["traffic"][name] for name in told["traffic"].keys() - {"refusals"}}))
        made.traffic.refusals.update(told["traffic"]["refusals"])
        return made


def take_waits(waits: Waits, kept_ms: "array[float]") -> None:
    """Move the waits that a journal has kept into a histogram."""
    waits.add(kept_ms)
    del kept_ms[:]
