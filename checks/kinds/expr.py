"""Expr: a condition on a task's books in arithmetic, for what no other kind says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from checks.expression import MAX_CHARACTERS, read_expression
from checks.kinds.base import Check, Finding, Instance
from checks.reported import Reported, reported, unit_of
from checks.result import Status
from checks.selection import GroupBy, grain_within, require_grain, tasks_of
from checks.view import View
from reporting.errors import ConfigError
from reporting.key import Name
from reporting.measures import parse_measure
from reporting.topology import Topology


def _condition(text: str) -> str:
    try:
        read_expression(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return text


Condition = Annotated[str, Field(max_length=MAX_CHARACTERS), AfterValidator(_condition)]
"""Arithmetic and comparison over `input`, `output`, `produced`, `dropped_total`, `failed_total`, `seconds`, `records`,
`dropped['reason']`, `failed['class']` and `metrics['name']`."""


class Expr(Check):
    """`{kind: expr, expr: "dropped['no_object'] / input < 0.35", on: detect}`.

    The names stand for sums over the records that count, within each group. A metric that a record lacks, a division by
    zero, and a condition that holds while leaves are missing are `not_evaluated`.
    """

    kind: Literal["expr"]
    expr: Condition
    """What must hold."""
    on: Name
    """The task."""
    group_by: GroupBy = ()
    """Dimensions to judge within."""
    breach: Literal["warn", "fail"] = "fail"
    """What it is when the condition does not hold."""

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: one instance."""
        where = f"check {self.id}"
        tasks_of(topology, (self.on,), (), f"{where}: on")
        require_grain(topology, (self.on,), self.group_by, where)
        for measure in read_expression(self.expr).measures:
            parse_measure(measure, topology.task(self.on), f"{where}: expr, of task {self.on}")
        return [Instance(self.id, self.kind, self.on, self.on, None, self.group_by)]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each group."""
        for group in reported(view, self.on, grain_within(view.topology, (self.on,), self.group_by)):
            yield self._of_group(view, group)

    def _of_group(self, view: View, group: Reported) -> Finding:
        early = group.too_early(view)
        if early is not None:
            return early
        expression = read_expression(self.expr)
        values = {measure: None if group.without(measure) else group.sum_of(measure) for measure in expression.measures}
        answer = expression.evaluate(values)
        if answer.holds is None:
            return group.unjudged(view, answer.why)
        told = ", ".join(f"{measure} {value:,.6g}" for measure, value in values.items() if value is not None)
        finding = Finding(
            group.instance,
            group.place(view),
            Status.PASS if answer.holds else Status(self.breach),
            f"{self.expr} {'holds' if answer.holds else 'does not hold'}: {told}",
            value=answer.left,
            expected=answer.right,
            unit=unit_of(view.topology.task(self.on), expression.measures[0]),
            details={"values": values, "planids": group.planids(view)},
        )
        return group.unless_missing(view, finding)
