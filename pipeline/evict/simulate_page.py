"""A simulated year as a page of its own: three curves, the searches by slice, and what the numbers say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pipeline.evict.simulate_result import SLICES, TITLES, Metric, PolicyName, Sample, Simulation, reading
from reporting.text_file import replace_text

_STEPS = (1, 2, 2.5, 5)
_MOST_TICKS = 6
_NARROW = 5
"""Ticks of days that a phone has room for."""


class Tick(NamedTuple):
    """A place in percent of the plot, and what stands there."""

    at: float
    text: str
    is_wide: bool = False
    """A narrow screen has no room for it."""


class Line(NamedTuple):
    """One policy's curve: in percent of the plot, from the upper left corner."""

    name: PolicyName
    title: str
    path: str
    dots: tuple[tuple[float, float], ...]
    """Where it was measured; none where it is measured on every day."""
    last: str


class Plot(NamedTuple):
    """One curve for each policy over the days."""

    title: str
    about: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    said: str
    """For those who cannot see it."""


class Cell(NamedTuple):
    """A number of the table: what programs read, and what people do."""

    label: str
    value: str
    text: str
    is_best: bool


class Row(NamedTuple):
    """One policy in a table."""

    name: PolicyName
    title: str
    cells: tuple[Cell, ...]


Curve = tuple[Sequence[int], Sequence[float]]
"""Days from 1, and values."""


def plots_of(found: Simulation) -> tuple[Plot, ...]:
    """Return the plots: rows, coverage, and of searches for the tail recall and hit@1."""
    days = range(1, found.days + 1)
    rows: dict[PolicyName, Curve] = {name: (days, found.policies[name].rows) for name in TITLES}
    coverage: dict[PolicyName, Curve] = {name: (days, found.policies[name].coverage) for name in TITLES}
    recall, hit = (
        {name: _of_the_tail(found.policies[name].samples, metric) for name in TITLES}
        for metric in ("recall", "hit_at_1")
    )
    return (
        _plot("Rows", "stored pictures", rows, found.days, share=False),
        _plot("Coverage", "live products with at least one live picture stored", coverage, found.days, share=True),
        _plot(
            f"Recall on the tail, recall@{found.k}",
            f"of a rare product's live pictures (of {found.k} at most), the share among the first {found.k} found",
            recall,
            found.days,
            share=True,
        ),
        _plot(
            "First hit on the tail, hit@1",
            "searches for a rare product of which the first picture shows it",
            hit,
            found.days,
            share=True,
        ),
    )


def _of_the_tail(samples: Sequence[Sample], metric: Metric) -> Curve:
    measured = [(one.day, value) for one in samples if (value := one.of(metric)["tail"]) is not None]
    return [day for day, _ in measured], [value for _, value in measured]


def _plot(title: str, about: str, curves: dict[PolicyName, Curve], days: int, *, share: bool) -> Plot:
    values = [value for _, ys in curves.values() for value in ys]
    ticks = _ticks(min(values, default=0.0) if share else 0.0, max(values, default=1.0), most=1.0 if share else None)
    low, high = ticks[0], ticks[-1]

    def across(day: int) -> float:
        return round(100 * (day - 1) / max(1, days - 1), 2)

    def down(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    write = _percent if share else _whole
    named = _days(days)
    narrow = named[:: math.ceil(len(named) / _NARROW)]
    return Plot(
        title,
        about,
        tuple(Tick(across(day), str(day), day not in narrow) for day in named),
        tuple(Tick(down(value), _axis(value, share=share)) for value in ticks),
        tuple(_line(name, curve, across, down, write) for name, curve in curves.items() if curve[0]),
        f"{title}: {about}, by day. At the end: "
        + ", ".join(f"{TITLES[name]} {write(ys[-1])}" for name, (_, ys) in curves.items() if ys),
    )


def _line(
    name: PolicyName,
    curve: Curve,
    across: Callable[[int], float],
    down: Callable[[float], float],
    write: Callable[[float], str],
) -> Line:
    days, values = curve
    dots = [(across(day), down(value)) for day, value in zip(days, values, strict=True)]
    path = " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(dots))
    is_daily = len(days) > 1 and all(after - before == 1 for before, after in pairwise(days))
    return Line(name, TITLES[name], path, () if is_daily else tuple(dots), write(values[-1]))


def _ticks(least: float, most_seen: float, *, most: float | None) -> list[float]:
    """Return round numbers from one that is not above `least` to one that is not below `most_seen`."""
    span = max(most_seen - least, 1e-9 if most is None else 0.01)
    rough = span / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (*_STEPS, 10) if one * power >= rough * (1 - 1e-9))
    first, last = math.floor(least / step + 1e-9), math.ceil(most_seen / step - 1e-9)
    last = max(last, first + 1)
    if most is not None and last * step > most + 1e-9:
        first, last = first - 1 if last - first == 1 else first, round(most / step)
    return [number * step for number in range(first, last + 1)]


def _days(days: int) -> list[int]:
    """Return the days that are named: the first, round ones, and the last."""
    step = next((one for one in (1, 7, 10, 30, 60, 90, 180) if days / one <= 8), 365)
    inside = [day for day in range(step, days, step) if day > 1 and days - day >= step / 2]
    return sorted({1, *inside, days})


def _axis(value: float, *, share: bool) -> str:
    return f"{100 * value:.3g} %" if share else _short(value)


def _short(value: float) -> str:
    """Write a number of rows with four figures at most."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def standing(found: Simulation) -> list[Row]:
    """Return the table of rows and coverage on the last day."""
    kept = found.policies
    columns: list[tuple[str, dict[PolicyName, float], Callable[[float], str], bool]] = [
        ("rows", {name: kept[name].rows[-1] for name in TITLES}, _whole, False),
        ("most rows", {name: max(kept[name].rows) for name in TITLES}, _whole, False),
        ("coverage", {name: kept[name].coverage[-1] for name in TITLES}, _percent, True),
        ("least coverage", {name: min(kept[name].coverage) for name in TITLES}, _percent, True),
        ("lost products", {name: kept[name].lost for name in TITLES}, _whole, False),
    ]
    return [
        Row(
            name,
            title,
            tuple(
                Cell(label, repr(values[name]), write(values[name]), _is_best(values[name], values, high))
                for label, values, write, high in columns
            ),
        )
        for name, title in TITLES.items()
    ]


def searches(found: Simulation) -> list[tuple[str, int, list[Row]]]:
    """Return for each slice its name, its searches on the last day, and the table of recall and hits."""
    tables = []
    for part in SLICES:
        columns = [
            (label, {name: found.policies[name].samples[-1].of(metric)[part] for name in TITLES})
            for label, metric in _metrics(found.k)
        ]
        rows = [
            Row(name, title, tuple(_cell(label, values, name) for label, values in columns))
            for name, title in TITLES.items()
        ]
        tables.append((part, found.policies["ours"].samples[-1].queries[part], rows))
    return tables


def _metrics(k: int) -> tuple[tuple[str, Metric], ...]:
    return ("hit@1", "hit_at_1"), (f"hit@{k}", "hit_at_k"), (f"recall@{k}", "recall")


def _cell(label: str, values: dict[PolicyName, float | None], name: PolicyName) -> Cell:
    value = values[name]
    if value is None:
        return Cell(label, "", "no search", is_best=False)
    known = {one: other for one, other in values.items() if other is not None}
    return Cell(label, repr(value), _percent(value), _is_best(value, known, high=True))


def _is_best(value: float, values: dict[PolicyName, float], high: bool) -> bool:
    """Say whether it is the best of values that differ."""
    best = max(values.values()) if high else min(values.values())
    return value == best and len(set(values.values())) > 1


def write_page(found: Simulation, path: Path) -> None:
    """Write the page; an existing file is replaced as a whole.

    Args:
        found: The year.
        path: Where to.

    Raises:
        StoreError: The disk refuses.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("simulation.html.j2")
    text = page.render(
        found=found,
        plots=plots_of(found),
        titles=TITLES,
        reading=reading(found),
        standing=standing(found),
        searches=searches(found),
        slices=SLICES,
    )
    replace_text(path, text, "name another folder by --out")
