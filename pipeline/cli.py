"""The pipeline's commands; each imports what it needs when it runs."""

from __future__ import annotations

import typer

from pipeline import cli_champion, cli_demo, cli_detect, cli_items, cli_object, cli_plan, cli_run, cli_search, cli_serve
from pipeline.cli_evict import app as evict_app
from pipeline.cli_index import app as index_app
from pipeline.cli_release import app as release_app
from pipeline.learn import cli as cli_learn


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the root's app."""
    app.command("demo")(cli_demo.demo)
    app.command("init")(cli_demo.init)
    app.command("run")(cli_run.run)
    app.command("worker")(cli_run.worker)
    app.command("scheduler")(cli_run.scheduler)
    app.command("backfill")(cli_run.backfill)
    app.command("items")(cli_items.items)
    app.command("detect")(cli_detect.detect)
    app.command("search")(cli_search.search)
    app.command("object")(cli_object.object_command)
    cli_champion.add_to(app)
    app.add_typer(cli_plan.app, name="plan")
    app.add_typer(cli_learn.app, name="learn")
    app.add_typer(index_app, name="index")
    app.add_typer(evict_app, name="evict")
    app.add_typer(release_app, name="release")
    app.add_typer(cli_serve.app, name="serve")
