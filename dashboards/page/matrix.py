"""Categories by tasks, and packages by tasks: where in the day items went missing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dashboards.page.facts import DayFacts
from reporting.key import ALL
from reporting.topology import Dimension, Topology

MOST_ROWS = 60
"""Rows shown; those that lost most come before others where there are more."""


class Cell(NamedTuple):
    """Every leaf of one task with one value of the dimension."""

    input: int
    output: int
    missing: int
    """Leaves without a record."""
    leaves: int
    """Leaves with one."""
    failed: int

    @property
    def kept(self) -> float | None:
        """Share of what came in that went on; None where nothing came in."""
        return self.output / self.input if self.input else None


class MatrixRow(NamedTuple):
    """One category or package."""

    value: str
    cells: tuple[Cell | None, ...]
    """By task; None where the task has no such leaf."""


class Matrix(NamedTuple):
    """One dimension."""

    dimension: Dimension
    tasks: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    left_out: int


def matrix(topology: Topology, facts: DayFacts, dimension: Dimension) -> Matrix:
    """Return the tasks that split by a dimension, over effective plans; without any, it has no columns and no rows."""
    tasks = tuple(task for task in topology.order if dimension in topology.task(task).grain)
    place = {task: number for number, task in enumerate(tasks)}
    cells: dict[str, list[Cell | None]] = {}

    def add(task: str, value: str, one: Cell) -> None:
        if task in place and value != ALL:
            row = cells.setdefault(value, [None] * len(tasks))
            before = row[place[task]]
            row[place[task]] = one if before is None else Cell(*map(sum, zip(before, one, strict=True)))

    for record in facts.counting:
        value = getattr(record.key, dimension)
        add(record.key.task, value, Cell(record.input, record.output, 0, 1, record.failed_total))
    for late in facts.late:
        if late.reported_at is None:
            add(late.leaf.task, getattr(late.leaf, dimension), Cell(0, 0, 1, 0, 0))
    used = [number for number in range(len(tasks)) if any(row[number] is not None for row in cells.values())]
    rows = [MatrixRow(value, tuple(row[number] for number in used)) for value, row in sorted(cells.items())]
    chosen = {row.value for row in sorted(rows, key=_worst)[:MOST_ROWS]}
    shown = tuple(row for row in rows if row.value in chosen)
    return Matrix(dimension, tuple(tasks[number] for number in used), shown, len(rows) - len(shown))


def _worst(row: MatrixRow) -> tuple[int, int, float, str]:
    """Sort by missing leaves, then errors, then by the least that any task kept."""
    there: Sequence[Cell] = [cell for cell in row.cells if cell is not None]
    kept = min((cell.kept for cell in there if cell.kept is not None), default=1.0)
    return -sum(cell.missing for cell in there), -sum(cell.failed for cell in there), kept, row.value
