"""The line of one record in the table of all records, written here and not in the template.

There are up to 10,000 of them on a page, of ten cells each: with the lines in the template, the page of 9,000 records
took 1.6 times as long to draw.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dashboards.page.links import anchor
from dashboards.page.render import duration, number, when

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from dashboards.page.view_leaves import LeafRow
    from reporting.record import TaskRecord

_TONE = {"succeeded": "good", "failed": "bad", "skipped": "quiet"}


def leaf_row(row: LeafRow, late: str = "") -> Markup:
    """Return a `<tr>` with ten cells; every text of data in it is escaped.

    Args:
        row: With a record.
        late: Markup that says so.

    Raises:
        ValueError: the row has no record.
    """
    from markupsafe import Markup

    one, leaf = row.record, row.leaf
    if one is None:
        raise ValueError(f"{leaf}: no record, so no line of one")
    place = anchor(leaf.task, leaf.category, leaf.subinstance, row.planid)
    idle = "" if row.counts else ' class="idle"'
    return Markup(  # noqa: S704 - whatever is text of data goes through `_safe`
        f'<tr id="{_safe(place)}" data-counts="{one.input} {one.output} {one.produced}"{idle}>'
        f'<th scope="row">{_safe(leaf.subinstance)}<td>{_safe(row.planid)}'
        f'<td class="is {_TONE[one.state.value]}">{one.state.value}{late and f" {late}"}'
        f"<td>{number(one.input)}<td>{number(one.output)}<td>{number(one.produced)}<td>{_lost(one)}"
        f"<td>{duration(one.seconds)}<td>{one.attempt}<td>{when(one.reported_at)}</tr>"
    )


def _lost(one: TaskRecord) -> str:
    """Return why items did not go on: drop reasons, then errors."""
    dropped = ", ".join(f"{_safe(reason.replace('_', ' '))} {number(count)}" for reason, count in _some(one.dropped))
    failed = [
        f'<span class="bad"><span class="state">{_safe(name)}</span></span> {number(count)}'
        for name, count in _some(one.failed)
    ]
    return " ".join([*([dropped] if dropped else []), *failed])


def _some(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in counts.items() if count]


@lru_cache(maxsize=1 << 14)
def _safe(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))
