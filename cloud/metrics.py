"""What Prometheus may ask.

Invariant: labels come from closed sets (route templates, statuses), so the number of series is bounded.
Must not: carry tenants, devices, passes or addresses.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)
"""Around the response times promised (25 to 500 ms), up to a long poll."""


class Metrics:
    """One process's metrics; a feature registers its own on `registry`."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "doorward_http_requests",
            "Requests answered.",
            ("listener", "method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "doorward_http_request_seconds",
            "From the head of the request to the end of the answer.",
            ("listener", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )

    def answered(self, listener: str, *, method: str, route: str, status: int, elapsed_s: float) -> None:
        """Count one answered request."""
        self._requests.labels(listener, method, route, str(status)).inc()
        self._seconds.labels(listener, route).observe(elapsed_s)

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
