"""The row that each decision leaves: `eviction.parquet`, one row for each stored picture with its reason (G6).

| column | type | meaning |
|---|---|---|
| picture | string | sha256; rows are in the order of `Stored` |
| category | string | of the picture |
| reason, why | string | `Reason.label`; they differ only for `marked`, where `why` is the reason for which it will go |
| keep | bool | whether it stays |
| rank | int32 | best rank among the live, indexed pictures of its groups, from 1; 0: not ranked |
| group | string | group in which it has that rank; null where rank is 0 |
| group_kept | int32 | live, indexed pictures of that group that stay, marked ones too; 0 where rank is 0 |
| better | string | sha256 of the best one of that group, for what goes or is marked; else null |
| last_seen | date32 | day on which an offer of it was last seen |
| value | float32 | what it was worth |
| marked_on | date32 | day on which it was first said to go; null where it is not |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.groups import OWN
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.stored_of import Names
from reporting.errors import DataError

FILE = "eviction.parquet"
LABELS = {reason.label: reason for reason in Reason}
BLOCK = 1 << 18
"""Rows of audit that are made at a time."""


def audit_schema() -> Any:
    """Return the Arrow schema of the table."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("picture", pa.large_string(), nullable=False),
            pa.field("category", pa.string(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("why", pa.string(), nullable=False),
            pa.field("keep", pa.bool_(), nullable=False),
            pa.field("rank", pa.int32(), nullable=False),
            pa.field("group", pa.large_string()),
            pa.field("group_kept", pa.int32(), nullable=False),
            pa.field("better", pa.large_string()),
            pa.field("last_seen", pa.date32(), nullable=False),
            pa.field("value", pa.float32(), nullable=False),
            pa.field("marked_on", pa.date32()),
        ]
    )


def audit_table(stored: Stored, decisions: Decisions, names: Names) -> Any:
    """Return the decisions as an Arrow table of `audit_schema`, one row for each row of `stored`, in its order.

    Args:
        stored: n rows, before the decisions.
        decisions: About them.
        names: Of their ids and groups.
    """
    import pyarrow as pa

    return pa.concat_tables([audit_schema().empty_table(), *audit_blocks(stored, decisions, names)])


def audit_blocks(stored: Stored, decisions: Decisions, names: Names, *, rows: int = BLOCK) -> Iterator[Any]:
    """Yield the rows of `audit_table` in their order, so many at a time: as text they are larger than all else.

    Args:
        stored: n rows, before the decisions.
        decisions: About them.
        names: Of their ids and groups.
        rows: Of a block, >= 1.
    """
    kept = group_kept(stored, decisions, len(names.groups))
    for start in range(0, len(stored), rows):
        yield _block(stored, decisions, names, kept, slice(start, min(start + rows, len(stored))))


def audit_rows(stored: Stored, decisions: Decisions, names: Names, chosen: NDArray[np.int64]) -> Any:
    """Return some rows of `audit_table`.

    Args:
        stored: n rows, before the decisions.
        decisions: About them.
        names: Of their ids and groups.
        chosen: Which rows, (k,) int64, in the order in which they are wanted.
    """
    return _block(stored, decisions, names, group_kept(stored, decisions, len(names.groups)), chosen)


def _block(
    stored: Stored, decisions: Decisions, names: Names, kept: NDArray[np.int64], some: slice | NDArray[np.int64]
) -> Any:
    import pyarrow as pa

    rank, group, better, marked = (getattr(decisions, name)[some] for name in ("rank", "group", "better", "marked_on"))
    ranked = rank > 0
    columns = {
        "picture": _pictures(names, stored.ids[some]),
        "category": _named(stored.category[some], stored.categories),
        "reason": _labels(decisions.reason[some]),
        "why": _labels(decisions.why[some]),
        "keep": pa.array(decisions.keep[some]),
        "rank": pa.array(rank),
        "group": _taken(names.groups, group, ranked),
        "group_kept": pa.array(np.where(ranked, kept[np.where(ranked, group, 0)], 0).astype(np.int32)),
        "better": _taken(names.pictures, better, better >= 0),
        "last_seen": pa.array(stored.last_seen[some]).cast(pa.date32()),
        "value": pa.array(stored.value[some]),
        "marked_on": pa.array(marked, mask=marked == NEVER).cast(pa.date32()),
    }
    schema = audit_schema()
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _pictures(names: Names, ids: NDArray[np.int64]) -> Any:
    """Return the names of ids; of a run of them no copy is made."""
    import pyarrow as pa

    if len(ids) and (np.diff(ids) == 1).all():
        return names.pictures.slice(int(ids[0]), len(ids))
    return names.pictures.take(pa.array(ids))


def group_kept(stored: Stored, decisions: Decisions, groups: int) -> NDArray[np.int64]:
    """Return how many ranked pictures of each group stay, (max(groups, 1),) int64; marked ones are still counted."""
    counted = (decisions.keep & (decisions.rank > 0))[stored.member_rows]
    return np.bincount(stored.member_groups[counted], minlength=max(groups, 1))


def _labels(reasons: NDArray[np.int8]) -> Any:
    highest = max(Reason)
    return _named(reasons, [Reason(number).label if number in set(Reason) else "" for number in range(highest + 1)])


def _named(numbers: NDArray[Any], names: Any) -> Any:
    import pyarrow as pa

    return pa.array(list(names), pa.string()).take(pa.array(numbers))


def _taken(names: Any, numbers: NDArray[np.int64], there: NDArray[np.bool_]) -> Any:
    """Return the names of some numbers, null where there is none."""
    import pyarrow as pa

    return names.take(pa.array(numbers, mask=~there))


def checked_audit(table: Any, where: str = FILE) -> Any:
    """Return the table with the types of `audit_schema`; columns beyond it are left out.

    Raises:
        DataError: A column is missing or cannot be of its type, or there is a null where none may be.
    """
    import pyarrow as pa

    columns = []
    for field in audit_schema():
        if field.name not in table.column_names:
            raise DataError(f"{where}: has no column {field.name!r}; expected {', '.join(audit_schema().names)}")
        try:
            column = table[field.name].cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{where}: column {field.name!r} is no {field.type}: {error}") from error
        if column.null_count and not field.nullable:
            raise DataError(f"{where}: column {field.name!r} has {column.null_count} nulls; expected none")
        columns.append(column)
    return pa.table(columns, schema=audit_schema())


def explain_row(row: Mapping[str, Any]) -> str:
    """Return one line that says why a picture stays or goes.

    Args:
        row: Of the table, as `to_pylist` gives it.

    Raises:
        DataError: Its reason is none of `Reason`.

    Example:
        >>> explain_row({
        ...     "picture": "ab", "reason": "representative", "why": "representative", "rank": 1, "group": "g17",
        ...     "group_kept": 2, "last_seen": "2026-09-01",
        ... })
        'stays: 1 of 2 kept of product g17, last seen 2026-09-01'
    """
    reason = LABELS.get(row["reason"])
    if reason is None:
        raise DataError(f"{FILE}: picture {row['picture']}: no reason {row['reason']!r}; expected {', '.join(LABELS)}")
    seen = f"last seen {row['last_seen']}"
    if reason is Reason.REPRESENTATIVE:
        # A better one may have gone for want of room in the tail of another category.
        number = row["rank"] if row["rank"] <= row["group_kept"] else "one"
        return f"stays: {number} of {row['group_kept']} kept of {_product(row)}, {seen}"
    if reason is Reason.MARKED:
        return f"stays: marked on {row['marked_on']}, goes if the next day finds the same; {_cause(row)}, {seen}"
    if reason in _PLAIN:
        return f"{'stays' if reason.keeps else 'goes'}: {_PLAIN[reason]}, {seen}"
    return f"goes: {_cause(row)}, marked on {row['marked_on']}, {seen}"


_PLAIN = {
    Reason.WINDOW: "in the window",
    Reason.PINNED: "pinned",
    Reason.GONE_LATELY: "no offer of it is alive, but not for long enough to be delisted",
    Reason.TAKEDOWN: "taken down",
    Reason.DELISTED: "delisted, no offer of it has been alive for long enough",
    Reason.NOT_INDEXED: "older than the window, and no index holds an object of it",
}


def _cause(row: Mapping[str, Any]) -> str:
    """Return why it goes for its rank or for the budget."""
    number = f"number {row['rank']} of {_product(row)}"
    if row["why"] == Reason.SUPERSEDED.label:
        return f"superseded by {row['better']}, it is {number}"
    return f"no room for {number} in the tail of {row['category']}, {row['better']} stays"


def _product(row: Mapping[str, Any]) -> str:
    """Return how a person calls the group of a row."""
    group = str(row["group"])
    if not group.startswith(OWN):
        return f"product {group}"
    first = group.removeprefix(OWN)
    return "its own product" if first == row["picture"] else f"the look-alikes of {first}"
