"""The commands `web` and `dashboards metrics`: the page and the figures as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboards.shelf import Books
    from dashboards.web.settings import WebSettings

HostOption = Annotated[str | None, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int | None, typer.Option(min=0, max=65_535, help="0: a free one, which is printed.")]
RemoteOption = Annotated[bool, typer.Option("--allow-remote", help="Let other machines in; nobody is asked for a key.")]
DaysOption = Annotated[int | None, typer.Option(min=1, max=60, help="Days that have figures of their own.")]
_GRACE = 4
"""Seconds that what runs has to end, once asked to; the process is gone three later at most."""
_CONNECTIONS = 200
_GARBAGE = (100_000, 50, 50)
"""`gc.set_threshold`."""


def add_to(app: typer.Typer, group: typer.Typer) -> None:
    """Mount `web` on the root's app, and `metrics` on the dashboards group."""
    app.command("web")(web)
    group.command("metrics")(metrics)


def web(
    context: typer.Context, host: HostOption = None, port: PortOption = None, allow_remote: RemoteOption = False
) -> None:
    """Serve the page live, and the figures for Prometheus at /metrics; nothing is ever written.

    Every answer is made from the store as it is then. Needs the extra `web`. An option goes before the `web` settings
    of funnelgate.yaml.

    Example: `funnelgate web --port 8081`
    """
    given: dict[str, Any] = {"host": host, "port": port, "allow_remote": allow_remote or None}
    settings: WebSettings = context.obj.loaded.values.web
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    _require("web", "fastapi", "prometheus_client", "uvicorn")
    _refuse_strangers(settings)
    _serve(_opener(context), settings)


def metrics(context: typer.Context, days: DaysOption = None) -> None:
    """Print once what /metrics of `funnelgate web` gives, for a textfile collector.

    Write it beside and move it, so that a half is never read. Needs the extra `web`.

    Example: `funnelgate dashboards metrics > figures.tmp && mv figures.tmp funnelgate.prom`
    """
    _require("dashboards metrics", "prometheus_client")
    from dashboards.metrics.exposition import text_of
    from dashboards.metrics.figures import figures
    from dashboards.shelf import Shelf

    told = figures(Shelf(_opener(context)).serving(), days or context.obj.loaded.values.web.metrics_days)
    typer.echo(text_of(told).decode(), nl=False)


def _opener(context: typer.Context) -> Callable[[], Books]:
    from dashboards.shelf import Books

    def opened() -> Books:
        root = context.obj.fresh()
        return Books(root.store, root.topology, root.page_sources())

    return opened


def _serve(opened: Callable[[], Books], settings: WebSettings) -> None:
    """Listen until SIGINT or SIGTERM."""
    import gc

    from dashboards.shelf import Shelf
    from dashboards.web.app import make_app
    from reporting.http_server import listening, serve_until_asked, url_of

    shelf = Shelf(opened)
    with listening(settings.host, settings.port) as listener:
        typer.echo(f"listening on {url_of(listener)}/")
        if settings.allow_remote:
            typer.secho("whoever reaches this address may read every page", fg=typer.colors.YELLOW, err=True)
        # A kept day is some 100,000 objects without a cycle: looking through all of them took a third of a request.
        gc.set_threshold(*_GARBAGE)
        shelf.warm()
        serve_until_asked(make_app(shelf, settings), listener, grace=_GRACE, connections=_CONNECTIONS)


def _require(command: str, *modules: str) -> None:
    from importlib.util import find_spec

    from reporting.errors import ConfigError

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{command} needs {', '.join(missing)}; install the extra: pip install 'funnelgate[web]'")


def _refuse_strangers(settings: WebSettings) -> None:
    """Refuse an address that other machines reach, unless they are let in.

    Raises:
        UsageError: they are not.
    """
    from reporting.addresses import is_loopback
    from reporting.errors import UsageError

    if not settings.allow_remote and not is_loopback(settings.host):
        raise UsageError(
            f"{settings.host} is reached by other machines, and nobody is asked for a key: take 127.0.0.1 and a proxy "
            "that asks, or say --allow-remote"
        )
