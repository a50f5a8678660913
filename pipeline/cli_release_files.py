"""`release gc|pull|takedown|withheld|pin|sign|keygen`: files, consumers, takedowns and keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_options import JsonOption
from pipeline.cli_release_options import (
    ByOption,
    PublicKeyOption,
    RootOption,
    WhyOption,
    YesOption,
    bytes_bar,
    root_of,
    signer_of,
    size_text,
)

if TYPE_CHECKING:
    from pipeline.release.retention import Stored, Sweep


def add_to(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("gc")(collect)
    app.command("pull")(pull)
    app.command("takedown")(takedown)
    app.command("withheld")(list_withheld)
    app.command("pin")(pin)
    app.command("sign")(sign)
    app.command("keygen")(keygen)


def collect(
    context: typer.Context,
    keep: Annotated[int, typer.Option(min=1, help="Last releases, and versions of each resource, that stay.")] = 3,
    grace_days: Annotated[float, typer.Option(min=0.0, help="Leave alone what was written within these days.")] = 7.0,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete files that nothing needs: no kept release or resource, no pin, no champion, no plan's work.

    Manifests stay for ever. Without --yes it only shows what would go.

    Example: `funnelgate release gc --keep 3 --yes`
    """
    from pipeline.live_files import live_paths
    from pipeline.release.retention import sweep

    place = context.obj.place
    done = sweep(
        place.lake.folder(),
        now=datetime.now(UTC),
        keep=keep,
        grace=timedelta(days=grace_days),
        also=live_paths(place.store, place.lake),
        act=yes,
    )
    if as_json:
        typer.echo(json.dumps(_swept(done, yes), indent=1))
        return
    for number, why in done.releases.items():
        typer.echo(f"kept: release {number}, {why}")
    for one in done.remove:
        typer.echo(f"{'deleted' if yes else 'would delete'}: {one.path} ({size_text(one.bytes)})")
    young = f"; {len(done.young)} more are younger than the grace" if done.young else ""
    typer.echo(f"{len(done.remove)} files and folders, {size_text(done.bytes)}; {len(done.kept)} are needed{young}")
    if not yes and done.remove:
        typer.echo("nothing was deleted; say --yes to delete")


def _swept(done: Sweep, acted: bool) -> dict[str, Any]:
    def rows(part: tuple[Stored, ...]) -> list[dict[str, Any]]:
        return [{"path": one.path, "bytes": one.bytes} for one in part]

    return {
        "deleted": acted,
        "remove": rows(done.remove),
        "bytes": done.bytes,
        "young": rows(done.young),
        "kept_count": len(done.kept),
        "kept_releases": {str(number): why for number, why in done.releases.items()},
    }


def pull(
    source: Annotated[str, typer.Option("--from", help="The publisher's lake: a folder or a URL that fsspec reads.")],
    home: Annotated[Path, typer.Option(help="Your own folder, which a server serves from.")],
    resource: Annotated[
        str | None, typer.Option(help="Pull business/name of the registry instead of the release.")
    ] = None,
    channel: Annotated[str, typer.Option(help="With --resource: the channel that is followed.")] = "stable",
    keep: Annotated[int, typer.Option(min=2, help="Releases kept: the one that serves, and those to go back to.")] = 2,
    public_key: PublicKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a publisher once: takedowns, the current release and all its files, verified, then one atomic swap.

    Ends with 1 if what is published is damaged, truncated, exchanged, unsigned, expired or older than what was seen;
    the home goes on serving what it had. A broken download goes on where it stopped.

    Example: `funnelgate release pull --from /mnt/lake --home /srv/search`
    """
    from pipeline.release.consumer import Consumer
    from pipeline.release.resource_consumer import ResourceConsumer
    from reporting.errors import UsageError

    if resource is not None:
        business, _, name = resource.partition("/")
        if not name:
            raise UsageError(f"--resource {resource!r}: expected business/name, e.g. model/efficientnet-lite0")
        with bytes_bar(resource) as got:
            found = ResourceConsumer(source, home, business, name, channel, keep, public_key, got).poll()
        told = {"new": found is not None, "version": None if found is None else found.number}
        text = "nothing new" if found is None else f"{business}/{found.label} is {channel} in {home}"
    else:
        with bytes_bar("release") as got:
            pulled = Consumer(source, home, keep, public_key, got).poll()
        told = {"new": pulled is not None, "release": None if pulled is None else pulled.manifest.number}
        told |= {} if pulled is None else {"files": pulled.files, "fetched_bytes": pulled.fetched_bytes}
        text = (
            "nothing new"
            if pulled is None
            else f"release {pulled.manifest.number} of {pulled.manifest.date} is current in {home}:"
            f" {pulled.files} files, {size_text(pulled.fetched_bytes)} fetched"
        )
    typer.echo(json.dumps(told, indent=1) if as_json else text)


def takedown(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="item (id in the index), picture (sha256), group, or offer.")],
    value: Annotated[str, typer.Argument(help="Which one; an offer as merchant/sku.")],
    reason: Annotated[str, typer.Option(help="takedown, delisted or dead.")] = "takedown",
    by: ByOption = "",
    why: WhyOption = "",
    lift: Annotated[bool, typer.Option("--lift", help="Let it be shown again.")] = False,
    root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withhold something from every answer, from the next query on, whatever the indexes hold.

    Example: `funnelgate release takedown offer acme/4711 --by ana --why "court order 12/26"`
    """
    from pydantic import ValidationError

    from pipeline.release.withheld import Withheld, withhold
    from reporting.errors import UsageError

    try:
        entry = Withheld.model_validate(
            {
                "kind": kind,
                "value": value,
                "reason": reason,
                "by": by.strip(),
                "why": why.strip(),
                "at": datetime.now(UTC),
                "lifted": lift,
            }
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc'])) or kind}: {one['msg']}" for one in error.errors())
        raise UsageError(f"this is no takedown: {faults}; give KIND VALUE --by WHO --why REASON") from error
    withhold(root_of(context, root), entry)
    text = f"{kind} {value} {'may be shown again' if lift else 'is withheld'} from the next query on"
    typer.echo(entry.model_dump_json(indent=1) if as_json else text)


def list_withheld(context: typer.Context, root: RootOption = None, as_json: JsonOption = False) -> None:
    """List what is withheld from every answer.

    Example: `funnelgate release withheld`
    """
    from pipeline.release.withheld import withheld

    entries = withheld(root_of(context, root)).entries
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in entries], indent=1))
        return
    for one in entries:
        typer.echo(f"{one.at:%Y-%m-%d %H:%M:%S}  {one.kind:8} {one.value}  {one.reason}, by {one.by}: {one.why}")
    if not entries:
        typer.echo("nothing is withheld")


def pin(
    context: typer.Context,
    number: Annotated[int, typer.Argument(min=1, help="Number of a release.")],
    by: ByOption = "",
    why: WhyOption = "",
    lift: Annotated[bool, typer.Option("--lift", help="Let a sweep take it again.")] = False,
) -> None:
    """Keep a release's files whatever `gc` sweeps.

    Example: `funnelgate release pin 7 --by ana --why "the one of the trade fair"`
    """
    from pipeline.release.pins import Pin
    from pipeline.release.pins import pin as write
    from pipeline.release.pointer import release_of
    from reporting.errors import UsageError

    if not by.strip() or not why.strip():
        raise UsageError("--why must say why, and --by who decides")
    root = context.obj.place.lake.folder()
    release_of(root, number)
    write(root, Pin(number=number, by=by.strip(), why=why.strip(), at=datetime.now(UTC), lifted=lift))
    typer.echo(f"release {number} {'may be swept again' if lift else 'is pinned'}")


def sign(
    context: typer.Context,
    sign_key: Annotated[Path, typer.Option(help="Ed25519 private key (PEM), see `release keygen`.")],
    valid_hours: Annotated[
        float | None, typer.Option(min=0.01, help="How long consumers may follow it; default for ever.")
    ] = None,
    resource: Annotated[str | None, typer.Option(help="Sign business/name's channel instead of the release.")] = None,
    channel: Annotated[str, typer.Option(help="With --resource: the channel.")] = "stable",
    root: RootOption = None,
) -> None:
    """Sign what is current, anew where it is signed already: the key need not be where the pipeline runs.

    Example: `funnelgate release sign --sign-key keys/release-key.pem --valid-hours 48`
    """
    from pipeline.release.pointer import POINTER, series
    from pipeline.release.registry import channel_file, resource_series
    from pipeline.release.signing import sign_current
    from reporting.errors import UsageError

    folder, signer = root_of(context, root), signer_of(sign_key, valid_hours)
    assert signer is not None
    if resource is None:
        number = sign_current(series(folder), POINTER, signer)
        typer.echo(f"release {number} is signed")
        return
    business, _, name = resource.partition("/")
    if not name:
        raise UsageError(f"--resource {resource!r}: expected business/name, e.g. model/efficientnet-lite0")
    number = sign_current(resource_series(folder, business, name), channel_file(channel), signer)
    typer.echo(f"{resource}@{number}, channel {channel}, is signed")


def keygen(folder: Annotated[Path, typer.Argument(help="Folder for the two files.")]) -> None:
    """Make a pair of keys: one that signs releases, and one that consumers verify them with.

    Example: `funnelgate release keygen keys/`
    """
    from pipeline.release.signing import make_keys

    private, public = make_keys(folder)
    typer.echo(f"private key: {private} (keep it away from consumers)")
    typer.echo(f"public key:  {public}")
