"""Conditions as text (`dropped['no_object'] / input < 0.35`), read into functions: never run as code.

The text becomes a syntax tree, of which only arithmetic, comparison, `and`, `or`, `not`, three functions and the names
of a record's books are known. Everything else is refused before there is any record, so that what is left can reach
nothing but numbers.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from reporting.errors import ConfigError, nearest

MAX_CHARACTERS = 500
MAX_NODES = 100
MAX_DEPTH = 20
MAX_NUMBER = 10**15
"""Numbers are smaller: whole ones below it are exact as floats."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in ("input", "output", "produced", "seconds", "records")},
        "dropped_total": "dropped",
        "failed_total": "failed",
    }
)
"""Names to measures (`reporting.measures`)."""

MAPS = ("dropped", "failed", "metrics")
"""What takes a name in brackets: `metrics['bytes']`."""

Values = Mapping[str, float | None]
"""Measure to value; None where the records do not hold it."""

_Number = Callable[[Values], float]
_Truth = Callable[[Values], bool]

_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = MappingProxyType(
    {
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
    }
)
_FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., float]]] = MappingProxyType(
    {"min": (2, MAX_NODES, min), "max": (2, MAX_NODES, max), "abs": (1, 1, abs)}
)
"""Name to the least and greatest number of arguments, and the function."""


class _Unknown(Exception):
    """There is no answer: something is not there, or not defined."""


class Answer(NamedTuple):
    """What a condition came to."""

    holds: bool | None
    """None: it cannot be said."""
    why: str = ""
    """Why not."""
    left: float | None = None
    """Of a single comparison its left side."""
    right: float | None = None


@dataclass(frozen=True)
class Expression:
    """A condition that was read.

    Attributes:
        text: As written.
        measures: What it needs, in the order of first use; see `reporting.measures`.
    """

    text: str
    measures: tuple[str, ...]
    _holds: _Truth
    _sides: tuple[_Number, _Number] | None

    def evaluate(self, values: Values) -> Answer:
        """Return whether it holds, from left to right; `and` and `or` stop where the rest cannot matter.

        Args:
            values: Of all `measures`; None makes what needs it unknown.
        """
        try:
            holds = self._holds(values)
            left, right = (side(values) for side in self._sides) if self._sides else (None, None)
        except _Unknown as unknown:
            return Answer(None, str(unknown))
        return Answer(holds, "", left, right)


@lru_cache(maxsize=1024)
def read_expression(text: str) -> Expression:
    """Read a condition.

    Raises:
        ConfigError: it is longer or deeper than allowed, no Python expression, uses anything but what this module
            names, is a number and no condition, or needs nothing of a record.
    """
    reader = _Reader(text)
    top = reader.parsed()
    holds = reader.truth(top)
    if not reader.measures:
        raise ConfigError(f"{text!r} asks nothing of a record; use {', '.join([*NAMES, *MAPS])}")
    sides = None
    if isinstance(top, ast.Compare) and len(top.ops) == 1:
        sides = (reader.number(top.left), reader.number(top.comparators[0]))
    return Expression(text, tuple(reader.measures), holds, sides)


class _Reader:
    """Turns a syntax tree into functions, refusing every node it does not know."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.measures: dict[str, None] = {}

    def parsed(self) -> ast.expr:
        if len(self.text) > MAX_CHARACTERS:
            raise ConfigError(f"{self.text[:40]!r}... has {len(self.text)} characters, at most {MAX_CHARACTERS} may be")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # what Python only warns of (`1if x`) is refused as well
                top = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
            told = error.msg if isinstance(error, SyntaxError) else "too deep, or no text"
            raise ConfigError(f"{self.text!r} is no condition: {told}") from None
        level: list[ast.AST] = [top]
        count = depth = 0
        while level:
            count, depth = count + len(level), depth + 1
            if count > MAX_NODES or depth > MAX_DEPTH:
                raise ConfigError(f"{self.text[:40]!r}... has over {MAX_NODES} parts or is deeper than {MAX_DEPTH}")
            level = [part for node in level for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        return top

    def truth(self, node: ast.expr) -> _Truth:
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(part) for part in node.values]
            both = isinstance(node.op, ast.And)
            return lambda values: all(part(values) for part in parts) if both else any(part(values) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part = self.truth(node.operand)
            return lambda values: not part(values)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        raise self._refuse(node, "is no condition; compare numbers with <, <=, ==, !=, >= or >")

    def _comparison(self, node: ast.Compare) -> _Truth:
        for found in node.ops:
            if type(found) not in _COMPARISONS:
                raise self._refuse(node, f"compares by `{type(found).__name__}`; use <, <=, ==, !=, >= or >")
        sides = [self.number(side) for side in (node.left, *node.comparators)]
        steps = [_COMPARISONS[type(found)] for found in node.ops]

        def holds(values: Values) -> bool:
            numbers = [side(values) for side in sides]
            return all(step(a, b) for step, a, b in zip(steps, numbers, numbers[1:], strict=False))

        return holds

    def number(self, node: ast.expr) -> _Number:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Subscript):
            return self._entry(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign, part = -1 if isinstance(node.op, ast.USub) else 1, self.number(node.operand)
            return lambda values: sign * part(values)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self._refuse(node, "is no number; use numbers, names of the record, + - * / // %, min, max and abs")

    def _constant(self, node: ast.Constant) -> _Number:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(node, "is no number")
        if not abs(value) < MAX_NUMBER:
            raise self._refuse(node, f"is too great; numbers are below {MAX_NUMBER:.0e}")
        number = float(value)
        return lambda _: number

    def _name(self, node: ast.Name) -> _Number:
        if node.id in MAPS:
            several = f"dropped_total or {node.id}" if node.id == "dropped" else node.id
            several = f"failed_total or {node.id}" if node.id == "failed" else several
            raise self._refuse(node, f"has many entries; write {several}['name']")
        if node.id not in NAMES:
            raise self._refuse(node, f"is no name of the record; {nearest(node.id, [*NAMES, *MAPS])}")
        return self._measure(NAMES[node.id], node)

    def _entry(self, node: ast.Subscript) -> _Number:
        if not isinstance(node.value, ast.Name) or node.value.id not in MAPS:
            raise self._refuse(node, f"takes an entry of something that has none; {', '.join(MAPS)} have")
        if not isinstance(node.slice, ast.Constant) or not isinstance(node.slice.value, str) or not node.slice.value:
            raise self._refuse(node, f"needs a name in quotes: {node.value.id}['name']")
        return self._measure(f"{node.value.id}.{node.slice.value}", node)

    def _measure(self, measure: str, node: ast.expr) -> _Number:
        self.measures[measure] = None
        written = self._written(node)

        def number(values: Values) -> float:
            value = values.get(measure)
            if value is None:
                raise _Unknown(f"the records do not hold {written}")
            return float(value)

        return number

    def _arithmetic(self, node: ast.BinOp) -> _Number:
        if type(node.op) not in _ARITHMETIC:
            raise self._refuse(node, f"calculates by `{type(node.op).__name__}`; use + - * / // %")
        step, left, right = _ARITHMETIC[type(node.op)], self.number(node.left), self.number(node.right)
        written = self._written(node)

        def number(values: Values) -> float:
            try:
                value = step(left(values), right(values))
            except (ZeroDivisionError, OverflowError):
                value = math.nan
            if not math.isfinite(value):
                raise _Unknown(f"{written} divides by zero, or is too great")
            return value

        return number

    def _call(self, node: ast.Call) -> _Number:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS or node.keywords:
            raise self._refuse(node, f"calls what is not allowed; {', '.join(_FUNCTIONS)} are, with numbers alone")
        least, most, function = _FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            raise self._refuse(node, f"needs {least} {'number' if least == most else 'numbers or more'}")
        parts = [self.number(part) for part in node.args]
        return lambda values: function(*(part(values) for part in parts))

    def _written(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text.strip(), node) or self.text

    def _refuse(self, node: ast.expr, what: str) -> ConfigError:
        return ConfigError(f"{self._written(node)!r} {what}")
