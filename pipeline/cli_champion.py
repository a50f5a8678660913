"""The command `promote-champion`: pin a release as the baseline that does not move."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("promote-champion")(promote_champion)


def promote_champion(
    context: typer.Context,
    release: Annotated[int | None, typer.Argument(help="Number of the release; default the current one.")] = None,
    by: Annotated[str, typer.Option(help="Who decides.")] = "",
    why: Annotated[str, typer.Option(help="Why, in a sentence; kept for ever.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would be done is shown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Pin a release as champion: every candidate is judged against it beside the last release.

    The last release alone as baseline lets quality rot by small steps, each within the margin. The champion changes
    only by this command, never by itself, and every change is kept with who and why.

    Example: `funnelgate promote-champion 7 --by ana --why "first release with the new detector" --yes`
    """
    from pipeline.release.champion import champions, promote, promotion
    from pipeline.release.pointer import release_of

    root = Path(context.obj.place.lake.full(""))
    before = champions(root)
    chosen = promotion(root, release, by=by, why=why, at=datetime.now(UTC))
    day, store = release_of(root, chosen.number).date, context.obj.store
    given = (verdict for plan in store.plans(day, day) for verdict in store.verdicts(plan.planid))
    verdict = next((one for one in given if one.verdict_id == chosen.verdict_id), None)
    if yes:
        promote(root, chosen)
    told = {
        "champion": chosen.model_dump(mode="json"),
        "before": before[-1].model_dump(mode="json") if before else None,
        "metrics": {} if verdict is None else verdict.metrics,
        "written": yes,
    }
    if as_json:
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True))
        return
    held = f"release {before[-1].number}, by {before[-1].by}" if before else "none"
    typer.echo(f"champion so far: {held}")
    figures = ", ".join(f"{name} {value:.4f}" for name, value in sorted(told["metrics"].items()))
    typer.echo(f"release {chosen.number}, verdict {chosen.verdict_id}{': ' + figures if figures else ''}")
    typer.echo("promoted" if yes else "nothing was written; say --yes to promote it")
