"""A study as a page of its own: the plot of recall against speed, the table, and how it was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from pipeline.index.study import Contender, Point, Study, findings, in_words, shown_point
from reporting.text_file import replace_text

# A recall is drawn by its misses on a logarithmic scale, or 0.95, 0.99 and 0.999 would be one spot; so many are none.
_NO_MISS = 5e-4
_RECALLS = (0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_STEPS = (1, 2, 5)


class Dot(NamedTuple):
    """A point in percent of the plot, and what it says."""

    x: float
    y: float
    said: str


class Line(NamedTuple):
    """One contender in the plot: the number of its colour, its dots, and the path through them."""

    colour: int
    name: str
    dots: tuple[Dot, ...]
    path: str


class Plot(NamedTuple):
    """Everything in percent, from the upper left corner; an x tick's flag: a narrow screen has room for it too."""

    x_ticks: tuple[tuple[float, str, bool], ...]
    y_ticks: tuple[tuple[float, str], ...]
    target: float
    lines: tuple[Line, ...]


class Row(NamedTuple):
    """One contender in the table, in words."""

    colour: int
    name: str
    reached: bool
    cells: tuple[tuple[str, str], ...]
    points: tuple[tuple[str, str, str], ...]


def plot_of(study: Study) -> Plot:
    """Lay the points out: recall to the right by its misses, queries a second upwards, both logarithmic."""
    points = [point for one in study.contenders for point in one.points]
    target = study.settings.target
    left = _along(min([point.recall for point in points] + [target]) - 0.02)
    right = -math.log10(_NO_MISS)
    ticks = _speeds(points)
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])

    def across(recall: float) -> float:
        return round(100 * (_along(recall) - left) / (right - left), 2)

    def down(speed: float) -> float:
        return round(100 * (high - math.log10(speed)) / (high - low), 2)

    lines = []
    for colour, one in enumerate(study.contenders):
        dots = tuple(
            Dot(across(point.recall), down(point.queries_per_second), f"{one.name}, {_said(one, point, study)}")
            for point in one.points
        )
        path = " ".join(f"{'L' if number else 'M'}{dot.x} {dot.y}" for number, dot in enumerate(dots))
        lines.append(Line(colour, one.name, dots, path))
    named = _apart([(across(recall), f"{recall:g}") for recall in _RECALLS if _along(recall) >= left], 4.5)
    narrow = _apart(named, 15.0)
    return Plot(
        x_ticks=(*((at, text, (at, text) in narrow) for at, text in named), (100.0, "all", True)),
        y_ticks=tuple((down(speed), _short(speed)) for speed in ticks),
        target=across(target),
        lines=tuple(line for line in lines if line.dots),
    )


def _along(recall: float) -> float:
    """Return how far to the right a recall stands: minus the logarithm of the share missed."""
    return -math.log10(min(1.0, max(_NO_MISS, 1.0 - recall)))


def _apart(ticks: list[tuple[float, str]], gap: float) -> list[tuple[float, str]]:
    """Leave out what is nearer than `gap` to its right neighbour, from the right edge on."""
    kept: list[tuple[float, str]] = []
    for at, text in reversed(ticks):
        if at < (kept[-1][0] if kept else 100.0) - gap:
            kept.append((at, text))
    return kept[::-1]


def _speeds(points: list[Point]) -> list[float]:
    """Return round numbers around all speeds, at most seven."""
    least = min(point.queries_per_second for point in points)
    most = max(point.queries_per_second for point in points)
    exponents = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 2)
    every = [float(step * 10**exponent) for exponent in exponents for step in _STEPS]
    below = max(value for value in every if value <= least)
    above = min(value for value in every if value > most)
    inside = [value for value in every if below <= value <= above]
    if len(inside) > 7:
        tens = [value for value in inside if math.log10(value).is_integer()]
        inside = sorted({inside[0], inside[-1], *tens})
        near = [one for one in tens if one in inside and _touch(one, inside[0], inside[-1])]
        inside = [value for value in inside if value not in near]
    return inside


def _touch(value: float, least: float, most: float) -> bool:
    """Say whether a label would stand on one of the ends' labels."""
    return any(value != end and abs(math.log10(value / end)) < 0.35 for end in (least, most))


def _short(speed: float) -> str:
    return f"{speed / 1000:g}k" if speed >= 1000 else f"{speed:g}"


def _said(one: Contender, point: Point, study: Study) -> str:
    how = in_words(one, point)
    return f"{how}: recall@{study.settings.k} {point.recall:.4f}, {point.queries_per_second:,.0f} queries/s"


def rows_of(study: Study) -> list[Row]:
    """Return the table's rows, those that were measured."""
    target, k = study.settings.target, study.settings.k
    rows = []
    for colour, one in enumerate(study.contenders):
        if not one.points:
            continue
        point = shown_point(one, target)
        cells = (
            (f"recall@{k}", f"{point.recall:.3f}"),
            ("queries/s", f"{point.queries_per_second:,.0f}"),
            ("with", in_words(one, point)),
            ("bytes/vector", f"{one.bytes_per_vector:,.0f}"),
            ("build", _seconds(one.build_seconds)),
            ("merge", _seconds(one.merge_seconds)),
            ("delete", _seconds(one.delete_seconds)),
        )
        every = tuple((in_words(one, at), f"{at.recall:.4f}", f"{at.queries_per_second:,.0f}") for at in one.points)
        rows.append(Row(colour, one.name, point.recall >= target, cells, every))
    return rows


def _seconds(value: float | None) -> str:
    """Write seconds to two figures; None is a thing that cannot be done."""
    if value is None:
        return "none"
    if value >= 10:
        return f"{value:,.0f} s"
    return f"{value:.2g} s" if value >= 0.095 else f"{1000 * value:.2g} ms"


def write_page(study: Study, name: str, path: Path) -> None:
    """Write the page; an existing file is replaced as a whole.

    Args:
        study: With at least one contender that was measured.
        name: Of the vectors.
        path: Where to.

    Raises:
        StoreError: The disk refuses.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("study.html.j2")
    text = page.render(
        study=study,
        name=name,
        plot=plot_of(study),
        rows=rows_of(study),
        findings=findings(study),
        skipped=_refusals(study),
    )
    replace_text(path, text, "name another file by --html")


def _refusals(study: Study) -> list[str]:
    """Return what faiss said when it was asked to merge or delete and could not."""
    told = []
    for one in study.contenders:
        for word, why in (("merge", one.no_merge), ("delete", one.no_delete)):
            if why:
                told.append(f"{one.name}, {word}: {why}")
    return told
