"""Tables of an evaluation set and of its crawl list, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

from evaluation.crawl_list import Wanted
from evaluation.set_power import FLIPPED, MARGIN_PP
from evaluation.set_report import SetReport
from evaluation.validators import Severity

_EXAMPLES = 3


def set_lines(report: SetReport) -> Iterator[RenderableType]:
    """Yield what a set holds, what is wrong with it, and what each slice can prove."""
    gallery, counts = report.gallery, report.counts
    yield f"[bold]{escape(report.set_id)}[/]"
    yield f"queries    {counts['queries']:,} of {counts['clusters']:,} products: {escape(gallery.query_domain)}"
    yield (
        f"gallery    {counts['images']:,} pictures of {counts['groups']:,} groups ({counts['live_groups']:,} products"
        f" live): {escape(gallery.gallery_domain)}"
    )
    if gallery.no_distractors:
        yield f"[yellow]no distractors: {escape(gallery.no_distractors)}[/]"
    else:
        yield f"distractors {counts['same_style']:,} of the same style, {counts['noise']:,} noise"
    window = "no window" if gallery.window_days is None else f"window of {gallery.window_days} days"
    yield f"as of      {gallery.as_of or 'no day'}, {window}, self-match {gallery.self_match}"
    yield f"checked    {escape(report.contamination)}"
    yield f"relevant   {_spread(report.relevant_images)}"
    for fault in report.faults:
        colour = "red" if fault.severity is Severity.ERROR else "yellow"
        some = escape(", ".join(fault.examples[:_EXAMPLES])) + (", ..." if fault.count > _EXAMPLES else "")
        yield f"[{colour}]{fault.severity.value}[/] {fault.code}: {escape(fault.message)} ({some})"
    yield _power_table(report)


def _spread(sizes: dict[int, int]) -> str:
    """Return the quartiles of the number of relevant pictures a query."""
    values = [size for size, count in sizes.items() for _ in range(count)]
    if not values:
        return "no query"
    middle = values[(len(values) - 1) // 2]
    return f"{values[0]:,} to {values[-1]:,} live pictures a query, median {middle:,}"


def _power_table(report: SetReport) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = f"smallest margin provable in pp (alpha 0.05, power 0.90); * cannot prove {MARGIN_PP:g} pp at 2 %"
    table.add_column("slice", overflow="fold")
    for heading in ("queries", "products", *(f"{100 * share:g} % flip" for share in FLIPPED)):
        table.add_column(heading, justify="right")
    for row in report.slices:
        mark = " [yellow]*[/]" if row.underpowered else ""
        margins = [f"{row.margin_pp[str(one)]:.1f}-{row.margin_pp_worst[str(one)]:.1f}" for one in FLIPPED]
        table.add_row(escape(row.slice) + mark, f"{row.queries:,}", f"{row.clusters:,}", *margins)
    return table


def crawl_table(rows: Sequence[Wanted], shown: int) -> Table:
    """Return the first rows of a crawl list."""
    table = Table(box=None, pad_edge=False)
    for heading in ("query", "category", "should find", "why not", "nearest"):
        table.add_column(heading, overflow="fold")
    for heading in ("findable", "returned"):
        table.add_column(heading, justify="right")
    for row in rows[:shown]:
        cells = (row.query_id, row.category, ";".join(row.groups), row.reason.value, row.nearest)
        table.add_row(*map(escape, cells), f"{row.findable:,}", f"{row.returned:,}")
    return table
