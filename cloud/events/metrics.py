"""What Prometheus may know of the ingest.

Invariant: labels come from closed sets.
Must not: carry tenants or devices.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cloud.errors import Reason
from cloud.events.admission import ALARMS

_COMMIT_BUCKETS_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)
_GROUP_BUCKETS: Final = (100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class IngestMetrics:
    """Counters of one process.

    Args:
        registry: where they are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events: Final = Counter("doorward_ingest_events", "Events stored.", registry=registry)
        self.batches: Final = Counter("doorward_ingest_batches", "Batches acknowledged.", registry=registry)
        self._refused = Counter(
            "doorward_ingest_refused", "Batches refused, by reason.", ("reason",), registry=registry
        )
        self._alarms = Counter(
            "doorward_ingest_alarms",
            "Devices that went into quarantine: two writers of one journal, or a copied device.",
            ("reason",),
            registry=registry,
        )
        self.commit_s: Final = Histogram(
            "doorward_ingest_commit_seconds",
            "One transaction, from the locks to the commit.",
            buckets=_COMMIT_BUCKETS_S,
            registry=registry,
        )
        self.group_events: Final = Histogram(
            "doorward_ingest_group_events", "Events of one transaction.", buckets=_GROUP_BUCKETS, registry=registry
        )
        self.waiting: Final = Gauge("doorward_ingest_waiting_batches", "Batches not yet answered.", registry=registry)
        for reason in ALARMS:
            self._alarms.labels(reason.name)

    def refused(self, reason: Reason) -> None:
        """Count a refusal."""
        self._refused.labels(reason.name).inc()

    def alarmed(self, reason: Reason) -> None:
        """Count a device that goes into quarantine."""
        self._alarms.labels(reason.name).inc()
