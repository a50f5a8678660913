"""Leaves in words: what kinds say of leaves and plans in reasons, places and details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from checks.result import Place
from checks.view import Group, View
from reporting.key import ALL
from reporting.plans import Leaf
from reporting.topology import Dimension

MOST = 20
"""Leaves or groups that details name; the number of all is said beside them."""


def leaf_name(leaf: Leaf) -> str:
    """Return a leaf by its dimensions, or by its task where it has none.

    Example:
        >>> from datetime import date
        >>> leaf_name(Leaf("embed", date(2026, 11, 1), "shoes", "0002")), leaf_name(Leaf("dedup", date(2026, 11, 1)))
        ('shoes/0002', 'dedup')
    """
    return "/".join(value for value in (leaf.category, leaf.subinstance) if value != ALL) or leaf.task


def names_of(leaves: Iterable[Leaf]) -> list[str]:
    """Return the first MOST leaves by name, with their task, sorted: `embed shoes/0002`."""
    named = {leaf: leaf_name(leaf) for leaf in leaves}
    return [
        name if name == leaf.task else f"{leaf.task} {name}" for leaf, name in sorted(named.items(), key=_order)[:MOST]
    ]


def _order(item: tuple[Leaf, str]) -> Leaf:
    return item[0]


def planids_of(view: View, leaves: Iterable[Leaf]) -> list[str]:
    """Return the plans whose records count for some leaves, sorted."""
    return sorted({planid for leaf in leaves if (planid := view.planid(leaf)) is not None})


def place_of(
    view: View,
    task: str,
    leaves: Iterable[Leaf],
    *,
    source: str | None = None,
    by: Sequence[Dimension] = (),
    group: Group = (),
) -> Place:
    """Return what a finding is about; it names the plan where all the leaves have the same one."""
    planids = planids_of(view, leaves)
    return Place(
        task=task,
        source=source,
        date=view.date,
        planid=planids[0] if len(planids) == 1 else None,
        group=dict(zip(by, group, strict=True)),
    )


def counted(number: float, noun: str) -> str:
    """Return a number with its noun in the plural or, for 1, the singular; the noun is given in the plural.

    Example:
        >>> counted(1, "leaves"), counted(4120, "pictures"), counted(0.5, "seconds")
        ('1 leaf', '4,120 pictures', '0.5 seconds')
    """
    return f"{number:,.12g} {_singular(noun) if number == 1 else noun}"


def _singular(noun: str) -> str:
    if noun == "leaves":
        return "leaf"
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    return noun[:-2] if noun.endswith(("sses", "xes", "zes", "ches", "shes")) else noun.removesuffix("s")
