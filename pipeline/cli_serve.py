"""The command `serve`: answer searches over HTTP; and what users said of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_options import FromOption, JsonOption, ToOption

if TYPE_CHECKING:
    from datetime import date as Date

    from pipeline.release.withheld import WithheldList
    from pipeline.serve.holder import Holder, Refreshed
    from pipeline.serve.poller import Poller
    from pipeline.serve.prom import Metrics
    from pipeline.serve.serve_settings import ServeSettings

app = typer.Typer(invoke_without_command=True)
feedback_app = typer.Typer(no_args_is_help=True, help="What users said about results.")
app.add_typer(feedback_app, name="feedback")
_CONNECTIONS = 256
_OF_A_PLACE = 4
"""Further connections for each request that is admitted: a client may hold more than the one it asks by."""


@app.callback()
def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="0: a free one, which is printed.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="URL that releases are pulled from; default the project's own lake.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder that pulled releases are kept in.")] = None,
    poll_seconds: Annotated[float | None, typer.Option(min=0.05, help="How often to look for a release.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=256, help="Searches at one time.")] = None,
    queue: Annotated[int | None, typer.Option(min=0, help="Requests that may wait; one more is answered 429.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File of keys, one a line; each request needs one.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="Pull only releases signed by its other half (PEM).")] = None,
) -> None:
    """Answer searches over HTTP by the released generation; a new release is swapped in while queries run.

    Addresses: POST /search (a picture or a vector), POST /feedback, GET /generation, /healthz, /readyz, /metrics.
    Needs the extra `web`. An option goes before the `serve` settings of funnelgate.yaml.

    Example: `funnelgate serve --port 8080`; then `curl -H 'Content-Type: image/jpeg' --data-binary @shoe.jpg
    'http://127.0.0.1:8080/search?k=5'`
    """
    if context.invoked_subcommand is not None:
        return
    given = {
        "host": host, "port": port, "source": source, "home": None if home is None else home.absolute(),
        "poll_seconds": poll_seconds, "threads": threads, "queue": queue,
        "api_key_file": None if api_key_file is None else api_key_file.absolute(),
        "public_key": None if public_key is None else public_key.absolute(),
    }  # fmt: skip
    settings = _settings(context, {name: value for name, value in given.items() if value is not None})
    _require_extra()
    _serve(context, settings)


def _settings(context: typer.Context, given: dict[str, Any]) -> ServeSettings:
    """Return the settings with options in their place, and files found from any folder."""
    from pipeline.serve.serve_settings import ServeSettings

    loaded = context.obj.loaded
    settings: ServeSettings = getattr(loaded.values, "serve", ServeSettings())
    files = {name: getattr(settings, name) for name in ("home", "api_key_file", "feedback", "public_key")}
    found = {name: loaded.folder / path for name, path in files.items() if path is not None}
    return settings.model_copy(update=found | given)


def _require_extra() -> None:
    from importlib.util import find_spec

    from reporting.errors import ConfigError

    missing = [name for name in ("fastapi", "prometheus_client", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serve needs {', '.join(missing)}; install the extra: pip install 'funnelgate[web]'")


def _serve(context: typer.Context, settings: ServeSettings) -> None:
    """Listen until SIGINT or SIGTERM; what runs then ends first."""
    from pipeline.models.registered import use_registry
    from pipeline.release.withheld import withheld
    from pipeline.serve.app import make_app
    from pipeline.serve.holder import Holder
    from reporting.http_server import listening, serve_until_asked, url_of

    root = _lake(context) if settings.source is None else settings.home
    _log(context)
    use_registry(root)
    holder = Holder(root, allow_without_golden=settings.allow_without_golden)

    def hidden() -> WithheldList:
        return withheld(root)

    asgi = make_app(holder, settings, hidden)
    poller = _poller(holder, settings, root, asgi.state.serving.metrics)
    places = settings.threads + settings.queue
    with listening(settings.host, settings.port) as listener:
        typer.echo(f"listening on {url_of(listener)}, serving {root}")
        _warn_if_open(settings, bool(asgi.state.serving.keys))
        poller.start()
        serve_until_asked(
            asgi,
            listener,
            grace=int(settings.time_limit_seconds) + 1,
            connections=_CONNECTIONS + _OF_A_PLACE * places,
            stop=poller.stop,
        )


def _poller(holder: Holder, settings: ServeSettings, root: Path, metrics: Metrics) -> Poller:
    """Return what looks for releases, counts and tells, and notes in a consumer's home which one answers."""
    from pipeline.release.home import note_active
    from pipeline.serve.poller import Poller

    def told(found: Refreshed) -> None:
        _tell(found)
        answering = holder.status().active
        if answering is not None:
            note_active(root, answering)

    return Poller(
        holder,
        seconds=settings.poll_seconds,
        pull=_pull(settings),
        told=told,
        counted=lambda outcome: metrics.polls.labels(outcome).inc(),
        looked=metrics.looked,
    )


def _lake(context: typer.Context) -> Path:
    """Return the lake's folder. Neither store nor task graph is opened: a server needs only the releases.

    Raises:
        ConfigError: It is no folder of this machine.
    """
    from reporting.errors import ConfigError

    loaded = context.obj.loaded
    root = loaded.values.lake.root.removeprefix("file://")
    if "://" in root:
        raise ConfigError(f"lake.root is {root}: releases are served from a folder; pull them by --from {root}")
    return Path((loaded.folder / root).resolve())


def _log(context: typer.Context) -> None:
    from reporting.logs import log_to

    loaded = context.obj.loaded
    log = loaded.values.log
    log_to(None if log.path is None else loaded.folder / log.path, log.level)


def _pull(settings: ServeSettings) -> Any:
    if settings.source is None:
        return None
    from pipeline.release.consumer import Consumer

    return Consumer(settings.source, settings.home, public_key=settings.public_key).poll


def _tell(found: Refreshed) -> None:
    said = {
        "nothing": "nothing has been released yet; a release is served as soon as it is there",
        "swapped": f"release {found.number} serves, loaded in {found.seconds:.2f} s",
        "refused": f"release {found.number} is refused: {found.reason}",
        "draining": f"release {found.number} waits: {found.reason}",
    }
    typer.secho(said.get(found.outcome, found.outcome), err=True)


def _warn_if_open(settings: ServeSettings, has_keys: bool) -> None:
    from reporting.addresses import is_loopback

    if not is_loopback(settings.host) and not has_keys:
        text = f"whoever reaches {settings.host} may search and read: set --api-key-file, or FUNNELGATE_SERVE__API_KEY"
        typer.secho(text, fg=typer.colors.YELLOW, err=True)


@feedback_app.command("list")
def list_feedback(
    context: typer.Context,
    first: FromOption = None,
    last: ToOption = None,
    folder: Annotated[Path | None, typer.Option(help="Folder of feedback; default that of the settings.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what users said about results, oldest first.

    Example: `funnelgate serve feedback list --from 2026-11-01 --json`
    """
    from pipeline.serve.feedback import kept_feedback

    kept = list(kept_feedback(_folder(context, folder), _day(first), _day(last)))
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in kept], indent=1, ensure_ascii=False))
        return
    for one in kept:
        shown = f"item {one.item} ({one.shown_group or 'unknown product'})" if one.item is not None else "no item"
        wanted = f", it is {one.right_group}" if one.right_group else ""
        picture = "no picture" if one.picture is None else one.picture[:12]
        typer.echo(f"{one.at:%Y-%m-%d %H:%M}  {one.verdict:7} release {one.generation}: {shown}{wanted}; {picture}")
    typer.echo(f"{len(kept)} in all")


@feedback_app.command("export")
def export_feedback(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(help="CSV file to write.")],
    first: FromOption = None,
    last: ToOption = None,
    folder: Annotated[Path | None, typer.Option(help="Folder of feedback; default that of the settings.")] = None,
) -> None:
    """Write the queries of feedback as candidates for a labelled set: fill in `group` where it is empty, and read on.

    What follows is `funnelgate evaluate build-set queries.csv --root feedback ...`.

    Example: `funnelgate serve feedback export queries.csv`
    """
    from pipeline.serve.feedback import kept_feedback, write_candidates

    found = _folder(context, folder)
    kept = list(kept_feedback(found, _day(first), _day(last)))
    with output.open("w", encoding="utf-8", newline="") as out:
        rows, unlabelled = write_candidates(kept, out)
    typer.echo(f"{output}: {rows} queries, {unlabelled} of them without a label; pictures start at --root {found}")


def _folder(context: typer.Context, folder: Path | None) -> Path:
    """Return the folder of feedback.

    Raises:
        UsageError: Feedback is off and no folder was named.
    """
    from reporting.errors import UsageError

    found = folder if folder is not None else _settings(context, {}).feedback
    if found is None:
        raise UsageError("serve.feedback is null: name the folder by --folder")
    return found


def _day(text: str | None) -> Date | None:
    from reporting.days import parse_day

    return None if text is None else parse_day(text)
