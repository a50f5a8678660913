"""The feature space of what a leaf has read: vectors of two spaces must never share an index."""

from __future__ import annotations

from pipeline.tasks.context import LeafContext
from reporting.errors import DataError
from reporting.stores.base import RecordQuery


def space_of(leaf: LeafContext) -> str:
    """Return the one feature space that all packages a leaf has read from embed were embedded in.

    Raises:
        DataError: they differ.
    """
    day, planids = leaf.key.date, {str(read[4]) for read in leaf.reads}
    records = leaf.store.records(
        RecordQuery(
            tasks=("embed",), date_from=day, date_to=day, categories=(leaf.key.category,), planids=tuple(planids)
        )
    )
    read = {(str(r[4]), str(r[3])) for r in leaf.reads if r[0] == "embed"}
    spaces = {
        r.versions["space"] for r in records if (r.key.planid, r.key.subinstance) in read and "space" in r.versions
    }
    if len(spaces) != 1:
        raise DataError(
            f"{leaf.key}: its packages were embedded in {len(spaces)} feature spaces ({', '.join(sorted(spaces))}); "
            "re-run embed for the whole category with one model"
        )
    return spaces.pop()
