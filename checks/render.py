"""A run of checks as tables and lines of a terminal, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

from checks.breaks import facts_of
from checks.formats import worst_first
from checks.kinds.base import Check, Instance
from checks.result import Result, Status
from checks.run import Run

_STYLES = {
    Status.PASS: "green",
    Status.WARN: "yellow",
    Status.FAIL: "red bold",
    Status.NOT_EVALUATED: "dim",
    Status.ERROR: "magenta bold",
}
_BAR = 20
"""Characters of a bar that is the whole break."""


def words(status: Status) -> str:
    """Return a status as markup."""
    return f"[{_STYLES[status]}]{status.value.replace('_', ' ')}[/]"


def run_table(run: Run) -> Table:
    """Return one line for each check: how many of its results have which status."""
    title = f"{run.date}, as of {run.as_of:%Y-%m-%d %H:%M} UTC: {words(run.status)}"
    table = Table(title=title, box=None, pad_edge=False, title_justify="left", title_style="")
    table.add_column("check")
    table.add_column("kind")
    for status in Status:
        table.add_column(status.value.replace("_", " "), justify="right")
    by_check: dict[tuple[str, str], Counter[Status]] = {}
    for result in run.results:
        by_check.setdefault((result.id, result.kind), Counter())[result.status] += 1
    for (check_id, kind), counts in by_check.items():
        cells = [_count(status, counts[status]) for status in Status]
        table.add_row(escape(check_id), kind, *cells)
    return table


def _count(status: Status, count: int) -> str:
    return f"[{_STYLES[status]}]{count}[/]" if count else "[dim].[/]"


def run_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield lines of markup about results, the worst first: what was found, where it sits, and what mends it."""
    for result in worst_first(results):
        aside = "" if result.counts else " [dim](does not count)[/]"
        yield f"{words(result.status)}  {escape(result.id)}  {escape(result.instance)}: {escape(result.reason)}{aside}"
        if result.sentence:
            yield f"      {escape(result.sentence)}"
        if result.repair:
            yield f"      to mend it: {escape(result.repair)}"


def explained(result: Result, check: Check) -> Iterator[str]:
    """Yield lines of markup with everything that is known of one result."""
    yield f"{words(result.status)}  {escape(result.id)} ({result.kind})  {escape(result.instance)}"
    yield f"  {escape(result.reason)}"
    for name in ("value", "expected", "tolerance", "numerator", "denominator"):
        number = getattr(result, name)
        if number is not None:
            yield f"  {name:12} {number:,.6g}"
    if result.history is not None:
        yield f"  {'history':12} {result.history} days"
    yield from _causes(result)
    told = [
        *facts_of(result).items(),
        ("plan", result.key.planid),
        ("what it is", check.description),
        ("owner", check.owner),
        ("runbook", check.runbook),
        ("to mend it", result.repair),
    ]
    yield from (f"  {name:12} {escape(str(value))}" for name, value in told if value not in (None, "", [], {}))


def _causes(result: Result) -> Iterator[str]:
    if result.sentence:
        yield f"  {escape(result.sentence)}"
    for cause in result.explain:
        bar = "#" * round(_BAR * min(1.0, abs(cause.share)))
        where = ", ".join(f"{dimension}={'|'.join(values)}" for dimension, values in cause.where.items())
        yield f"    {bar:{_BAR}} {100 * cause.share:5.1f} % {cause.missing:+,.6g}  {escape(where or 'everywhere')}"


def plan_table(instances: Sequence[Instance]) -> Table:
    """Return what a file of checks expands to: one line an instance."""
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "kind", "instance", "by"):
        table.add_column(heading, overflow="fold")
    for one in instances:
        table.add_row(escape(one.check), one.kind, escape(one.instance), ", ".join(one.by))
    return table
