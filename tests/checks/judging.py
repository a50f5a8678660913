"""Judge a view by one check, as a test asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from checks.kinds.base import Check, Finding
from checks.result import Status
from checks.view import View


def judged(kind: type[Check], view: View, **keys: Any) -> dict[str, Finding]:
    """Return a check's findings by instance; `except_` is written `except`, as in the file.

    What holds of every kind is asserted on the way: no instance twice, none that the expansion does not know, details
    that JSON can carry, and, wherever there is a verdict, whose records were judged.
    """
    name = kind.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
    keys = {key.removesuffix("_"): value for key, value in keys.items()}
    check = kind.model_validate({"id": "it", "kind": name, **keys})
    found: dict[str, Finding] = {}
    known = {(one.task, one.source) for one in check.expand(view.topology)}
    for finding in check.judge(view):
        assert finding.instance not in found, finding.instance
        assert (finding.place.task, finding.place.source) in known
        assert finding.reason
        json.dumps(dict(finding.details))
        assert finding.status is Status.NOT_EVALUATED or isinstance(finding.details["planids"], list)
        found[finding.instance] = finding
    return found


def statuses(found: Mapping[str, Finding]) -> dict[str, Status]:
    """Return the statuses that are no pass."""
    return {name: finding.status for name, finding in found.items() if finding.status is not Status.PASS}


def lacking(finding: Finding) -> float:
    """Return by how much the value is below what was expected."""
    assert finding.value is not None
    assert finding.expected is not None
    return finding.expected - finding.value


def rows(finding: Finding) -> dict[tuple[str, ...], tuple[float, float]]:
    """Return the table's rows that deviate: values to (actual, expected)."""
    table = finding.table
    assert table is not None
    numbers = zip(table.values, table.actual.tolist(), table.expected.tolist(), strict=True)
    return {values: (actual, expected) for values, actual, expected in numbers if actual != expected}
