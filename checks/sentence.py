"""Where a break sits, in words: `93 % of 41,207 missing crops: subinstance=17, category in {bags, shoes}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checks.kinds.base import Table
from checks.localise import leaves_of, whole
from checks.result import Cause

_SHOWN_CAUSES = 3
_SHOWN_VALUES = 6
_ENDING_ES = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"
_NAMED = 0.5
"""Causes that are less than this share of a break do not say where it sits: it is spread."""
_ALL = 0.9995


def sentence(causes: Sequence[Cause], table: Table, unit: str = "items") -> str:
    """Return where a break sits, one clause for what is missing and one for what is too much.

    Args:
        causes: Of this table, as `localise` names them.
        table: The leaves.
        unit: What they count, in singular or plural: `crop`, `crops`, `items`.

    Returns:
        "" where nothing is broken.

    Example:
        >>> from numpy import array
        >>> leaves = Table(("subinstance",), (("1",), ("2",)), array([5.0, 9]), array([9.0, 9]), exact=True)
        >>> sentence([Cause(where={"subinstance": ("1",)}, missing=4, share=1)], leaves, "crop")
        '100 % of 4 missing crops: subinstance=1'
    """
    leaves = leaves_of(table)
    missing, extra = whole(leaves, [cause.missing for cause in causes])
    off = leaves.missing
    clauses = (
        _clause([cause for cause in causes if cause.missing > 0], missing, "missing", unit, int((off > 0).sum())),
        _clause([cause for cause in causes if cause.missing < 0], extra, "surplus", unit, int((off < 0).sum())),
    )
    return "; ".join(clause for clause in clauses if clause)


def _clause(causes: Sequence[Cause], total: float, word: str, unit: str, leaves: int) -> str:
    if total <= 0:
        return ""
    amount = f"{number(total)} {word} {_counted(unit, total)}"
    if not causes:
        return f"{amount}, spread over {leaves:,} {_counted('leaf', leaves)}"
    shares = [cause.share for cause in causes]
    named = [f"{percent(cause.share)}: {place(cause.where)}" for cause in causes[:_SHOWN_CAUSES]]
    if len(causes) > _SHOWN_CAUSES:
        more = len(causes) - _SHOWN_CAUSES
        named.append(f"{percent(sum(shares[_SHOWN_CAUSES:]))} in {more} smaller {_counted('place', more)}")
    if sum(shares) < _NAMED:
        return f"{amount}, spread over {leaves:,} {_counted('leaf', leaves)}; of them {'; '.join(named)}"
    first = f"{percent(causes[0].share)} of {amount}: {place(causes[0].where)}"
    return "; ".join([first, *named[1:]])


def place(where: Mapping[str, Sequence[str]]) -> str:
    """Return the leaves that a cause names, dimensions sorted by how few values they have.

    Example:
        >>> place({"category": ("bags", "shoes"), "subinstance": ("17",)})
        'subinstance=17, category in {bags, shoes}'
    """
    order = sorted(where.items(), key=lambda item: (len(item[1]), item[0]))
    return ", ".join(_values(dimension, values) for dimension, values in order) or "everywhere"


def _values(dimension: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return f"{dimension}={values[0]}"
    shown = ", ".join(values[:_SHOWN_VALUES])
    more = f" and {len(values) - _SHOWN_VALUES} more" if len(values) > _SHOWN_VALUES else ""
    return f"{dimension} in {{{shown}{more}}}"


def percent(share: float) -> str:
    """Return a share in words; 100 % is said of all only, and 0 % never.

    Example:
        >>> [percent(share) for share in (1.0, 0.997, 0.93, 0.004)]
        ['100 %', '99.7 %', '93 %', '0.4 %']
    """
    if share >= _ALL:
        return "100 %"
    if share > 0.99 or share < 0.01:
        return f"{100 * share:.1f} %" if share >= 0.0005 else "less than 0.1 %"
    return f"{100 * share:.0f} %"


def number(value: float) -> str:
    """Return a number with its thousands apart: whole from 100 on, else with two digits where it is not.

    Example:
        >>> [number(value) for value in (41207, 3.0, 0.25)]
        ['41,207', '3', '0.25']
    """
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.2g}"


def _counted(unit: str, count: float) -> str:
    """Return a unit in the number that goes with a count; a plural is left as it is."""
    if count == 1:
        if unit.endswith("leaves"):
            return f"{unit[:-6]}leaf"
        return unit[:-1] if unit.endswith("s") and not unit.endswith("ss") else unit
    return unit if unit.endswith("s") and not unit.endswith("ss") else _plural(unit)


def _plural(unit: str) -> str:
    if unit == "leaf":
        return "leaves"
    if unit.endswith("y") and unit[-2:-1] not in _VOWELS:
        return f"{unit[:-1]}ies"
    return f"{unit}es" if unit.endswith(_ENDING_ES) else f"{unit}s"
