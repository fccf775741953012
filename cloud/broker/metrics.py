"""What Prometheus may know of the broker.

Invariant: labels come from closed sets.
Must not: carry tenants or devices.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge


class BrokerMetrics:
    """Counters of one process.

    Args:
        registry: where they are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected: Final = Gauge(
            "doorward_broker_connected", "Whether this process is connected to the broker.", registry=registry
        )
        self.lanes: Final = Gauge("doorward_broker_lanes", "Lanes that this process follows.", registry=registry)
        self.answers: Final = Counter(
            "doorward_broker_answers",
            "Batches answered over the broker, by status as of HTTP; HTTPS itself is in doorward_http_requests.",
            ("status",),
            registry=registry,
        )
        self.announcements: Final = Counter(
            "doorward_broker_announcements", "Doors told over the broker that something is new.", registry=registry
        )
