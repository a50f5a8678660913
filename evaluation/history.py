"""The gate's verdicts over time: what was measured, with its interval, and what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date as Date
from typing import Any

from pydantic import BaseModel, ConfigDict

from reporting.stores.base import RecordStore
from reporting.verdict import Verdict


class Judged(BaseModel):
    """One verdict as a point of a trend.

    Attributes:
        date: The day that was judged.
        planid: Its plan; a day done again has several.
        verdict_id: Names it.
        outcome: PASS, FAIL or INCONCLUSIVE.
        value: The metric; None where this verdict has not measured it.
        low: Lower bound, from the rule on it over all queries; None where no rule looked at it.
        high: Upper bound.
        failing: Ids of the rules that do not pass, with their slices and baselines; () where no rule was judged.
        reason: The first of their sentences; "" for a PASS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    planid: str
    verdict_id: str
    outcome: str
    value: float | None
    low: float | None
    high: float | None
    failing: tuple[str, ...]
    reason: str


def verdicts_of(store: RecordStore, first: Date, last: Date) -> list[Verdict]:
    """Return every verdict on days from `first` to `last`, by day and time of decision."""
    plans = dict.fromkeys(plan.planid for plan in store.plans(first, last))
    found = {
        verdict.verdict_id: verdict
        for planid in plans
        for verdict in store.verdicts(planid)
        if first <= verdict.date <= last
    }
    return sorted(found.values(), key=lambda verdict: (verdict.date, verdict.decided_at, verdict.verdict_id))


def trend(verdicts: Iterable[Verdict], metric: str) -> list[Judged]:
    """Return a point for each verdict, in the order given."""
    return [_point(verdict, metric) for verdict in verdicts]


def known_metrics(verdicts: Iterable[Verdict]) -> list[str]:
    """Return the metrics that any verdict holds, by name."""
    return sorted({name for verdict in verdicts for name in verdict.metrics})


def _point(verdict: Verdict, metric: str) -> Judged:
    low, high = _interval(verdict, metric)
    bad = [row for row in verdict.evidence if row.get("decision") != "PASS"]
    return Judged(
        date=verdict.date,
        planid=verdict.planid,
        verdict_id=verdict.verdict_id,
        outcome=verdict.outcome.value,
        value=verdict.metrics.get(metric),
        low=low,
        high=high,
        failing=tuple(_named(row) for row in bad if row.get("id") or row.get("metric")),
        reason=str(bad[0].get("reason", "")) if bad else "",
    )


def _interval(verdict: Verdict, metric: str) -> tuple[float | None, float | None]:
    for row in verdict.evidence:
        is_it = row.get("metric") == metric and row.get("slice") == "all" and row.get("vs") is None
        if is_it and row.get("interval"):
            low, high = row["interval"]
            return float(low), float(high)
    return None, None


def _named(row: Mapping[str, Any]) -> str:
    """Return `rule`, `rule[category=hats]` or `rule[category=hats] vs champion`."""
    where = "" if row.get("slice") in (None, "all") else f"[{row['slice']}]"
    against = f" vs {row['vs']}" if row.get("vs") else ""
    return f"{row.get('id') or row['metric']}{where}{against}"


SHOWN = 6
"""Rules named in a line; a category lost fails one rule or two for each of its slices."""


def brief(point: Judged) -> str:
    """Return what does not pass in a line: the first rules by name, or the reason where no rule was judged."""
    more = len(point.failing) - SHOWN
    return ", ".join(point.failing[:SHOWN]) + (f" and {more} more" if more > 0 else "") or point.reason


def figure(value: float) -> str:
    """Return a share with four places, a count whole."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"


BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None]) -> str:
    """Return values as blocks between their least and greatest; a blank where there is none.

    Example:
        >>> sparkline([0.5, None, 1.0, 0.75])
        '▁ █▄'
    """
    known = [value for value in values if value is not None]
    low, width = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return "".join(
        " " if value is None else BLOCKS[int((value - low) / width * (len(BLOCKS) - 1) + 0.499) if width else 3]
        for value in values
    )
