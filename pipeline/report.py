"""What a run says at its end: the JSON for programs, or the funnel and what to do next."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.place import Place
from pipeline.run import RunOutcome
from reporting.funnel import FunnelRow, funnel
from reporting.plans import Plan, PlanState
from reporting.render import funnel_table
from reporting.stores.base import RecordQuery


def print_run(place: Place, outcome: RunOutcome, *, as_json: bool) -> None:
    """Print how a run ended."""
    if as_json:
        documents = [_document(place, plan, outcome) for plan in outcome.plans]
        whole = {"plans": documents, "seconds": round(outcome.seconds, 3)}
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else whole, indent=1))
        return
    console = Console()
    for plan in outcome.plans:
        console.print(f"plan [bold]{plan.planid}[/] is {plan.state.value}" + _note(plan, outcome))
        if not outcome.did_nothing:
            console.print(funnel_table(_funnel(place, plan)))
    for key, error in outcome.failures:
        # Escaped: a manifest's text may hold brackets. Not wrapped: `file:line` must stay in one piece.
        console.print(f"[red]failed[/] {escape(f'{key}: {error}')}", highlight=False, soft_wrap=True)
    for line in outcome.blocked_by:
        console.print(f"[yellow]waiting[/] {line}", highlight=False, soft_wrap=True)
    if outcome.failures:
        console.print("mend the cause, then run the same command again: only what failed is done again")


def _note(plan: Plan, outcome: RunOutcome) -> str:
    if outcome.did_nothing:
        return ": nothing to do (use --kind rerun to do it again)"
    return f" after {outcome.seconds:.1f} s" if plan.state is not PlanState.OPEN else ""


def _funnel(place: Place, plan: Plan) -> list[FunnelRow]:
    return funnel(place.topology, place.store.records(RecordQuery(planids=(plan.planid,))))


def _document(place: Place, plan: Plan, outcome: RunOutcome) -> dict[str, Any]:
    document: dict[str, Any] = {
        "planid": plan.planid,
        "state": plan.state.value,
        "tasks": {row.task: row.model_dump(exclude={"task"}) for row in _funnel(place, plan)},
        "seconds": round(outcome.seconds, 3),
        "failures": [{"leaf": str(key), "error": error} for key, error in outcome.failures],
        "blocked_by": list(outcome.blocked_by),
    }
    if outcome.did_nothing:
        document["note"] = f"nothing to do: plan {plan.planid} is {plan.state.value}"
    return document
