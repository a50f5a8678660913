"""What Elasticsearch should hold: every document that the SQL store's rows become, as the shipper would write it.

Read in pages of the primary key, so that neither memory nor a read transaction grows with the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from reporting.elastic.check_documents import evaluation_document, incident_document
from reporting.elastic.documents import (
    Document,
    event_document,
    expected_document,
    plan_document,
    record_document,
    record_source,
    verdict_document,
)
from reporting.elastic.effective import EffectiveKeeper
from reporting.elastic.names import Kind, effective_id, evaluation_id, expected_id, index_of
from reporting.key import KEY_PARTS, RunKey
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.verdict import Verdict

if TYPE_CHECKING:
    from sqlalchemy import Table

    from reporting.stores.sql import SqlStore

_PAGE = 1000
_TUPLES = 5000
"""Keys in one statement: SQLite takes 32,766 parameters, and a key has five."""


class Span(NamedTuple):
    """Some days, both ends included; None is open."""

    first: Date | None = None
    last: Date | None = None


EVERYTHING = Span()


class Line(NamedTuple):
    """One document as the SQL store would have it, and the row it was made of."""

    kind: Kind
    key: str
    """As people write it."""
    document: Document
    row: tuple[Any, ...]
    group: tuple[Any, ...] = ()
    """Events of one group come in the order in which they arrived, and a key has all of them in one group."""


class Hit(NamedTuple):
    """A document that was found in an index (`where`), and those of its fields that say what it is about."""

    where: str
    id: str
    source: Mapping[str, Any]


class SqlTruth:
    """The documents of a SQL store.

    Args:
        store: which is right by definition.
        prefix: of the index names.
        metric_names: metrics that have a field, from `setup.require_setup`.
    """

    def __init__(self, store: SqlStore, prefix: str, metric_names: Iterable[str]):
        self.prefix = prefix
        self._store = store
        self._metric_names = frozenset(metric_names)
        self._plans_of: dict[Date, list[str]] = {}

    def count(self, kind: Kind, span: Span) -> int | None:
        """Return how many lines `lines` will yield, about; None where that would take as long as reading them."""
        from sqlalchemy import func, select

        if kind is Kind.EFFECTIVE:
            return None
        table = _table(kind)
        statement = select(func.count()).select_from(table).where(*self._where(kind, span))
        with self._store.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def lines(self, kind: Kind, span: Span) -> Iterator[Line]:
        """Yield every document of a kind and some days; those of a record's key come together."""
        if kind is Kind.EFFECTIVE:
            return self._effective(span)
        if kind is Kind.EVALUATIONS:
            pages = self._rising(kind, span)
        else:
            pages = self._pages(kind, span) if kind in _ORDER else self._few(kind, span)
        return (self._line(kind, row) for page in pages for row in page)

    def records(self, span: Span, *, events: bool = False) -> Iterator[TaskRecord]:
        """Yield the records of some days by day, plan and task; with `events` every version, in order of arrival."""
        for page in self._pages(Kind.EVENTS if events else Kind.RECORDS, span):
            for row in page:
                yield TaskRecord.model_validate_json(row[-1])

    def again(self, kind: Kind, lines: Sequence[Line]) -> list[Line | None]:
        """Return lines as the store has them now, None for what is no longer there; what never changes as it is."""
        if kind in (Kind.EVENTS, Kind.EXPECTED, Kind.EVALUATIONS) or not lines:
            return list(lines)
        if kind is Kind.EFFECTIVE:
            keeper = EffectiveKeeper(self._store, self.prefix)
            return [self._effective_line(one) for one in keeper.lines(line.row[0] for line in lines)]
        table = _table(kind)
        columns = self._columns(kind)
        keys = _KEYS[kind]
        found: dict[tuple[Any, ...], Any] = {}
        for rows in self._matching(table, keys, columns, [line.row[: len(keys)] for line in lines]):
            found |= {tuple(row[: len(keys)]): tuple(row) for row in rows}
        now = [found.get(tuple(line.row[: len(keys)])) for line in lines]
        return [
            None if row is None else line if row == line.row else self._line(kind, row)
            for line, row in zip(lines, now, strict=True)
        ]

    def knows(self, kind: Kind, hits: Sequence[Hit]) -> list[bool]:
        """Tell for each document whether the store has what it is about, under just this id."""
        if kind is Kind.EFFECTIVE:
            return self._knows_leaves(hits)
        if kind in (Kind.RECORDS, Kind.EXPECTED):
            identify = RunKey.document_id if kind is Kind.RECORDS else _id_of_expected
            named = [_key_of(hit, identify) for hit in hits]
        elif kind is Kind.EVALUATIONS:
            named = [_said_of(hit) for hit in hits]
        else:
            named = [(hit.id,) for hit in hits]
        known = self._stored(kind, [key for key in named if key is not None])
        return [key in known for key in named]

    def _stored(self, kind: Kind, keys: Sequence[tuple[Any, ...]]) -> set[Any]:
        table = _table(kind)
        names = _KEYS[kind] if kind is not Kind.EVENTS else ("event_id",)
        columns = [table.c[name] for name in names]
        return {tuple(row) for rows in self._matching(table, names, columns, keys) for row in rows}

    def _matching(
        self, table: Table, names: Sequence[str], columns: Sequence[Any], keys: Sequence[tuple[Any, ...]]
    ) -> Iterator[Sequence[Any]]:
        """Yield the rows whose columns `names` have one of the values, in parts."""
        from sqlalchemy import select, tuple_

        where = [table.c.kind == "record"] if table.name == "event" else []
        key = tuple_(*(table.c[name] for name in names))
        for start in range(0, len(keys), _TUPLES):
            statement = select(*columns).where(key.in_(keys[start : start + _TUPLES]), *where)
            with self._store.read() as connection:
                rows = connection.execute(statement).all()
            yield rows

    def _where(self, kind: Kind, span: Span) -> list[Any]:
        from sqlalchemy import select

        from reporting import tables as t

        if kind is Kind.PLANS:
            days = select(t.plan_day.c.planid).where(*_between(t.plan_day.c.date, span))
            return [t.plan.c.planid.in_(days)]
        table = _table(kind)
        return _between(table.c.date, span) + ([table.c.kind == "record"] if kind is Kind.EVENTS else [])

    def _columns(self, kind: Kind) -> list[Any]:
        c = _table(kind).c
        keys = [c[name] for name in _KEYS[kind]]
        if kind in (Kind.PLANS, Kind.VERDICTS, Kind.INCIDENTS):
            return [*keys, c.revision, c.body]
        return keys if kind is Kind.EXPECTED else [*keys, c.body]

    def _pages(self, kind: Kind, span: Span) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table that has a key, group by group, each from an index and in the order of `_ORDER`."""
        from sqlalchemy import select, tuple_

        table = _table(kind)
        c = table.c
        order = [c[name] for name in _ORDER[kind]]
        columns = [*self._columns(kind), *order]
        groups = select(c.date, c.planid, c.task).where(*self._where(kind, span)).distinct()
        with self._store.read() as connection:
            found = sorted(tuple(row) for row in connection.execute(groups))
        for group in found:
            mine = [c.date == group[0], c.planid == group[1], c.task == group[2], *self._where(kind, EVERYTHING)]
            after: tuple[Any, ...] | None = None
            while True:
                statement = select(*columns).where(*mine).order_by(*order).limit(_PAGE)
                if after is not None:
                    statement = statement.where(tuple_(*order) > after)
                with self._store.read() as connection:
                    rows = connection.execute(statement).all()
                yield [tuple(row[: -len(order)]) for row in rows]
                if len(rows) < _PAGE:
                    break
                after = tuple(rows[-1][-len(order) :])

    def _few(self, kind: Kind, span: Span) -> Iterator[Sequence[Any]]:
        """Yield the rows of what there is little of; the bodies still in pages: a plan holds its configuration."""
        from sqlalchemy import select

        table = _table(kind)
        names = _KEYS[kind]
        with self._store.read() as connection:
            found = connection.execute(select(table.c[names[0]]).where(*self._where(kind, span))).scalars().all()
        keys = [(name,) for name in sorted(found)]
        for start in range(0, len(keys), _PAGE):
            for rows in self._matching(table, names, self._columns(kind), keys[start : start + _PAGE]):
                yield [tuple(row) for row in rows]

    def _rising(self, kind: Kind, span: Span) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table that only grows, in the order in which they were written."""
        from sqlalchemy import select

        table, after = _table(kind), 0
        while True:
            statement = select(*self._columns(kind), table.c.seq).where(*self._where(kind, span), table.c.seq > after)
            with self._store.read() as connection:
                rows = connection.execute(statement.order_by(table.c.seq).limit(_PAGE)).all()
            yield [tuple(row[:-1]) for row in rows]
            if len(rows) < _PAGE:
                return
            after = rows[-1][-1]

    def _effective(self, span: Span) -> Iterator[Line]:
        for day in self._days(span):
            # A keeper remembers what it wrote, for the shipper: one a day keeps that short.
            for document in EffectiveKeeper(self._store, self.prefix).day_lines(day):
                yield self._effective_line(document)

    def _effective_line(self, document: Document) -> Line:
        task, day, category, subinstance = document.source["effective_key"].split("|")
        leaf = Leaf(task, Date.fromisoformat(day), category, subinstance)
        return Line(Kind.EFFECTIVE, "/".join((task, day, category, subinstance)), document, (leaf,))

    def _days(self, span: Span) -> list[Date]:
        from sqlalchemy import select, union

        from reporting import tables as t

        parts = [select(table.c.date).where(*_between(table.c.date, span)) for table in (t.plan_day, t.record)]
        with self._store.read() as connection:
            return sorted(connection.execute(union(*parts)).scalars())

    def _line(self, kind: Kind, row: tuple[Any, ...]) -> Line:
        if kind is Kind.RECORDS:
            record = TaskRecord.model_validate_json(row[-1])
            return Line(kind, str(record.key), record_document(self.prefix, record, self._metric_names), row)
        if kind is Kind.EVENTS:
            record = TaskRecord.model_validate_json(row[-1])
            document = event_document(self.prefix, record, record_source(record, self._metric_names))
            return Line(kind, f"{record.key} version {record.version}", document, row, row[:3])
        if kind is Kind.EXPECTED:
            planid, task, day, category, subinstance = row
            leaf = Leaf(task, day, category, subinstance)
            document = expected_document(self.prefix, planid, leaf)
            return Line(kind, "/".join((task, day.isoformat(), category, subinstance, planid)), document, row)
        if kind is Kind.EVALUATIONS:
            run_id, check_id, instance, body = row
            document = evaluation_document(self.prefix, run_id, from_json(body))
            return Line(kind, f"{check_id} {instance} run {run_id}", document, row)
        name, revision, body = row
        return Line(kind, name, self._revised(kind, revision, body), row)

    def _revised(self, kind: Kind, revision: int, body: str) -> Document:
        """Return the document of what counts its changes."""
        if kind is Kind.PLANS:
            return plan_document(self.prefix, Plan.model_validate_json(body), revision)
        if kind is Kind.INCIDENTS:
            return incident_document(self.prefix, from_json(body), revision)
        return verdict_document(self.prefix, Verdict.model_validate_json(body), revision)

    def _knows_leaves(self, hits: Sequence[Hit]) -> list[bool]:
        """Tell which leaves a manifest, a record or (where records were deleted) an event names."""
        from reporting import tables as t

        leaves = [_leaf_of(hit) for hit in hits]
        waiting = {leaf for leaf in leaves if leaf is not None}
        known: set[Leaf] = set()
        names = ("planid", "task", "date", "category", "subinstance")
        for table in (t.record, t.expected_leaf, t.event):
            keys = [(planid, *leaf) for leaf in sorted(waiting - known) for planid in self._planids(leaf.date)]
            columns = [table.c[name] for name in names[1:]]
            known |= {Leaf(*row) for rows in self._matching(table, names, columns, keys) for row in rows}
        return [leaf in known for leaf in leaves]

    def _planids(self, day: Date) -> list[str]:
        """Return the plans that a day's leaves can belong to: an index leads with the plan."""
        from sqlalchemy import select, union

        from reporting import tables as t

        if day not in self._plans_of:
            tables = (t.plan_day, t.event, t.record)
            found = union(*(select(table.c.planid).where(table.c.date == day) for table in tables))
            with self._store.read() as connection:
                self._plans_of[day] = list(connection.execute(found).scalars())
        return self._plans_of[day]


_KEY_COLUMNS = ("planid", "task", "date", "category", "subinstance")
_KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.RECORDS: _KEY_COLUMNS,
    Kind.EVENTS: (*_KEY_COLUMNS, "version"),
    Kind.EXPECTED: _KEY_COLUMNS,
    Kind.PLANS: ("planid",),
    Kind.VERDICTS: ("verdict_id",),
    Kind.EVALUATIONS: ("run_id", "check_id", "instance"),
    Kind.INCIDENTS: ("episode",),
}
_ORDER: dict[Kind, tuple[str, ...]] = {
    Kind.RECORDS: ("category", "subinstance"),
    Kind.EVENTS: ("seq",),
    Kind.EXPECTED: ("category", "subinstance"),
}
"""Within one plan, task and day: together with those the primary key, or the order of arrival."""


def place_of(prefix: str, kind: Kind, source: Mapping[str, Any]) -> str | None:
    """Return the index that a document belongs into by its own fields; None where they do not say it."""
    try:
        return index_of(prefix, kind, Date.fromisoformat(source["date"]) if "date" in source else Date.min)
    except (TypeError, ValueError):
        return None


def _table(kind: Kind) -> Table:
    from reporting import tables as t

    tables = {
        Kind.RECORDS: t.record,
        Kind.EVENTS: t.event,
        Kind.EXPECTED: t.expected_leaf,
        Kind.PLANS: t.plan,
        Kind.VERDICTS: t.verdict,
        Kind.EVALUATIONS: t.evaluation,
        Kind.INCIDENTS: t.incident,
    }
    return tables[kind]


def _between(column: Any, span: Span) -> list[Any]:
    limits = [] if span.first is None else [column >= span.first]
    return limits if span.last is None else [*limits, column <= span.last]


def _key_of(hit: Hit, identify: Callable[[RunKey], str]) -> tuple[Any, ...] | None:
    """Return the key that a document says it is about, in the order of `_KEY_COLUMNS`; None if its id says another."""
    try:
        key = RunKey.model_validate({part: hit.source.get(part) for part in KEY_PARTS})
    except ValidationError:  # made by hand: it is nobody's
        return None
    return (key.planid, key.task, key.date, key.category, key.subinstance) if identify(key) == hit.id else None


def _said_of(hit: Hit) -> tuple[Any, ...] | None:
    """Return the run, check and instance that a document says it is about; None if its id says another."""
    said = tuple(str(hit.source.get(name)) for name in _KEYS[Kind.EVALUATIONS])
    return said if evaluation_id(*said) == hit.id else None


def _id_of_expected(key: RunKey) -> str:
    return expected_id(key.planid, Leaf(key.task, key.date, key.category, key.subinstance))


def _leaf_of(hit: Hit) -> Leaf | None:
    try:
        task, day, category, subinstance = hit.source["effective_key"].split("|")
        leaf = Leaf(task, Date.fromisoformat(day), category, subinstance)
    except (AttributeError, KeyError, ValueError):
        return None
    return leaf if effective_id(leaf) == hit.id else None
