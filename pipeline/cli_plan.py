"""`plan list|show|promote|stale`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import JsonOption
from reporting.errors import UsageError

if TYPE_CHECKING:
    from reporting.plans import Plan
    from reporting.stores.sql import SqlStore

app = typer.Typer(help="Plans: what was to be done, and which one counts.", no_args_is_help=True)

PlanArgument = Annotated[str, typer.Argument(help="Plan id, as `plan list` prints it.")]


def _plan(store: SqlStore, planid: str) -> Plan:
    found = store.get_plan(planid)
    if found is None:
        raise UsageError.unknown_plan(planid, [plan.planid for plan in store.plans()])
    return found


@app.command("list")
def list_plans(context: typer.Context, as_json: JsonOption = False) -> None:
    """List all plans in the order they were made.

    Example: `funnelgate plan list`
    """
    plans = context.obj.place.store.plans()
    if as_json:
        typer.echo(json.dumps([plan.model_dump(mode="json", exclude={"config"}) for plan in plans], indent=1))
        return
    for plan in plans:
        days = f"{plan.dates[0]}" if len(plan.dates) == 1 else f"{plan.dates[0]} to {plan.dates[-1]}"
        scope = (
            "whole"
            if plan.cover is None
            else ", ".join(_cover_text(part.task, part.subinstances, part.categories) for part in plan.cover)
        )
        typer.echo(f"{plan.planid:28} {plan.kind.value:8} {plan.state.value:9} {days}  {scope}")


def _cover_text(task: str, *parts: tuple[str, ...] | None) -> str:
    chosen = [",".join(part) for part in parts if part is not None]
    return f"{task}[{' '.join(chosen)}]" if chosen else task


@app.command("show")
def show(context: typer.Context, planid: PlanArgument, as_json: JsonOption = False) -> None:
    """Show one plan: its state, source, and how far each task is.

    Example: `funnelgate plan show daily-20261101`
    """
    from pipeline import instances

    store = context.obj.place.store
    plan = _plan(store, planid)
    with store.read() as connection:
        progress = instances.progress(connection, [planid])
        failures = instances.failures(connection, [planid])
    if as_json:
        states = {one.task: one.states for one in progress}
        document = {**plan.model_dump(mode="json"), "instances": states, "failures": {str(k): e for k, e in failures}}
        typer.echo(json.dumps(document, indent=1))
        return
    typer.echo(f"{plan.planid}: {plan.kind.value}, {plan.state.value}, made {plan.created_at:%Y-%m-%d %H:%M:%S} UTC")
    for day, source in plan.sources.items():
        typer.echo(f"  source of {day}: {source.path} (sha256 {source.sha256[:12]})")
    order = context.obj.place.topology.order
    for one in sorted(progress, key=lambda one: order.index(one.task) if one.task in order else len(order)):
        typer.echo(f"  {one.task:12} " + ", ".join(f"{count} {state}" for state, count in sorted(one.states.items())))
    for key, error in failures:
        typer.echo(f"  failed {key}: {error}")


@app.command("promote")
def promote(context: typer.Context, planid: PlanArgument) -> None:
    """Let a complete re-run count from now on; what it covers is read from it, everything else from the daily plan.

    Example: `funnelgate plan promote rerun-20261101-1`
    """
    from pipeline.promote import promote_plan

    place = context.obj.place
    plan = promote_plan(place.store, _plan(place.store, planid))
    typer.echo(f"{plan.planid} counts since {plan.promoted_at:%Y-%m-%d %H:%M:%S} UTC; see `funnelgate plan stale`")


@app.command("abandon")
def abandon(context: typer.Context, planid: PlanArgument) -> None:
    """Give a plan up: it never counts, nothing waits for it, and the day may be planned again.

    Example: `funnelgate plan abandon daily-20261101`
    """
    from pipeline.promote import abandon_plan

    place = context.obj.place
    abandon_plan(place.store, _plan(place.store, planid))
    typer.echo(f"{planid} is abandoned")


@app.command("stale")
def stale(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what was built from an older code, model, setting or input than the present one, and how to rebuild it.

    Example: `funnelgate plan stale`
    """
    from pipeline.stale import find_stale, rebuild_commands

    found = find_stale(context.obj.place.store, context.obj.place.topology)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=1))
        return
    for one in found:
        typer.echo(f"{one.date} {one.task:12} {one.leaves} {'leaf' if one.leaves == 1 else 'leaves'}: {one.why}")
    for command in rebuild_commands(found):
        typer.echo(f"rebuild: {command}")
    if not found:
        typer.echo("nothing is stale")
