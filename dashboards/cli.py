"""The dashboards commands: each family mounts its own on one group."""

from __future__ import annotations

import typer

from dashboards import cli_page, cli_web
from dashboards.kibana import cli as kibana_cli

dashboards_app = typer.Typer(help="Show what was booked: Kibana dashboards as code, and a page.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the root's app."""
    kibana_cli.add_to(dashboards_app)
    cli_page.add_to(dashboards_app)
    cli_web.add_to(app, dashboards_app)
    app.add_typer(dashboards_app, name="dashboards")
