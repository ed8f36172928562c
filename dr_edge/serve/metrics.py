"""What /metrics tells Prometheus; nothing of a photograph but the kind of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The server's counters, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "dr_edge_requests", "Requests by route and status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "dr_edge_request_seconds", "Time to the end of the response.", ("route",), buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._answers = Counter(
            "dr_edge_answers", "Photographs by the status of their answer.", ("status",), registry=self._registry
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, status: str) -> None:
        """Counts an answer by its status, or a refusal by its reason."""
        self._answers.labels(status).inc()

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Adds a gauge that is read when it is asked for."""
        Gauge(f"dr_edge_{name}", help_text, registry=self._registry).set_function(value)

    def watch_reasons(self, name: str, help_text: str, counts: Callable[[], Mapping[str, int]]) -> None:
        """Adds a counter by reason that is read when it is asked for."""
        self._registry.register(_ByReason(f"dr_edge_{name}", help_text, counts))

    def text(self) -> bytes:
        """Returns the exposition."""
        return generate_latest(self._registry)


class _ByReason(Collector):
    """Reads counts that somebody else keeps."""

    def __init__(self, name: str, help_text: str, counts: Callable[[], Mapping[str, int]]) -> None:
        self._name, self._help, self._counts = name, help_text, counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yields the counter as it stands now."""
        family = CounterMetricFamily(self._name, self._help, labels=("reason",))
        for reason, count in self._counts().items():
            family.add_metric((reason,), count)
        yield family
