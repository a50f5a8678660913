"""The group `evaluate`, and the commands `gate` and `explain` beside it: what the root mounts of this folder."""

from __future__ import annotations

import typer

from evaluation import cli_compare, cli_explain, cli_gate, cli_gate_tools, cli_history, cli_run, cli_sets

evaluate_app = typer.Typer(
    help="Labelled sets, metrics that say what they mean, and whether a gate is any good.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the root's app."""
    for part in (cli_sets, cli_run, cli_compare, cli_history, cli_gate_tools):
        part.register(evaluate_app)
    app.add_typer(evaluate_app, name="evaluate")
    cli_gate.add_to(app)
    cli_explain.add_to(app)
