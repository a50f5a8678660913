"""An incident for programs: whatever has happened to it, it has exactly the keys of its schema."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from checks import handling
from checks.incident_render import to_document
from tests.checks.broken import NOW, Board, Rule, result
from tests.checks.schemas import follow, unnamed


def test_incidents_follow_their_schema_whatever_was_said_of_them():
    board = Board({"reconcile": Rule(id="reconcile", block=True)})
    board.run(result("crop", kind="reconcile", causes=[{"subinstance": ["0003"]}]), result("embed", kind="drift"))
    (incident,) = board.open()
    said: dict[str, Any] = {"by": "ann", "why": "known", "now": NOW}
    for handle in (
        partial(handling.acknowledge, **said),
        partial(handling.snooze, until=NOW + timedelta(hours=4), **said),
        partial(handling.waive, **said),
    ):
        incident = handle(incident, []).incidents[0]
    document = to_document(incident)
    assert all(document[name] for name in ("acknowledged", "snooze", "waiver", "holds", "impact"))
    board.run(result("embed", kind="reconcile", causes=[{"subinstance": ["0001"]}]))
    follow("incidents", [document, *map(to_document, board.incidents.values())])


def test_a_key_that_a_schema_does_not_name_is_found_at_any_depth():
    schema: dict[str, Any] = {"properties": {"a": {"items": {"properties": {"b": {}}}}}}
    assert unnamed(schema, {"a": [{"b": {"c": 1}}, {"d": 1}], "e": 1}) == {".a[].d", ".e"}
