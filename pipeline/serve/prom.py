"""What the server counts, in Prometheus' text format; one registry for each app, so that two of them never mix."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reporting.errors import FunnelgateError

if TYPE_CHECKING:
    from pipeline.release.withheld import WithheldList
    from pipeline.serve.admission import Admission
    from pipeline.serve.holder import HolderStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_READABLE = "1: the list of takedowns can be read; 0: nothing is answered."
ROUTES = ("/search", "/feedback", "/healthz", "/readyz", "/generation", "/metrics")


class Metrics:
    """The counters; names begin with `funnelgate_serve_`, units are seconds and bytes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "funnelgate_serve_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self._request_seconds = Histogram(
            "funnelgate_serve_request_seconds",
            "From a request's first byte to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.search_seconds = Histogram(
            "funnelgate_serve_search_seconds",
            "Of that, the work of a search in its thread.",
            ("query",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "funnelgate_serve_refused", "Requests not answered, by error.", ("error",), registry=self.registry
        )
        self.cut_off = Counter(
            "funnelgate_serve_cut_off", "Requests cut off, by where they were.", ("where",), registry=self.registry
        )
        self.answers = Counter(
            "funnelgate_serve_answers", "Searches answered, by generation.", ("generation",), registry=self.registry
        )
        self.short = Counter(
            "funnelgate_serve_short_answers", "Searches with fewer results than asked for.", registry=self.registry
        )
        self.polls = Counter("funnelgate_serve_polls", "Looks for a release.", ("outcome",), registry=self.registry)
        self._last_look = time.monotonic()
        Gauge(
            "funnelgate_serve_last_look_seconds",
            "Since the last look for a release ended, or since the start.",
            registry=self.registry,
        ).set_function(lambda: time.monotonic() - self._last_look)
        self.feedback = Counter("funnelgate_serve_feedback", "Feedback kept.", ("verdict",), registry=self.registry)

    def looked(self) -> None:
        """Note that a look for a release has ended just now."""
        self._last_look = time.monotonic()

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count a request; a path that nobody serves is `other`, so that strangers cannot add series."""
        route = path if path in ROUTES else "other"
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def observe(
        self, admission: Admission, status: Callable[[], HolderStatus], withheld: Callable[[], WithheldList]
    ) -> None:
        """Add what is only looked at when somebody asks."""
        self.registry.register(_Now(admission, status, withheld))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Now(Collector):
    """The state at the moment of the scrape."""

    def __init__(
        self, admission: Admission, status: Callable[[], HolderStatus], withheld: Callable[[], WithheldList]
    ) -> None:
        self._admission, self._status, self._withheld = admission, status, withheld

    def describe(self) -> list[Metric]:
        """Return nothing: what is here is known only when it is collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        now = self._status()
        one = self._admission
        yield _gauge("places", "Requests admitted now.", one.taken)
        yield _gauge("places_limit", "Requests that are admitted at most.", one.places)
        yield _gauge("running", "Requests that a thread works on.", one.running)
        yield _gauge("ready", "1: a generation answers.", int(now.active is not None))
        yield _gauge("generation", "Release that answers; 0: none.", now.active or 0)
        yield _gauge("refused_release", "Release that is not let in; 0: none.", _refused(now))
        yield _gauge("golden", "1: the release that answers has answered its golden queries.", _golden(now))
        yield from self._takedowns()
        yield CounterMetricFamily("funnelgate_serve_swaps", "Swaps and rollbacks.", value=now.swaps)
        labels = ("slot", "state", "release")
        held = GaugeMetricFamily("funnelgate_serve_slot_queries", "Queries by slot.", labels=labels)
        for at, slot in enumerate(now.slots):
            held.add_metric((str(at), str(slot.state), str(slot.number or "")), slot.queries)
        yield held

    def _takedowns(self) -> Iterator[Metric]:
        """Yield what is withheld; a damaged list stops every answer, and must not stop the metrics that tell of it."""
        try:
            count = len(self._withheld())
        except (FunnelgateError, OSError):  # logged with each query that it stops
            yield _gauge("withheld_readable", _READABLE, 0)
            return
        yield _gauge("withheld_readable", _READABLE, 1)
        yield _gauge("withheld", "Things that takedowns withhold.", count)


def _golden(now: HolderStatus) -> int:
    return int(any(slot.number == now.active and slot.golden for slot in now.slots))


def _refused(now: HolderStatus) -> int:
    """Return the number of the refused release; -1 where the pointer itself cannot be read."""
    if now.refused is None:
        return 0
    return -1 if now.refused.number is None else now.refused.number


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"funnelgate_serve_{name}", text, value=value)
