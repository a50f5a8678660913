"""Sums of measures in SQL: columns are added up by the database, entries of a record's maps here.

As of a moment: a record that was reported by then is the greatest version of its key by then too, so its columns are
what counts; only keys without such a record are looked up in the events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import from_json
from sqlalchemy import JSON, BigInteger, Connection, and_, cast, func, or_, select
from sqlalchemy.sql import ColumnElement

from reporting import tables as t
from reporting.key import KEY_PARTS
from reporting.measures import MAPS
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.memory import latest
from reporting.stores.sql_work import iso
from reporting.stores.summing import Group, Summing

Where = Callable[[Any], list[ColumnElement[bool]]]

_COLUMNS = {
    **{name: t.record.c[name] for name in ("input", "output", "produced")},
    **{name: t.record.c[f"{name}_total"] for name in ("dropped", "failed")},
    # Whole microseconds: a sum of them depends neither on the order of the rows nor on how a database adds floats.
    "seconds": cast(func.round(t.record.c.seconds * 1_000_000), BigInteger),
}


def add_sums(connection: Connection, summing: Summing, query: RecordQuery, where: Where) -> None:
    """Add the records of a query.

    Args:
        connection: all statements on it see one state of the database.
        summing: by what, and which measures.
        query: which records.
        where: the conditions of the query on a table, without its `as_of`.
    """
    conditions = where(t.record)
    if query.as_of is not None:
        overtaken, events = _not_in_records(connection, query, where)
        if overtaken:
            # Somebody deleted records and booked older versions again: nothing but the events knows what was true.
            for record in _as_of(connection, query, where):
                summing.add_record(record)
            return
        for record in events:
            summing.add_record(record)
        conditions.append(t.record.c.reported_at <= iso(query.as_of))
    _add_columns(connection, summing, conditions)
    for field in MAPS:
        _add_map(connection, summing, conditions, field)


def _add_columns(connection: Connection, summing: Summing, where: Sequence[ColumnElement[bool]]) -> None:
    groups = [t.record.c[part] for part in summing.by]
    wanted = {place: one.field for place, one in enumerate(summing.measures) if one.has_column}
    fields = sorted(set(wanted.values()) & set(_COLUMNS))
    sums = [func.coalesce(func.sum(_COLUMNS[field]), 0) for field in fields]
    statement = select(*groups, func.count(), *sums).select_from(t.record).where(*where)
    size = len(groups)
    # Entries of these maps that a record does not have are 0: every record holds them.
    zeros = {place: 0 for field in ("dropped", "failed") for place, _ in summing.places(field)}
    at = {place: size + 1 + fields.index(field) for place, field in wanted.items() if field in fields}
    counts = [place for place, field in wanted.items() if field == "records"]
    for row in connection.execute(statement.group_by(*groups)):
        records = row[size]
        if records:  # without groups there is a row also where there is no record
            amounts = {place: int(row[column]) for place, column in at.items()}
            amounts |= dict.fromkeys(counts, records)
            summing.add_group(_group(row, size), records, amounts | zeros)


def _add_map(connection: Connection, summing: Summing, where: Sequence[ColumnElement[bool]], field: str) -> None:
    """Add the entries of one of a record's maps that are asked for."""
    places = summing.places(field)
    if not places:
        return
    groups = [t.record.c[part] for part in summing.by]
    conditions = list(where)
    if field != "metrics":
        conditions.append(t.record.c[f"{field}_total"] > 0)
    statement = select(*groups, _entry(connection, field)).where(*conditions)
    for row in connection.execute(statement):
        found = from_json(row[len(groups)])
        for place, name in places:
            amount = found.get(name)
            if amount is not None:
                summing.add_entry(_group(row, len(groups)), place, amount)


def _entry(connection: Connection, field: str) -> ColumnElement[Any]:
    """Return one field of the record's body as JSON text; numbers in it stay as they were written."""
    body = t.record.c.body
    if connection.dialect.name == "sqlite":
        return func.json_extract(body, f"$.{field}")
    return func.json_extract_path_text(cast(body, JSON), field)


def _group(row: Sequence[Any], size: int) -> Group:
    return tuple([str(value) for value in row[:size]])


def _not_in_records(connection: Connection, query: RecordQuery, where: Where) -> tuple[bool, list[TaskRecord]]:
    """Return whether a key's record is older than an event of it, and the records of the keys that have none.

    All as of the query's moment: a record that was reported later is none.
    """
    assert query.as_of is not None
    moment = iso(query.as_of)
    e, r = t.event.c, t.record.c
    same = and_(*(e[part] == r[part] for part in KEY_PARTS))
    is_there = and_(r.version.is_not(None), r.reported_at <= moment)
    statement = (
        select(e.body, is_there)
        .select_from(t.event.outerjoin(t.record, same))
        .where(e.kind == "record", e.at <= moment, *where(t.event))
        .where(or_(r.version.is_(None), r.reported_at > moment, e.version > r.version))
    )
    rows = connection.execute(statement).all()
    if any(overtaken for _, overtaken in rows):
        return True, []
    return False, list(latest(TaskRecord.model_validate_json(body) for body, _ in rows).values())


def _as_of(connection: Connection, query: RecordQuery, where: Where) -> list[TaskRecord]:
    assert query.as_of is not None
    e = t.event.c
    statement = select(e.body).where(e.kind == "record", e.at <= iso(query.as_of), *where(t.event))
    bodies = connection.execute(statement).scalars()
    return list(latest(TaskRecord.model_validate_json(body) for body in bodies).values())
