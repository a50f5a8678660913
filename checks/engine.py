"""Judge one view by a file of checks. Pure: equal views and files give equal results."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from checks.incidents import PROVISIONAL
from checks.kinds.base import Finding, Table
from checks.localise import localise
from checks.repair import repair_command
from checks.result import Place, Result, Status
from checks.sentence import sentence
from checks.spec import AnyCheck, ChecksFile
from checks.view import View
from reporting.errors import FunnelgateError
from reporting.plans import Leaf, PlanState
from reporting.topology import Topology

_NUMBERS = ("value", "expected", "tolerance", "numerator", "denominator")
_WHOLE = "(whole check)"
"""Instance of what is said of a check as such: an error, or that it said nothing of a part."""


def judge(file: ChecksFile, view: View, config_hash: str) -> list[Result]:
    """Return what every check of a file says of a day, in the file's order, each check's sorted by instance.

    A check that cannot judge is a result of status error, and stops no other check. What a check expands to and says
    nothing of is `not_evaluated`: silence never passes.

    Args:
        file: The checks.
        view: What there is to judge.
        config_hash: Of the file and the task graph; it goes into each result.

    Raises:
        RuntimeError: a check names two of its findings alike, which is a fault of its kind.
    """
    subject = _Subject(view, config_hash)
    results = []
    for check in file.checks:
        found = [_result(check, finding, subject) for finding in _findings(check, view)]
        repeated = [name for name, count in Counter(result.instance for result in found).items() if count > 1]
        if repeated:
            raise RuntimeError(f"check {check.id} ({check.kind}) names {repeated[0]!r} twice")
        results += sorted(found, key=lambda result: result.instance)
    return results


def data_hash(view: View) -> str:
    """Return 16 hexadecimal digits of what was judged: the records' keys and versions, the plans' states, what is owed.

    Equal hashes mean that a later run had nothing new to judge, whatever the clock said.
    """
    parts = [f"{record.key} {record.version}" for record in (*view.records, *view.other_days)]
    for plan in (plan for plan in view.plans if view.date in plan.dates):
        reached = (plan.state is PlanState.ABANDONED, plan.was_complete(view.as_of), plan.was_promoted(view.as_of))
        parts.append(f"{plan.planid} {reached}")
    parts += [f"{planid} {len(leaves)}" for planid, leaves in view.expected.items()]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Subject:
    """What all results of a judgement share."""

    view: View
    config_hash: str

    @cached_property
    def data(self) -> str:
        return data_hash(self.view)

    @cached_property
    def open_leaves(self) -> Mapping[str, Sequence[Leaf]]:
        """Task to the leaves whose plan is still at work; nothing for most tasks of most days."""
        leaves = self.view.leaves.items()
        return {task: [leaf for leaf in of_task if self.view.is_open(leaf)] for task, of_task in leaves}

    def is_provisional(self, place: Place) -> bool:
        """Tell whether a plan that was judged is still at work: its counts may move, and what is missing may come."""
        return any(
            all(getattr(leaf, dim, None) == value for dim, value in place.group.items())
            for leaf in self.open_leaves.get(place.task, ())
        )


def _findings(check: AnyCheck, view: View) -> Iterator[Finding]:
    said: set[tuple[str, str | None]] = set()
    try:
        for finding in check.judge(view):
            said.add((finding.place.task, finding.place.source))
            yield finding
    except (FunnelgateError, ArithmeticError) as error:
        yield _of_whole(check, view, Status.ERROR, f"could not be judged: {_told(error)}")
        return
    silent = [one.instance for one in check.expand(view.topology) if (one.task, one.source) not in said]
    if silent:
        reason = f"nothing was said of {', '.join(silent[:5])}" + (" and others" if len(silent) > 5 else "")
        yield _of_whole(check, view, Status.NOT_EVALUATED, reason)


def _of_whole(check: AnyCheck, view: View, status: Status, reason: str) -> Finding:
    """Return a finding about a check as such, placed at the first task it is about."""
    first = check.expand(view.topology)[0]
    return Finding(_WHOLE, Place(task=first.task, source=first.source, date=view.date), status, reason)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, FunnelgateError) else f"{type(error).__name__}: {error}"


def _result(check: AnyCheck, finding: Finding, subject: _Subject) -> Result:
    numbers = {name: getattr(finding, name) for name in _NUMBERS}
    odd = [name for name, number in numbers.items() if number is not None and not math.isfinite(number)]
    status, reason = finding.status, finding.reason
    if odd:  # a number that is none compares as false with everything: what it was judged to means nothing
        status, reason = Status.ERROR, f"{odd[0]} came to {numbers[odd[0]]}: {reason}"
        numbers = {}
    result = Result(
        id=check.id,
        kind=check.kind,
        instance=finding.instance,
        key=finding.place,
        status=status,
        counts=finding.counts,
        history=finding.history,
        reason=reason,
        details={
            PROVISIONAL: subject.is_provisional(finding.place),
            **finding.details,
            "data": subject.data,
            "unit": finding.unit,
        },
        as_of=subject.view.as_of,
        config_hash=subject.config_hash,
        **numbers,
    )
    broken = status in (Status.WARN, Status.FAIL)
    return explained(result, finding.table, subject.view.topology) if broken else result


def explained(result: Result, table: Table | None, topology: Topology) -> Result:
    """Return a broken result with where the break sits, in a sentence too, and the command that mends it.

    A failure to explain never hides the break: it is told in the details.

    Args:
        result: One that warns or fails.
        table: The leaves behind it; None where no place can be named.
        topology: Of the pipeline.
    """
    try:
        if table is not None:
            causes = tuple(localise(table))
            words = sentence(causes, table, str(result.details["unit"]))
            result = result.model_copy(update={"explain": causes, "sentence": words})
        return result.model_copy(update={"repair": repair_command(result, topology)})
    except (FunnelgateError, ArithmeticError) as error:
        return result.model_copy(update={"details": {**result.details, "not_explained": _told(error)}})
