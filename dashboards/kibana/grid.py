"""Whether a dashboard's panels fit on its grid: what Kibana's schema does not check, and would silently move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from dashboards.kibana.models.dashboard import MAX_ITEMS, Dashboard
from dashboards.kibana.models.panels import COLUMNS, Grid


def grid_problems(dashboard: Dashboard) -> Iterator[str]:
    """Yield what does not fit: panels that overlap, stand over the edge or leave a gap, equal ids, too many items."""
    for section, panels in dashboard.containers():
        where = f"section {section}: " if section else ""
        rows = [] if section else [(one.id, Grid(x=0, y=one.grid.y, w=COLUMNS, h=1)) for one in dashboard.sections()]
        placed = [*((panel.id, panel.grid) for panel in panels), *rows]
        yield from (f"{where}{problem}" for problem in _of_container(placed))
    ids = [panel.id for panel in dashboard.every_panel()]
    ids += [section.id for section in dashboard.sections()] + [one.id for one in dashboard.pinned_panels]
    yield from (
        f"the id {one!r} is used {ids.count(one)} times" for one in sorted({x for x in ids if ids.count(x) > 1})
    )
    if len(ids) > MAX_ITEMS:
        yield f"{len(ids)} panels, sections and controls; Kibana takes {MAX_ITEMS}"


def _of_container(placed: Sequence[tuple[str, Grid]]) -> Iterator[str]:
    for name, grid in placed:
        if grid.x + grid.w > COLUMNS:
            yield f"panel {name!r} ends at column {grid.x + grid.w}; there are {COLUMNS}"
        if grid.y > 0 and not any(_touches(grid, other) for _, other in placed):
            yield f"panel {name!r} begins at row {grid.y}, where no panel above it ends: Kibana would move it up"
    for (one, first), (other, second) in combinations(placed, 2):
        if _overlap(first, second):
            yield f"panels {one!r} and {other!r} overlap"


def _overlap(one: Grid, other: Grid) -> bool:
    beside = one.x + one.w <= other.x or other.x + other.w <= one.x
    below = one.y + one.h <= other.y or other.y + other.h <= one.y
    return not (beside or below)


def _touches(grid: Grid, above: Grid) -> bool:
    """Tell whether a panel ends exactly where another one begins, in some common column: else Kibana moves it up."""
    return above.y + above.h == grid.y and above.x < grid.x + grid.w and grid.x < above.x + above.w
