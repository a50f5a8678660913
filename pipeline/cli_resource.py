"""`release resource publish|list|point|rollback`: models, galleries, dictionaries with versions and channels."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_options import JsonOption
from pipeline.cli_release_options import (
    ByOption,
    RootOption,
    SignKeyOption,
    ValidOption,
    WaiveOption,
    WhyOption,
    root_of,
    signer_of,
    size_text,
    verdict_by_id,
    waiver_of,
)
from reporting.errors import UsageError

if TYPE_CHECKING:
    from pipeline.release.resources import Resource

app = typer.Typer(
    help="The version registry: models, detectors, galleries, dictionaries of any kind.", no_args_is_help=True
)
BusinessArgument = Annotated[str, typer.Argument(help="Kind of resource: model, detector, gallery, ...")]
NameArgument = Annotated[str, typer.Argument(help="Its name.")]
ChannelOption = Annotated[str, typer.Option(help="Channel that names it from now on.")]


@app.command("publish")
def publish(
    context: typer.Context,
    business: BusinessArgument,
    name: NameArgument,
    source: Annotated[Path, typer.Argument(help="A file, or a folder of files.")],
    channel: ChannelOption = "stable",
    verdict: Annotated[str | None, typer.Option(help="Id of a PASS that lists this content among its inputs.")] = None,
    waive: WaiveOption = None,
    by: ByOption = "",
    why: WhyOption = "",
    fact: Annotated[list[str] | None, typer.Option(help="name=value that is kept with it; may be repeated.")] = None,
    root: RootOption = None,
    sign_key: SignKeyOption = None,
    valid_hours: ValidOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish files as the next version of a resource: with a PASS over them, or with a waiver that stays with them.

    A `model` or a `gallery` is checked against its own spec; workers then use it by its name (docs/release.md).

    Example: `funnelgate release resource publish model lite1 weights/ --waive "no verdict" --by ana --why "first try"`
    """
    from pipeline.models.registered import vetted
    from pipeline.release.registry import publish_resource

    pairs = [one.partition("=") for one in fact or []]
    if any(not key or not sign for key, sign, _ in pairs):
        raise UsageError("--fact: expected name=value")
    facts, after = vetted(business, name, source)
    made = publish_resource(
        root_of(context, root),
        business,
        name,
        source,
        at=datetime.now(UTC),
        channel=channel,
        verdict=None if verdict is None else verdict_by_id(context, verdict),
        waiver=waiver_of(waive, by, why),
        facts={key: value for key, _, value in pairs} | facts,
        signer=signer_of(sign_key, valid_hours),
        after=after,
    )
    _tell(made, channel, as_json)


@app.command("list")
def list_resources(context: typer.Context, root: RootOption = None, as_json: JsonOption = False) -> None:
    """List every resource with its versions and what its channels name.

    Example: `funnelgate release resource list --json`
    """
    from pipeline.release.registry import businesses, channel_file, channels, resource_names, resource_series

    folder = root_of(context, root)
    rows: list[dict[str, Any]] = []
    for business in businesses(folder):
        for name in resource_names(folder, business):
            series = resource_series(folder, business, name)
            pointers = {each: series.pointer(channel_file(each)) for each in channels(folder, business, name)}
            named = {each: pointer.number for each, pointer in pointers.items() if pointer is not None}
            versions = [_facts(series.read(number)) for number in series.numbers()]
            rows.append({"business": business, "name": name, "channels": named, "versions": versions})
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        named_text = ", ".join(f"{channel} {number}" for channel, number in row["channels"].items())
        typer.echo(f"{row['business']}/{row['name']}: {named_text}")
        for one in row["versions"]:
            typer.echo(f"  {one['version']:6}  {one['created_at']}  {size_text(one['bytes'])}  {one['sha256'][:12]}")
    if not rows:
        typer.echo("nothing has been published")


@app.command("point")
def point(
    context: typer.Context,
    business: BusinessArgument,
    name: NameArgument,
    version: Annotated[int, typer.Argument(min=1, help="A version that is there.")],
    channel: ChannelOption = "stable",
    root: RootOption = None,
    sign_key: SignKeyOption = None,
    valid_hours: ValidOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a channel name a version that was published, e.g. what `beta` has tried; it never goes back.

    Example: `funnelgate release resource point model lite1 4 --channel stable`
    """
    from pipeline.release.registry import point_channel

    signer = signer_of(sign_key, valid_hours)
    made = point_channel(root_of(context, root), business, name, channel, version, signer)
    _tell(made, channel, as_json)


@app.command("rollback")
def rollback(
    context: typer.Context,
    business: BusinessArgument,
    name: NameArgument,
    version: Annotated[int, typer.Argument(min=1, help="Version whose content comes back.")],
    by: ByOption = "",
    why: WhyOption = "",
    channel: ChannelOption = "stable",
    root: RootOption = None,
    sign_key: SignKeyOption = None,
    valid_hours: ValidOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an old version's content a new version, which the channel names from now on.

    Example: `funnelgate release resource rollback model lite1 3 --by ana --why "4 sees shoes everywhere"`
    """
    from pipeline.release.manifest import Decision
    from pipeline.release.registry import rollback_resource

    if len(why.strip()) < 10 or not by.strip():
        raise UsageError("--why must say why in at least ten characters, and --by who decides")
    made = rollback_resource(
        root_of(context, root),
        business,
        name,
        version,
        decided=Decision(by=by.strip(), why=why.strip(), at=datetime.now(UTC)),
        channel=channel,
        signer=signer_of(sign_key, valid_hours),
    )
    _tell(made, channel, as_json)


def _facts(one: Resource) -> dict[str, Any]:
    kept = one.model_dump(mode="json", exclude={"number", "files", "business", "name"})
    return {"version": one.number, "bytes": sum(file.bytes for file in one.files), **kept}


def _tell(made: Resource, channel: str, as_json: bool) -> None:
    if as_json:
        typer.echo(made.model_dump_json(indent=1))
        return
    typer.echo(f"{made.business}/{made.label} ({made.sha256[:12]}) is {channel}")
