"""`release list|show|diff|publish|rollback`, and the group of all commands of releases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import cli_release_files, cli_resource
from pipeline.cli_options import JsonOption
from pipeline.cli_release_options import (
    ByOption,
    RootOption,
    SignKeyOption,
    ValidOption,
    WaiveOption,
    WhyOption,
    release_signer,
    root_of,
    waiver_of,
)
from reporting.errors import EXIT_FAILED

if TYPE_CHECKING:
    from pipeline.release.diff import ReleaseDiff
    from pipeline.release.manifest import ReleaseManifest
    from reporting.verdict import Verdict

app = typer.Typer(help="Releases: what is online, what was, and how it changes.", no_args_is_help=True)
Number = Annotated[int, typer.Argument(min=1, help="Number of a release.")]


@app.command("list")
def list_releases(context: typer.Context, root: RootOption = None, as_json: JsonOption = False) -> None:
    """List all releases, oldest first: what they hold, what they rest on, and whether their files are still there.

    Example: `funnelgate release list --json`
    """
    told = _listed(root_of(context, root))
    if as_json:
        typer.echo(json.dumps(told, indent=1))
        return
    for one in told:
        marks = [name for name in ("current", "champion", "pinned") if one[name]]
        marks += [] if one["files_there"] else ["swept"]
        marks += [f"rollback to {one['rollback_to']}"] if one["rollback_to"] else []
        marks += [f"waiver of {one['waiver']['by']} instead of {one['waiver']['instead_of']}"] if one["waiver"] else []
        noted = "  " + ", ".join(marks) if marks else ""
        typer.echo(
            f"{one['number']:6}  {one['date']}  {one['planid']:24} {one['rows']:>12,} rows in"
            f" {len(one['categories'])} categories  verdict {one['verdict_id']}{noted}"
        )
    if not told:
        typer.echo("nothing has been released yet")


def _listed(root: Path) -> list[dict[str, Any]]:
    from pipeline.release.champion import champion
    from pipeline.release.pins import pinned
    from pipeline.release.pointer import POINTER, releases, series

    pointer, best, held = series(root).pointer(POINTER), champion(root), pinned(root)
    return [
        {
            **_facts(one),
            "current": pointer is not None and one.number == pointer.number,
            "champion": best is not None and one.number == best.number,
            "pinned": one.number in held,
            "files_there": all((root / path).is_file() for path in one.files()),
        }
        for one in releases(root)
    ]


def _facts(one: ReleaseManifest) -> dict[str, Any]:
    short = one.model_dump(
        mode="json",
        include={"number", "parent", "date", "planid", "verdict_id", "created_at", "waiver", "rollback_to", "decided"},
    )
    rows = {name: entry.rows for name, entry in sorted(one.categories.items())}
    return {**short, "rows": sum(rows.values()), "categories": rows}


@app.command("show")
def show(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(min=1, help="Number of a release; default the current one.")] = None,
    root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one release: its manifest, as it was published.

    Example: `funnelgate release show 7`
    """
    from pipeline.release.pointer import current, release_of
    from reporting.errors import UsageError

    folder = root_of(context, root)
    one = current(folder) if number is None else release_of(folder, number)
    if one is None:
        raise UsageError(f"{folder}: nothing has been released yet; run a day to its end")
    if as_json:
        typer.echo(one.model_dump_json(indent=1))
        return
    typer.echo(f"release {one.number} of {one.date}, plan {one.planid}, made {one.created_at:%Y-%m-%d %H:%M:%S} UTC")
    typer.echo(f"  verdict {one.verdict_id}, after release {one.parent or 'none'}")
    if one.waiver is not None:
        typer.echo(f"  waiver of {one.waiver.by} instead of {one.waiver.instead_of}: {one.waiver.why}")
    if one.rollback_to is not None and one.decided is not None:
        typer.echo(f"  rollback to release {one.rollback_to} by {one.decided.by}: {one.decided.why}")
    for name, entry in sorted(one.categories.items()):
        typer.echo(
            f"  {name}: {entry.rows:,} rows of {len(entry.days)} days, {entry.codec}, nprobe {entry.nprobe},"
            f" model {entry.model} ({entry.space_id}), index {entry.index_sha256[:12]}"
        )
    for ref in one.resources:
        typer.echo(f"  {ref.business} {ref.name}@{ref.version} {ref.sha256[:12]}")


@app.command("diff")
def diff(
    context: typer.Context,
    first: Number,
    second: Number,
    root: RootOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Prove the hashes from the bytes of both releases.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two releases: days, rows, models, front. Equal hashes are equal rows.

    Ends with 1 if --verify finds bytes that are not what a manifest says.

    Example: `funnelgate release diff 6 7 --verify --json`
    """
    from pipeline.release.diff import day_ids, diff_releases
    from pipeline.release.pointer import release_of
    from pipeline.release.retention import has_files

    folder = root_of(context, root)
    before, after = release_of(folder, first), release_of(folder, second)
    there = has_files(folder, before) and has_files(folder, after)
    found = diff_releases(before, after, (lambda entry, day: day_ids(folder, entry, day)) if there else None)
    violations = _violations(folder, (first, second)) if verify else []
    if as_json:
        proof = {"verified": not violations, "violations": violations} if verify else {}
        typer.echo(json.dumps(found.model_dump(mode="json") | proof, indent=1))
    else:
        _tell_diff(found)
        for line in violations:
            typer.secho(json.dumps(line), fg=typer.colors.RED)
        if verify and not violations:
            typer.echo("verified: the bytes of both are what their manifests say")
    if violations:
        raise typer.Exit(EXIT_FAILED)


def _violations(root: Path, numbers: tuple[int, int]) -> list[dict[str, Any]]:
    from pipeline.verify_release import verify_release

    return [{"release": number, **one} for number in numbers for one in verify_release(root, number).violations]


def _tell_diff(found: ReleaseDiff) -> None:
    days = ", ".join(map(str, found.days_changed)) or "none"
    typer.echo(f"days changed: {days}; {found.rows_added:,} rows added, {found.rows_removed:,} removed")
    for name, one in found.categories.items():
        if one.change == "same":
            continue
        what = [", ".join(map(str, one.days_changed)) or ("no day" if one.days_known else "days not noted")]
        what += [f"+{one.rows_added:,} -{one.rows_removed:,}"]
        what += [f"model {one.model_changed}"] if one.model_changed else []
        what += ["trained anew"] if one.training_changed else []
        what += [f"nprobe {one.nprobe}"] if one.nprobe else []
        what += ["items"] if one.items_changed and one.change == "changed" else []
        typer.echo(f"  {name} {one.change}: {'; '.join(what)}")
    for changed, text in ((found.front_changed, "the front"), (found.ranking_changed, "the ranking")):
        if changed:
            typer.echo(f"  {text} changed")
    for line in found.resources_changed:
        typer.echo(f"  {line}")


@app.command("publish")
def publish(
    context: typer.Context,
    date: Annotated[str, typer.Option("--date", help="Day whose judged indexes go out, YYYY-MM-DD.")],
    plan: Annotated[str | None, typer.Option(help="As this plan sees the day; default: what counts.")] = None,
    waive: WaiveOption = None,
    by: ByOption = "",
    why: WhyOption = "",
    sign_key: SignKeyOption = None,
    valid_hours: ValidOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a day by hand: only with a PASS over exactly these inputs, or with a waiver that stays with the release.

    The task `release` does this for every day; a hand is needed where the gate said no and a person answers for it.
    Ends with 1 where it is refused, and says what --waive would have to name: also "older day", where a newer one is
    served. `release rollback` goes back to what was released before.

    Example: `funnelgate release publish --date 2026-11-22 --waive INCONCLUSIVE --by ana --why "one slice is too small"`
    """
    from pipeline.drafting import draft_of
    from pipeline.release.publishing import newer_than, publish_release, require_allowed
    from pipeline.tasks.candidate import candidate_on
    from reporting.days import parse_day

    place = context.obj.place
    waiver, signer = waiver_of(waive, by, why), release_signer(context, sign_key, valid_hours)
    chosen = None if plan is None else _plan(place.store, plan)
    candidate = candidate_on(place.store, place.lake, place.topology, parse_day(date), chosen)
    inputs = candidate.inputs()
    verdict = _verdict_over(place.store, candidate.date, inputs)
    stale = _stale(place, candidate.merged, chosen)
    label = f"the release of plan {candidate.planid}, {candidate.date},"
    root = place.lake.folder()
    newer = newer_than(root, candidate.date)
    require_allowed(label, verdict=verdict, waiver=waiver, expected_inputs=inputs, stale=stale, newer=newer)
    draft = draft_of(
        candidate, created_at=datetime.now(UTC), progress=lambda name: typer.echo(f"writing {name}", err=True)
    )
    made = publish_release(
        root,
        draft,
        verdict=verdict,
        waiver=waiver,
        expected_inputs=inputs,
        stale=stale,
        signer=signer,
    )
    _tell_published(made, as_json)


def _stale(place: Any, merged: Any, plan: Any) -> list[str]:
    """Return the stale ancestors that the task `release` would refuse too, a line each."""
    from pipeline.stale import stale_ancestors
    from pipeline.tasks import task_settings

    tolerate = task_settings(place.topology, "release").model_dump().get("tolerate", ())
    return [str(one) for one in stale_ancestors(place.store, place.topology, merged, plan=plan, tolerate=tolerate)]


def _plan(store: Any, planid: str) -> Any:
    from reporting.errors import UsageError

    found = store.get_plan(planid)
    if found is None:
        raise UsageError.unknown_plan(planid, [one.planid for one in store.plans()])
    return found


def _verdict_over(store: Any, day: Any, inputs: dict[str, str]) -> Verdict | None:
    """Return the gate's last word over these inputs; else its last word on the day, which a waiver can answer for."""
    given = [one for plan in store.plans(day, day) for one in store.verdicts(plan.planid) if one.date == day]
    given.sort(key=lambda one: one.decided_at)
    fitting = [one for one in given if one.inputs == inputs]
    return next(iter([*reversed(fitting), *reversed(given)]), None)


@app.command("rollback")
def rollback(
    context: typer.Context,
    number: Number,
    by: ByOption = "",
    why: WhyOption = "",
    sign_key: SignKeyOption = None,
    valid_hours: ValidOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be online next.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier release's content online again, under a new number that consumers follow.

    Example: `funnelgate release rollback 6 --by ana --why "7 mixes up the left shoes"`
    """
    from pipeline.release.pointer import current
    from pipeline.release.rollback import going_back
    from pipeline.release.rollback import rollback as go_back

    root, now = context.obj.place.lake.folder(), datetime.now(UTC)
    signer = release_signer(context, sign_key, valid_hours)
    if dry_run:
        draft, served = going_back(root, number, by=by, why=why, at=now), current(root)
        typer.echo(f"release {served.number if served else 'none'} is current; the content of {number} would be next:")
        rows = sum(entry.rows for entry in draft.categories.values())
        typer.echo(f"  plan {draft.planid} of {draft.date}, {rows:,} rows")
        typer.echo("nothing was written")
        return
    _tell_published(go_back(root, number, by=by, why=why, at=now, signer=signer), as_json)


def _tell_published(made: ReleaseManifest, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_facts(made), indent=1))
        return
    of = "" if made.rollback_to is None else f", the content of release {made.rollback_to}"
    typer.echo(f"release {made.number} of {made.date} is current{of}")
    if made.waiver is not None:
        typer.echo(f"  by the waiver of {made.waiver.by} instead of {made.waiver.instead_of}: {made.waiver.why}")


cli_release_files.add_to(app)
app.add_typer(cli_resource.app, name="resource")
