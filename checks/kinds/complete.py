"""Complete: every leaf that a plan's manifest expects has a record. Catches what nobody has reported at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field

from checks.comparisons import of_edges
from checks.kinds.base import Check, Finding, Instance, Table
from checks.kinds.fresh import Minutes, due_at
from checks.leaves import counted, leaf_name, names_of, place_of, planids_of
from checks.reported import unit_of
from checks.result import Status
from checks.selection import Except, Tasks, tasks_of
from checks.sides import Known, parts_of_missing, rows_of, table_of
from checks.view import View, group_of
from reporting.errors import ConfigError
from reporting.plans import Leaf, by_precedence
from reporting.topology import DIMENSIONS, Law, Topology


class Complete(Check):
    """`{kind: complete, tasks: "*"}`: what the manifests of the plans that count expect, against what has reported.

    | the plan that counts for the task     | leaf without a record        | record that nobody expected |
    |---------------------------------------|------------------------------|-----------------------------|
    | none of the day counts at all         | fail: nothing ran            | -                           |
    | at work, or has not sealed its split  | not_evaluated, not counted   | warn                        |
    | complete or promoted                  | fail                         | warn                        |
    | has no manifest                       | not_evaluated                | not_evaluated               |

    With `deadline: true` a leaf that is missing after the task's deadline and grace fails while its plan is at work.
    A missing leaf weighs what its edge of law equal handed on to it, one item at least; where that is not known, and
    for tasks without such an edge, leaves are counted. Numerator and denominator are leaves always.
    """

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["complete"]
    tasks: Tasks = "*"
    """Which tasks."""
    except_: Except = ()
    """Tasks to leave out."""
    deadline: bool = False
    """Whether a leaf may be missing no longer than until the task's deadline, however long the plan is at work."""
    deadline_days: int = Field(default=1, ge=0, le=31)
    """Days from the business day to its deadline, as in `fresh`."""
    grace: Minutes = 20
    """How long after the deadline a leaf may be missing."""

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each task."""
        where = f"check {self.id}: tasks"
        tasks = tasks_of(topology, self.tasks, self.except_, where)
        without = [task for task in tasks if topology.task(task).deadline is None]
        if self.deadline and without and (self.tasks != "*" or len(without) == len(tasks)):
            raise ConfigError(f"{where}: task {without[0]!r} has no `deadline` in pipeline.yaml; give it one")
        return [Instance(self.id, self.kind, task, task, None, ()) for task in tasks]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each task."""
        counting = [plan.planid for plan, _ in by_precedence(view.plans, view.as_of) if view.date in plan.dates]
        manifests = _Manifests(view)
        for instance in self.expand(view.topology):
            if counting:
                yield self._of_task(view, manifests.owed(instance.task))
            else:
                yield _nothing_ran(view, instance.task)

    def _of_task(self, view: View, owed: _Owed) -> Finding:
        overdue = self._is_overdue(view, owed.task)
        late = [leaf for leaf in owed.missing if overdue or not view.is_open(leaf)]
        if late:
            return _failed(view, owed, late)
        if owed.unexpected:
            return _unexpected(view, owed)
        unjudged = _why_unjudged(owed)
        if unjudged is not None:
            reason, waiting = unjudged
            return _finding(view, owed, Status.NOT_EVALUATED, reason, counts=not waiting)
        return _finding(
            view, owed, Status.PASS, f"{len(owed.expected)} of {counted(len(owed.expected), 'leaves')} reported"
        )

    def _is_overdue(self, view: View, task: str) -> bool:
        clock = view.topology.task(task).deadline
        if not self.deadline or clock is None:
            return False
        due = due_at(view.date, clock, view.topology.timezone, self.deadline_days)
        return view.as_of > due + timedelta(minutes=self.grace)


class _Owed(NamedTuple):
    """What the manifests say of one task."""

    task: str
    planids: tuple[str, ...]
    """Plans that count for it, sorted."""
    expected: tuple[Leaf, ...]
    missing: tuple[Leaf, ...]
    unexpected: tuple[Leaf, ...]
    silent: tuple[str, ...]
    """Plans that have ended and have no manifest."""
    unsealed: bool
    """A plan at work has not said yet which leaves of the task there will be."""


class _Manifests:
    """Which leaves the plans that count expect, by task."""

    def __init__(self, view: View):
        self.view = view
        self.expected: dict[str, set[Leaf]] = {}
        self.tasks: dict[str, set[str]] = {}
        for planid, leaves in view.expected.items():
            for leaf in leaves:
                if leaf.date == view.date:
                    self.tasks.setdefault(planid, set()).add(leaf.task)
                    if view.planid(leaf) == planid:
                        self.expected.setdefault(leaf.task, set()).add(leaf)

    def owed(self, task: str) -> _Owed:
        view, expected = self.view, self.expected.get(task, set())
        leaves = view.leaves.get(task, ())
        whole = Leaf(task, view.date)
        plans = {planid: leaf for leaf in (*leaves, whole) if (planid := view.planid(leaf)) is not None}
        at_work = {planid for planid, leaf in plans.items() if view.is_open(leaf)}
        unsealed = {planid for planid in at_work if task not in self.tasks.get(planid, ())}
        known = {planid for planid in plans if planid in self.tasks} - unsealed
        return _Owed(
            task,
            tuple(sorted(plans)),
            tuple(sorted(expected)),
            tuple(sorted(expected - view.counting.keys())),
            tuple(leaf for leaf in leaves if leaf not in expected and view.planid(leaf) in known),
            tuple(sorted(plans.keys() - self.tasks.keys() - at_work)),
            bool(unsealed),
        )


def _without_record(owed: _Owed, number: int) -> str:
    verb = "has" if len(owed.expected) == 1 else "have"
    return f"{number} of {counted(len(owed.expected), 'leaves')} {verb} no record"


def _nothing_ran(view: View, task: str) -> Finding:
    others = [
        f"{plan.planid} ({plan.kind.value}, {plan.state.value})" for plan in view.plans if view.date in plan.dates
    ]
    why = f"; these do not count: {', '.join(others)}" if others else ""
    return Finding(
        task,
        place_of(view, task, ()),
        Status.FAIL,
        f"no plan of the day {view.date}: nothing ran{why}",
        value=0,
        expected=1,
        tolerance=0,
        unit="leaves",
        details={"planids": []},
    )


def _why_unjudged(owed: _Owed) -> tuple[str, bool] | None:
    """Return why nothing can be said, and whether that is because more may come; None where all that is owed came."""
    if owed.missing:
        said = _without_record(owed, len(owed.missing))
        return f"waiting: {said}, first {leaf_name(owed.missing[0])}, and the plan is still open", True
    if owed.unsealed:
        return "waiting: the open plan has not said which leaves there will be", True
    if owed.silent:
        return f"plan {owed.silent[0]} has no manifest: which leaves it owes is not known", False
    if not owed.planids:
        return "no plan that counts covers it: nothing was due", False
    return None if owed.expected else ("its plan has ended and expected no leaf of it: nothing was due", False)


def _unexpected(view: View, owed: _Owed) -> Finding:
    """Return a warning: somebody booked leaves that no manifest knows."""
    found = len(owed.unexpected)
    names = ", ".join(leaf_name(leaf) for leaf in owed.unexpected[:3])
    return _finding(
        view,
        owed,
        Status.WARN,
        f"{counted(found, 'leaves')} with a record that the manifest does not expect: {names}",
        value=len(owed.expected) - len(owed.missing) + found,
        expected=len(owed.expected) - len(owed.missing),
        table=_table(
            view,
            owed,
            {leaf: (float(leaf in view.counting), float(leaf in owed.expected)) for leaf in view.leaves[owed.task]},
        ),
        details={"unexpected": names_of(owed.unexpected), "unexpected_count": found},
    )


def _failed(view: View, owed: _Owed, late: list[Leaf]) -> Finding:
    """Return what is missing, in items where it is known of every missing leaf what was handed on to it."""
    parts = _items_of_missing(view, owed.task)
    in_items = all(leaf in parts for leaf in late)
    weights: dict[Leaf, tuple[float, float]] = {leaf: (0, parts[leaf] if in_items else 1) for leaf in late}
    for leaf in owed.expected:
        if leaf in view.counting:
            weight = float(view.counting[leaf].input) if in_items else 1.0
            weights[leaf] = (weight, weight)
    names = ", ".join(leaf_name(leaf) for leaf in late[:3]) + (" ..." if len(late) > 3 else "")
    items = sum(expected - actual for actual, expected in weights.values())
    unit = unit_of(view.topology.task(owed.task), "input") if in_items else "leaves"
    size = f" ({counted(items, unit)})" if in_items else ""
    still = ", past the deadline" if any(map(view.is_open, late)) else ""
    return _finding(
        view,
        owed,
        Status.FAIL,
        f"{_without_record(owed, len(late))}{still}: {names}{size}",
        value=sum(actual for actual, _ in weights.values()),
        expected=sum(expected for _, expected in weights.values()),
        unit=unit,
        table=_table(view, owed, weights),
        details={"missing": names_of(late), "missing_count": len(late)},
    )


def _items_of_missing(view: View, task: str) -> dict[Leaf, float]:
    """Return what each missing leaf should have taken in, where all that was handed on to it is known."""
    edges = [edge for edge in view.topology.upstream(task) if edge.law is Law.EQUAL]
    found: dict[Leaf, float] = {}
    for compared in of_edges(view.topology, edges):
        for row in rows_of(view, compared):
            if row.known is Known.ALL and row.before and not set(row.before) & set(row.missing):
                parts = parts_of_missing(row)
                found |= {leaf: max(1.0, part) for leaf, part in parts.items() if leaf not in found}
    return found


def _table(view: View, owed: _Owed, weights: Mapping[Leaf, tuple[float, float]]) -> Table | None:
    grain = view.topology.task(owed.task).grain
    dimensions = [dim for dim in DIMENSIONS if dim in grain]
    rows = ((group_of(leaf, dimensions), *numbers) for leaf, numbers in sorted(weights.items()))
    return table_of(dimensions, rows, exact=True)


def _finding(
    view: View, owed: _Owed, status: Status, reason: str, *, details: Mapping[str, Any] | None = None, **rest: Any
) -> Finding:
    there, expected = len(owed.expected) - len(owed.missing), len(owed.expected)
    if status is Status.PASS:
        rest = {"value": there, "expected": expected, **rest}
    leaves = (*owed.expected, *owed.unexpected) or (Leaf(owed.task, view.date),)
    return Finding(
        owed.task,
        place_of(view, owed.task, leaves),
        status,
        reason,
        tolerance=0,
        numerator=there,
        denominator=expected,
        details={**(details or {}), "planids": planids_of(view, leaves)},
        **{"unit": "leaves", **rest},
    )
