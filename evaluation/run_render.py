"""Tables of a system on a set, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

from evaluation.run_report import Estimate, RunReport

_ERRORS = 5


def run_lines(report: RunReport, shown: Sequence[str]) -> Iterator[RenderableType]:
    """Yield a report: how the queries ended, every metric overall, and some metrics by slice.

    Args:
        report: What was measured.
        shown: Metrics of the table by slice; the JSON form has all.
    """
    yield f"[bold]{escape(report.system)}[/] on [bold]{escape(report.set_id)}[/]"
    yield f"{escape(report.domains[0])} -> {escape(report.domains[1])}"
    ended = ", ".join(f"{count:,} {escape(name)}" for name, count in report.statuses.items())
    yield f"{report.queries:,} queries: {ended}"
    for query, message in list(report.errors.items())[:_ERRORS]:
        yield f"[red]{escape(query)}[/]: {escape(message)}"
    if len(report.errors) > _ERRORS:
        yield f"[red]... and {len(report.errors) - _ERRORS:,} more[/]; --json has all"
    yield _overall(report)
    if report.slices:
        yield _by_slice(report, shown)


def _overall(report: RunReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column(f"{100 * report.confidence:g} % interval", justify="right")
    for name, one in report.metrics.items():
        table.add_row(escape(name), f"{one.value:.4f}", f"{one.low:.4f} to {one.high:.4f}")
    return table


def _by_slice(report: RunReport, shown: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("slice", overflow="fold")
    for heading in ("queries", "products", *shown):
        table.add_column(heading, justify="right")
    for name, estimates in report.slices.items():
        first = next(iter(estimates.values()))
        cells = [_short(estimates[metric]) if metric in estimates else "-" for metric in shown]
        table.add_row(escape(name), f"{first.n:,}", f"{first.clusters:,}", *cells)
    return table


def _short(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
