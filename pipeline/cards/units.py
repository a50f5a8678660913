"""Attempts of units of work, and the lines of the log about a day, as plain mappings; the page has their fields."""

from __future__ import annotations

import json
from datetime import date as Date
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from reporting import tables as t
from reporting.key import KEY_PARTS
from reporting.stores.sql import SqlStore

MOST_LINES: Final = 5000
"""Lines of the log about one day: the newest."""
_MOST_BYTES: Final = 32_000_000
"""Read from the end of the log; older lines are in the log itself."""
_MOST_TEXT: Final = 2000
"""Characters of a message or an error."""


def unit_cards(store: SqlStore, day: Date) -> list[dict[str, Any]]:
    """Return the attempts of a day's units of work, sorted by key and attempt; one that never began has attempt 0."""
    unit, tried = t.instance.c, t.attempt.c
    statement = (
        select(
            unit.task,
            unit.category,
            unit.subinstance,
            unit.planid,
            unit.state,
            tried.attempt,
            tried.worker,
            tried.outcome,
            tried.error,
            tried.started_at,
            tried.finished_at,
        )
        .select_from(t.instance.outerjoin(t.attempt, tried.instance_id == unit.id))
        .where(unit.date == day)
        .order_by(unit.task, unit.category, unit.subinstance, unit.planid, tried.attempt)
    )
    with store.read() as connection:
        return [
            {
                **{name: row[name] for name in ("task", "category", "subinstance", "planid", "state")},
                "attempt": row["attempt"] or 0,
                "worker": row["worker"] or "",
                "outcome": row["outcome"] or "",
                "error": (row["error"] or "")[:_MOST_TEXT],
                "started_at": row["started_at"] and datetime.fromisoformat(row["started_at"]),
                "finished_at": row["finished_at"] and datetime.fromisoformat(row["finished_at"]),
            }
            for row in connection.execute(statement).mappings()
        ]


def log_cards(path: Path | None, day: Date) -> list[dict[str, Any]]:
    """Return the newest lines of a log about a day, oldest first.

    Args:
        path: The log of the settings, JSON lines; None or a file that is not there: no lines.
        day: The business day, as the run key of a line names it; lines without a key are left out.
    """
    if path is None or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _MOST_BYTES))
        lines = file.read().splitlines()
    wanted = f'"funnelgate.date": "{day.isoformat()}"'.encode()
    found = [card for line in lines if wanted in line and (card := _line(line)) is not None]
    return found[-MOST_LINES:]


def _line(line: bytes) -> dict[str, Any] | None:
    """Return a line of the log; None: it is cut short, or not one of ours."""
    try:
        read = json.loads(line)
        key = {part: str(read[f"funnelgate.{part}"]) for part in KEY_PARTS if part != "date"}
        at = datetime.fromisoformat(read["@timestamp"])
    except (ValueError, KeyError, TypeError):
        return None
    text = ": ".join(str(read[name]) for name in ("message", "error.message") if read.get(name))
    return {**key, "at": at, "level": str(read.get("log.level", "")), "text": text[:_MOST_TEXT]}
