"""The gate's verdicts as plain mappings, for pages; `dashboards/page/cards.py` has their fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from typing import Any

from evaluation.history import verdicts_of
from reporting.stores.base import RecordStore
from reporting.verdict import Verdict


def verdict_cards(
    store: RecordStore, first: Date, last: Date, reports: Mapping[tuple[Date, str], str]
) -> list[dict[str, Any]]:
    """Return the verdicts about some days, bounds included, by day and time of decision.

    Args:
        store: Holds them.
        first: The first day.
        last: The last day.
        reports: (day, planid) to where the gate's page lies; what is not there has none.
    """
    return [_card(one, reports.get((one.date, one.planid))) for one in verdicts_of(store, first, last)]


def _card(verdict: Verdict, report: str | None) -> dict[str, Any]:
    return {
        "verdict_id": verdict.verdict_id,
        "date": verdict.date,
        "planid": verdict.planid,
        "outcome": verdict.outcome.value,
        "decided_at": verdict.decided_at,
        "metrics": verdict.metrics,
        "rules": [_rule(row) for row in verdict.evidence],
        "report": report,
    }


def _rule(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of evidence; what a verdict from outside the gate leaves out is "" or None."""
    low, high = row.get("interval") or (None, None)
    return {
        "id": str(row.get("id") or ""),
        "metric": str(row.get("metric") or ""),
        "slice": str(row.get("slice") or "all"),
        "vs": row.get("vs"),
        "status": str(row.get("status") or row.get("decision") or "").lower(),
        "value": row.get("value"),
        "low": low,
        "high": high,
        "limit": row.get("limit"),
        "n": row.get("n"),
        "reason": str(row.get("reason") or ""),
    }
