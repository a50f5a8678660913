"""What can be done to single documents by hand, each to a record of its own, and what a comparison must make of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from reporting.elastic.names import Kind, effective_id, evaluation_id, event_id, expected_id
from reporting.plans import Leaf
from reporting.record import TaskRecord
from reporting.testing import DAY, make_record
from tests.reporting.elastic.said import full_incident, full_result
from tests.reporting.elastic.shipped import DAYS, Shipped

RECORDS, EVENTS, EXPECTED = "records-2026.11", "events-2026.11", "expected-2026.11"
EVALUATIONS = "evaluations-2026.11"
_versions = count(1 << 50, 1000)


def record_of(number: int, **fields: Any) -> TaskRecord:
    """The second attempt of a leaf; each damage has one of its own."""
    fields = {"input": 9, "attempt": 2, "metrics": {"undeclared": 1.0}, **fields}
    return make_record("embed", planid="daily-0", subinstance=f"{number:04}", **fields)


def id_of(number: int) -> str:
    return record_of(number).key.document_id()


def event_of(number: int) -> str:
    return event_id(record_of(number).key, record_of(number).version)


def leaf_of(number: int) -> Leaf:
    return Leaf("embed", DAY, "all", f"{number:04}")


def said_of(run_id: str, instance: str) -> str:
    return evaluation_id(run_id, full_result().id, instance)


def source_of(shipped: Shipped, number: int) -> dict[str, Any]:
    source: dict[str, Any] = shipped.rest("GET", f"{RECORDS}/_doc/{id_of(number)}")["_source"]
    return source


Act = Callable[[Shipped, int], object]


class Damage(NamedTuple):
    """Something done by hand to one document, and what a comparison must make of it."""

    kind: Kind
    what: str
    act: Act
    fields: tuple[str, ...] = ()


def delete(index: str, name: Callable[[int], str]) -> Act:
    return lambda shipped, number: shipped.rest("DELETE", f"{index}/_doc/{name(number)}")


def update(index: str, name: Callable[[int], str], **fields: Any) -> Act:
    def act(shipped: Shipped, number: int) -> None:
        shipped.rest("POST", f"{index}/_update/{name(number)}", {"doc": fields})

    return act


def update_often(shipped: Shipped, number: int) -> None:
    for items in range(10, 16):  # one that changes nothing would be none
        shipped.rest("POST", f"{RECORDS}/_update/{id_of(number)}", {"doc": {"input": items}})


def index_again(shipped: Shipped, number: int, query: str = "") -> None:
    changed = {**source_of(shipped, number), "output": 3}
    shipped.rest("PUT", f"{RECORDS}/_doc/{id_of(number)}{query}", changed)


def index_above(shipped: Shipped, number: int) -> None:
    index_again(shipped, number, f"?version_type=external&version={next(_versions)}")


def copy(index: str, kind: Kind, to: str, name: str, **fields: Any) -> Act:
    def act(shipped: Shipped, number: int) -> None:
        hits = [hit for hit in shipped.documents(kind).values() if hit["_index"].endswith(index)]
        shipped.rest("PUT", f"{to}/_doc/{name}", {**hits[0]["_source"], **fields})

    return act


def copy_to_december(shipped: Shipped, number: int) -> None:
    shipped.rest("PUT", f"records-2026.12/_doc/{id_of(number)}", source_of(shipped, number))


def line_of(number: int) -> str:
    return effective_id(leaf_of(number))


RECORD_DAMAGES = (
    Damage(Kind.RECORDS, "missing", delete(RECORDS, id_of)),
    Damage(Kind.RECORDS, "different", update(RECORDS, id_of, input=8), ("input",)),
    Damage(Kind.RECORDS, "different", update_often, ("input",)),
    Damage(Kind.RECORDS, "different", update(RECORDS, id_of, version=1 << 60), ("version",)),
    Damage(Kind.RECORDS, "different", index_again, ("output",)),
    Damage(Kind.RECORDS, "different", index_above, ("output",)),
)
"""After these a record's `_version` is another one, and so is who may overwrite it."""

DAMAGES = (
    *RECORD_DAMAGES,
    Damage(Kind.RECORDS, "different", update(RECORDS, id_of, date="2026-11-02"), ("date",)),
    Damage(Kind.RECORDS, "extra", copy(RECORDS, Kind.RECORDS, RECORDS, "by-hand")),
    Damage(Kind.RECORDS, "extra", copy_to_december),
    Damage(Kind.RECORDS, "extra", lambda shipped, _: shipped.rest("PUT", f"{RECORDS}/_doc/none", {"task": "x"})),
    Damage(Kind.EVENTS, "missing", delete(EVENTS, event_of)),
    Damage(Kind.EVENTS, "different", update(EVENTS, event_of, input=8), ("input",)),
    Damage(Kind.EVENTS, "extra", copy(EVENTS, Kind.EVENTS, EVENTS, "by-hand")),
    Damage(Kind.EXPECTED, "missing", delete(EXPECTED, lambda _: expected_id("daily-0", Leaf("embed", DAYS[0])))),
    Damage(
        Kind.EXPECTED,
        "different",
        update(EXPECTED, lambda _: expected_id("daily-1", Leaf("embed", DAYS[1])), category="gloves"),
        ("category",),
    ),
    Damage(Kind.EXPECTED, "extra", copy(EXPECTED, Kind.EXPECTED, EXPECTED, "by-hand")),
    Damage(Kind.PLANS, "missing", delete("plans", lambda _: "daily-1")),
    Damage(Kind.PLANS, "different", update("plans", lambda _: "daily-0", reason="x"), ("reason",)),
    Damage(Kind.PLANS, "extra", copy("plans", Kind.PLANS, "plans", "daily-9")),
    Damage(Kind.VERDICTS, "missing", delete("verdicts", lambda _: "v0")),
    Damage(Kind.VERDICTS, "different", update("verdicts", lambda _: "v1", planid="other"), ("planid",)),
    Damage(Kind.VERDICTS, "extra", copy("verdicts", Kind.VERDICTS, "verdicts", "v9")),
    Damage(Kind.EVALUATIONS, "missing", delete(EVALUATIONS, lambda _: said_of(f"{DAYS[0]}-0", "i0"))),
    Damage(
        Kind.EVALUATIONS,
        "different",
        update(EVALUATIONS, lambda _: said_of(f"{DAYS[0]}-0", "i1"), status="pass"),
        ("status",),
    ),
    Damage(
        Kind.EVALUATIONS,
        "different",
        update(EVALUATIONS, lambda _: said_of(f"{DAYS[0]}-1", "i1"), instance="other"),
        ("instance",),
    ),
    Damage(Kind.EVALUATIONS, "extra", copy(EVALUATIONS, Kind.EVALUATIONS, EVALUATIONS, "by-hand")),
    Damage(Kind.INCIDENTS, "missing", delete("incidents", lambda _: full_incident(DAYS[0]).episode)),
    Damage(
        Kind.INCIDENTS,
        "different",
        update("incidents", lambda _: full_incident(DAYS[1]).episode, state="firing"),
        ("state",),
    ),
    Damage(Kind.INCIDENTS, "extra", copy("incidents", Kind.INCIDENTS, "incidents", "by-hand")),
    Damage(Kind.EFFECTIVE, "missing", delete("effective", line_of)),
    Damage(
        Kind.EFFECTIVE, "different", update("effective", line_of, effective_planid="shadow-0"), ("effective_planid",)
    ),
    Damage(
        Kind.EFFECTIVE,
        "extra",
        copy("effective", Kind.EFFECTIVE, "effective", "by-hand", effective_key="no|2026-11-01|such|leaf"),
    ),
)
