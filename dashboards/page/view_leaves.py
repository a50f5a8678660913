"""Every record of a day: task, then category, then package, its attempts and its lines of log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from dashboards.page.cards import LogCard, UnitCard
from dashboards.page.desk import Desk
from dashboards.page.facts import DayFacts
from dashboards.page.leaf_row import leaf_row
from dashboards.page.links import leaves_path
from dashboards.page.render import Page
from dashboards.page.routes import parse_day
from reporting.effective import leaf_of
from reporting.key import ALL
from reporting.plans import Leaf
from reporting.record import State, TaskRecord

MOST_ROWS = 10_000
"""Leaves shown, of every plan: of more, those that need a look and those that count come before others."""
MOST_DETAILED = 600
"""Leaves whose attempts, log and further numbers are shown: those that need a look come before others."""
MOST_LOG_LINES = 20
"""Of one leaf, the newest."""

_Key = tuple[str, str, str, str]
_Card = TypeVar("_Card", UnitCard, LogCard)


class Detail(NamedTuple):
    """What lies behind a record."""

    attempts: tuple[UnitCard, ...]
    log: tuple[LogCard, ...]
    log_left_out: int


class LeafRow(NamedTuple):
    """One leaf of one plan; `record` is None where it is missing."""

    leaf: Leaf
    planid: str
    counts: bool
    """Whether its plan is the effective one."""
    record: TaskRecord | None
    late: str
    """late, missing or ""."""
    detail: Detail | None
    """None: left out, for the page would grow too large."""


class CategoryPart(NamedTuple):
    """The leaves of one task and category."""

    category: str
    rows: tuple[LeafRow, ...]


class TaskPart(NamedTuple):
    """The leaves of one task."""

    task: str
    parts: tuple[CategoryPart, ...]
    rows: int
    troubled: int
    """Those that failed, are late or missing, or took more than one attempt."""


def page(desk: Desk, text: str) -> Page | None:
    """Return the records of a day; None: it is no day, or none that has a plan."""
    day = parse_day(text)
    if day is None or day not in desk.days:
        return None
    facts = desk.day(day)
    rows, left_out = leaf_rows(facts, desk.units(day), desk.log_lines(day))
    context = {
        "day": facts,
        "leaf_row": leaf_row,
        "parts": task_parts(desk.topology.order, rows),
        "rows": len(rows),
        "left_out": left_out,
        "detailed": sum(row.detail is not None for row in rows),
    }
    return Page(leaves_path(day), "leaves.html.j2", f"Records of {day}", context)


def paths(desk: Desk) -> Iterable[str]:
    """Return the days of a static folder."""
    return [leaves_path(day) for day in desk.shown_days]


def leaf_rows(facts: DayFacts, units: Iterable[UnitCard], log: Iterable[LogCard]) -> tuple[list[LeafRow], int]:
    """Return the leaves of the day with a record or without, sorted by key, and how many were left out."""
    late = {(one.leaf, one.planid): one.state for one in facts.late}
    bare: list[LeafRow] = []
    for record in facts.records:
        leaf, planid = leaf_of(record.key), record.key.planid
        counts = facts.planid.get(leaf) == planid
        bare.append(LeafRow(leaf, planid, counts, record, late.get((leaf, planid), ""), None))
    bare += [LeafRow(one.leaf, one.planid, True, None, one.state, None) for one in facts.late if one.state == "missing"]
    bare.sort(key=lambda row: (not _is_troubled(row), not row.counts, row.leaf, row.planid))
    attempts, lines = _by_unit(units), _by_unit(log)
    shown = [row._replace(detail=_detail(row, attempts, lines)) for row in bare[:MOST_DETAILED]]
    shown += bare[MOST_DETAILED:MOST_ROWS]
    return sorted(shown, key=lambda row: (row.leaf, row.planid)), max(0, len(bare) - MOST_ROWS)


def _is_troubled(row: LeafRow) -> bool:
    record = row.record
    return row.late != "" or record is None or record.state is not State.SUCCEEDED or record.attempt > 1


def _by_unit(cards: Iterable[_Card]) -> Mapping[_Key, Sequence[_Card]]:
    found: dict[_Key, list[_Card]] = defaultdict(list)
    for one in cards:
        found[one.task, one.category, one.subinstance, one.planid].append(one)
    return dict(found)


def _detail(
    row: LeafRow, attempts: Mapping[_Key, Sequence[UnitCard]], lines: Mapping[_Key, Sequence[LogCard]]
) -> Detail:
    """Return what lies behind a leaf: the unit of work may be wider, one package for all of its categories."""
    leaf = row.leaf
    keys = [(leaf.task, category, subinstance, row.planid) for category in dict.fromkeys((leaf.category, ALL))
            for subinstance in dict.fromkeys((leaf.subinstance, ALL))]  # fmt: skip
    mine = next((attempts[key] for key in keys if key in attempts), ())
    log = [line for key in keys for line in lines.get(key, ())]
    return Detail(tuple(mine), tuple(log[-MOST_LOG_LINES:]), max(0, len(log) - MOST_LOG_LINES))


def task_parts(order: Sequence[str], rows: Sequence[LeafRow]) -> list[TaskPart]:
    """Return rows by task, in the order of the tasks, and within it by category."""
    by_task: dict[str, dict[str, list[LeafRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_task[row.leaf.task][row.leaf.category].append(row)
    return [
        TaskPart(
            task,
            tuple(CategoryPart(category, tuple(mine)) for category, mine in by_task[task].items()),
            rows=sum(map(len, by_task[task].values())),
            troubled=sum(_is_troubled(row) for mine in by_task[task].values() for row in mine),
        )
        for task in order
        if task in by_task
    ]
