"""From a page's facts to HTML: every text escaped, every name that a template misses an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date as Date
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dashboards.page.links import (
    Kibana,
    anchor,
    compare_path,
    day_path,
    days_path,
    incident_path,
    kibana_address,
    leaves_path,
    plan_path,
    up,
)

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


class Page(NamedTuple):
    """One page before it is drawn."""

    path: str
    """Relative to the folder of all pages: `day/2026-11-01.html`."""
    template: str
    """Its file in `templates/`, which extends `base.html.j2`."""
    title: str
    facts: Mapping[str, Any]
    """What the template names."""


class Site(NamedTuple):
    """What every page knows of the others."""

    made_at: datetime
    has: Callable[[str], bool]
    """Whether there is a page of a path; live there always is."""
    kibana: Kibana | None = None
    newest: Date | None = None
    """The day that `index.html` is about."""
    project: str | None = None
    """What leads from the folder of all pages to the project's own, with a slash at its end; None: nothing does."""


def render(page: Page, site: Site) -> str:
    """Return a page as HTML. Equal arguments give equal text."""
    root = up(page.path)
    text = (
        environment()
        .get_template(page.template)
        .render(
            **page.facts,
            page=page,
            site=site,
            root=root,
            stylesheet=stylesheet(),
            nav=[(label, path) for label, path in _nav(site) if site.has(path)],
        )
    )
    # Names come from data: half of a surrogate pair has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def _nav(site: Site) -> list[tuple[str, str]]:
    day = [] if site.newest is None else [("Newest day", day_path(site.newest))]
    rest = [("Incidents", "incidents.html"), ("Gate", "gate.html"), ("Release", "release.html")]
    return [("Overview", "index.html"), *day, *rest, ("Eviction", "eviction.html")]


@cache
def stylesheet() -> str:
    """Return the stylesheet that stands in every page."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob("*.css")))


@cache
def environment() -> Environment:
    """Return the templates with the filters and addresses that they use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "n": number,
        "pct": percent,
        "signed": signed,
        "when": when,
        "seconds": duration,
        "bytes": in_bytes,
        "spark_points": spark_points,
        "css": Markup,  # our own stylesheet, never data
    }
    paths = (day_path, leaves_path, days_path, plan_path, compare_path, incident_path, anchor, kibana_address)
    made.globals |= {one.__name__: one for one in paths}
    return made


def number(value: float | None) -> str:
    """Return a number with its thousands apart; a dash where there is none.

    Example:
        >>> number(41207), number(0.25), number(None)
        ('41,207', '0.25', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:,.4g}"


def percent(ratio: float | None) -> str:
    """Return a share of 0..1; 100 % is said of all only, and 0 % of none.

    Example:
        >>> percent(1.0), percent(0.99999), percent(0.5), percent(None)
        ('100 %', '99.9 %', '50.0 %', '–')
    """
    if ratio is None:
        return "–"
    if ratio in (0, 1):
        return f"{100 * ratio:.0f} %"
    return f"{min(max(100 * ratio, 0.1), 99.9) if 0 < ratio < 1 else 100 * ratio:.1f} %"


def signed(value: float | None) -> str:
    """Return a difference with its sign: `+12`, `−3`, `0`."""
    if value is None:
        return "–"
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{number(abs(value))}"


def when(moment: datetime | None) -> str:
    """Return a moment, in UTC and to the second."""
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """Return seconds in the largest fitting unit.

    Example:
        >>> duration(0.42), duration(90), duration(7200)
        ('0.42 s', '1.5 min', '2.0 h')
    """
    if seconds is None:
        return "–"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.3g} s"


def in_bytes(count: float | None) -> str:
    """Return bytes in the largest fitting unit of 1000."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def spark_points(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """Return where the values of a small line stand in a box of 100 by 24; None has no point."""
    known = [value for value in values if value is not None]
    low, width = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    step = 94 / max(1, len(values) - 1)
    return [
        (round(3 + step * place, 1), round(21 - 18 * ((value - low) / width if width else 0.5), 1))
        for place, value in enumerate(values)
        if value is not None
    ]
