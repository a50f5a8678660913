"""Rich tables of the funnel and the balance, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

from reporting.balance import Balance
from reporting.funnel import FunnelRow


def funnel_table(rows: Sequence[FunnelRow], title: str | None = None) -> Table:
    """Return the funnel as a table: one line a task."""
    table = Table(title=None if title is None else escape(title), box=None, pad_edge=False, title_justify="left")
    table.add_column("task")
    for heading in ("in", "out", "kept"):
        table.add_column(heading, justify="right")
    table.add_column("dropped and failed, by reason", overflow="fold")
    for row in rows:
        kept = "-" if row.kept_ratio is None else f"{100 * row.kept_ratio:.1f} %"
        reasons = [f"{escape(reason)} {count:,}" for reason, count in row.dropped.items()]
        reasons += [f"[red]{escape(name)} {count:,}[/]" for name, count in row.failed.items()]
        unit = "" if row.unit_in == row.unit_out else f" [dim]-> {row.produced:,} {escape(row.unit_out)}s[/]"
        table.add_row(escape(row.task), f"{row.input:,}", f"{row.output:,}", kept, ", ".join(reasons) + unit)
    return table


def balance_table(found: Balance) -> Table:
    """Return the trial balance: one line a day and plan, the last line their sum."""
    table = Table(box=None, pad_edge=False)
    table.add_column("date")
    table.add_column("plan")
    for heading in ("input", "output", "dropped", "failed", "unexplained"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in found.rows:
        counts = [f"{count:,}" for count in (row.input, row.output, row.dropped, row.failed)]
        notes = ["provisional"] if row.provisional else []
        notes += [f"{row.missing_leaves} leaves missing"] if row.missing_leaves else []
        table.add_row(
            row.date.isoformat(), escape(row.planid), *counts, _unexplained(row.unexplained), ", ".join(notes)
        )
    sums = [sum(getattr(row, name) for row in found.rows) for name in ("input", "output", "dropped", "failed")]
    total = sum(row.unexplained for row in found.rows)
    table.add_section()
    table.add_row("[bold]all[/]", "", *(f"{count:,}" for count in sums), _unexplained(total), "")
    return table


def _unexplained(count: int) -> str:
    return "[green]0[/]" if count == 0 else f"[red bold]{count:,}[/]"
