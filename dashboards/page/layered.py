"""Where the boxes and lines of a task graph stand: layers from top to bottom, few crossings. Pure.

After Sugiyama, Tagawa and Toda (1981): layers by the longest way from the start, long edges led through places of
their own, and each layer sorted by the middle of its neighbours, down and up again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

BOX_WIDTH, BOX_HEIGHT = 164, 42
_GAP, _LANE, _RISE, _MARGIN = 22, 20, 30, 6
"""Pixels between boxes, of a passing line, between layers, and around all."""
_SWEEPS = 8

_Point = tuple[int, str]
"""A layer, and a task or the number of the edge that passes."""


class Box(NamedTuple):
    """A task: its upper left corner, in pixels."""

    task: str
    x: float
    y: float


class Line(NamedTuple):
    """An edge by its number: the `d` of an SVG path, and where a word about it can stand."""

    edge: int
    path: str
    x: float
    y: float


class Drawing(NamedTuple):
    """Everything in pixels."""

    width: float
    height: float
    boxes: Sequence[Box]
    lines: Sequence[Line]


def layout(order: Sequence[str], edges: Sequence[tuple[str, str]]) -> Drawing:
    """Lay out a graph.

    Args:
        order: Every task, sorted so that every edge points forward.
        edges: (from, to) of two tasks each.
    """
    layer: dict[str, int] = {}
    for task in order:
        layer[task] = 1 + max((layer[source] for source, target in edges if target == task), default=-1)
    layers: list[list[_Point]] = [[] for _ in range(1 + max(layer.values(), default=-1))]
    for task in order:
        layers[layer[task]].append((layer[task], task))
    ways: list[list[_Point]] = []
    for number, (source, target) in enumerate(edges):
        passing = [(at, f"\0{number}") for at in range(layer[source] + 1, layer[target])]
        for point in passing:
            layers[point[0]].append(point)
        ways.append([(layer[source], source), *passing, (layer[target], target)])
    _sort(layers, ways)
    centre = _centres(layers)
    width = max((x + _width(point) / 2 for point, x in centre.items()), default=0.0) + _MARGIN
    boxes = [
        Box(name, round(centre[at, name] - BOX_WIDTH / 2, 1), _MARGIN + at * (BOX_HEIGHT + _RISE))
        for name, at in layer.items()
    ]
    lines = [_line(number, way, centre) for number, way in enumerate(ways)]
    height = 2 * _MARGIN + len(layers) * (BOX_HEIGHT + _RISE) - _RISE if layers else 0
    return Drawing(round(width, 1), height, boxes, lines)


def _width(point: _Point) -> float:
    return _LANE if point[1].startswith("\0") else BOX_WIDTH


def _sort(layers: list[list[_Point]], ways: Sequence[Sequence[_Point]]) -> None:
    """Sort each layer by the middle of what it is bound to, in the layer before and then in the one after."""
    before: dict[_Point, list[_Point]] = {}
    after: dict[_Point, list[_Point]] = {}
    for way in ways:
        for one, other in pairwise(way):
            after.setdefault(one, []).append(other)
            before.setdefault(other, []).append(one)
    for sweep in range(_SWEEPS):
        bound = before if sweep % 2 == 0 else after
        for points in layers if sweep % 2 == 0 else reversed(layers):
            centre = _centres(layers)
            middle = {point: _middle(bound.get(point, [point]), centre) for point in points}
            points.sort(key=middle.__getitem__)


def _middle(points: Sequence[_Point], centre: Mapping[_Point, float]) -> float:
    return sum(centre[point] for point in points) / len(points)


def _centres(layers: Sequence[Sequence[_Point]]) -> dict[_Point, float]:
    """Return the middle of every point: each layer side by side, all of them around one axis."""
    widths = [sum(map(_width, points)) + _GAP * max(0, len(points) - 1) for points in layers]
    axis = _MARGIN + max(widths, default=0.0) / 2
    found: dict[_Point, float] = {}
    for points, width in zip(layers, widths, strict=True):
        x = axis - width / 2
        for point in points:
            found[point] = x + _width(point) / 2
            x += _width(point) + _GAP
    return found


def _line(number: int, way: Sequence[_Point], centre: Mapping[_Point, float]) -> Line:
    """Lead an edge from the foot of one box through its places to the head of the other."""
    stops: list[tuple[float, float]] = []
    for place, point in enumerate(way):
        top = _MARGIN + point[0] * (BOX_HEIGHT + _RISE)
        x = round(centre[point], 1)
        if place > 0:
            stops.append((x, top))
        if place < len(way) - 1:
            stops.append((x, top + BOX_HEIGHT))
    path = f"M{stops[0][0]} {stops[0][1]}"
    for (x0, y0), (x1, y1) in pairwise(stops):
        half = (y0 + y1) / 2
        path += f"L{x1} {y1}" if x0 == x1 else f"C{x0} {half} {x1} {half} {x1} {y1}"
    middle = len(stops) // 2
    x, y = (stops[middle - 1][0] + stops[middle][0]) / 2, (stops[middle - 1][1] + stops[middle][1]) / 2
    return Line(number, path, round(x, 1), round(y, 1))
