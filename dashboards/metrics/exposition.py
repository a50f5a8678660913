"""The figures in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboards.metrics.families import FAMILIES, Figure

CONTENT_TYPE = CONTENT_TYPE_LATEST


class FigureCollector(Collector):
    """Gives figures that were read before to a registry; each family is told, also one without any figure.

    Args:
        figures: Of any families of `FAMILIES`; each name and labels at most once.
    """

    def __init__(self, figures: Iterable[Figure]):
        self._figures = tuple(figures)

    def collect(self) -> Iterator[Metric]:
        """Yield the families in their order."""
        by_name: dict[str, list[Figure]] = {family.name: [] for family in FAMILIES}
        for figure in self._figures:
            by_name[f"funnelgate_{figure.name}"].append(figure)
        for family in FAMILIES:
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for figure in by_name[family.name]:
                if len(figure.labels) != len(family.labels):
                    raise AssertionError(f"{family.name}{figure.labels}: expected the labels {family.labels}")
                metric.add_metric([_clean(label) for label in figure.labels], figure.value)
            yield metric


def text_of(figures: Iterable[Figure]) -> bytes:
    """Return figures as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(FigureCollector(figures))
    return generate_latest(registry)


def _clean(label: str) -> str:
    """Return a label that has UTF-8: half of a surrogate pair has none. Quotes and line ends are escaped later."""
    return label.encode("utf-8", "backslashreplace").decode()
