"""Sources of which every part of the metrics has something to tell, and a scrape read by Prometheus' own parser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dashboards.metrics.exposition import text_of
from dashboards.metrics.figures import figures
from dashboards.page.cards import DayRows, IncidentCard, ReleaseCard, VerdictCard, WindowCard
from tests.dashboards.page import world
from tests.dashboards.page.desks import Told
from tests.dashboards.page.hostile import filled
from tests.dashboards.web.served import shelf_of

MADE = datetime(2026, 10, 27, 3, tzinfo=UTC)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def sources(category: str = "hats") -> Told:
    """Return two verdicts, three open incidents and one that ended, and a release with a tail."""

    def incident(severity: str, *, is_open: bool = True) -> IncidentCard:
        found: IncidentCard = filled(IncidentCard, world.NEWEST)
        return found.model_copy(update={"severity": severity, "is_open": is_open})

    def verdict(outcome: str, decided_at: datetime, hit: float) -> VerdictCard:
        found: VerdictCard = filled(VerdictCard, world.NEWEST)
        return found.model_copy(
            update={"outcome": outcome, "decided_at": decided_at, "metrics": {"hit@10": hit}, "date": world.NEWEST}
        )

    rows = ((world.NEWEST, 40, False), (world.BEFORE, 2, False), (world.DAYS[0], 5, True))
    days = [DayRows(category=category, date=day, rows=count, is_tail=is_tail) for day, count, is_tail in rows]
    return Told(
        incidents=[incident("page"), incident("warn"), incident("warn"), incident("page", is_open=False)],
        verdicts=[verdict("FAIL", MADE, 0.25), verdict("PASS", MADE - timedelta(hours=1), 0.75)],
        releases=[
            ReleaseCard(number=9, rows=50, created_at=MADE),
            ReleaseCard(number=8, rows=47, created_at=MADE - timedelta(days=1), marks=("current",)),
        ],
        window=WindowCard(days=tuple(days)),
    )


def scraped(file: Path, told: Any = None, days: int = 7, topology: Any = world.TOPOLOGY) -> Samples:
    """Return every sample of a scrape by name and labels."""
    return parsed(text_of(figures(shelf_of(file, told or sources(), topology).serving(), days)).decode())


def parsed(text: str) -> Samples:
    """Return the samples of a text; each stands once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in found, key
            found[key] = one.value
    return found
