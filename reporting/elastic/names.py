"""Names of the indices: `<prefix>-<kind>`, by month of the record's own date where there may be many documents.

The month is the record's, not the clock's: a retry next month still meets its twin. Nothing imports a client here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date as Date
from enum import StrEnum

from reporting.key import RunKey
from reporting.plans import Leaf


class Kind(StrEnum):
    """The kinds of documents; each has an index template in `templates/<kind>.json`."""

    RECORDS = "records"
    EVENTS = "events"
    EXPECTED = "expected"
    PLANS = "plans"
    VERDICTS = "verdicts"
    EFFECTIVE = "effective"
    EVALUATIONS = "evaluations"
    INCIDENTS = "incidents"


MONTHLY = (Kind.RECORDS, Kind.EVENTS, Kind.EXPECTED, Kind.EVALUATIONS)
"""Kinds with one index a month; the others have one index."""


def index_of(prefix: str, kind: Kind, day: Date | None = None) -> str:
    """Return the index of a document.

    Example:
        >>> index_of("funnelgate", Kind.RECORDS, Date(2026, 11, 1))
        'funnelgate-records-2026.11'
        >>> index_of("funnelgate", Kind.PLANS)
        'funnelgate-plans'
    """
    if kind not in MONTHLY:
        return f"{prefix}-{kind.value}"
    assert day is not None
    return f"{prefix}-{kind.value}-{day:%Y.%m}"


def pattern_of(prefix: str, kind: Kind) -> str:
    """Return what to search to see every document of a kind."""
    return f"{prefix}-{kind.value}-*" if kind in MONTHLY else f"{prefix}-{kind.value}"


def event_id(key: RunKey, version: int) -> str:
    """Return the id of the event that says a record was booked: the one in SQL's `event` table."""
    return event_id_of(key.parts(), version)


def event_id_of(parts: Sequence[str], version: int) -> str:
    """Return `event_id` from the parts of the key."""
    return hashlib.sha256(f"{'|'.join(parts)}|{version}|record".encode()).hexdigest()[:32]


def expected_id(planid: str, leaf: Leaf) -> str:
    """Return the id of one line of a manifest."""
    parts = (planid, leaf.task, leaf.date.isoformat(), leaf.category, leaf.subinstance)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def effective_key(leaf: Leaf) -> str:
    """Return the value that `funnelgate-effective` and every record share: `task|date|category|subinstance`."""
    return "|".join((leaf.task, leaf.date.isoformat(), leaf.category, leaf.subinstance))


def effective_id(leaf: Leaf) -> str:
    """Return the document id of a leaf's effective plan (the key itself may be longer than an id can be)."""
    return hashlib.sha256(effective_key(leaf).encode()).hexdigest()[:32]


def evaluation_id(run_id: str, check_id: str, instance: str) -> str:
    """Return the id of what one check said of one of its instances in one run."""
    return hashlib.sha256("|".join((run_id, check_id, instance)).encode()).hexdigest()[:32]
