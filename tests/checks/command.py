"""The commands of the checks, called in this process on a small project with the world of `tests.checks.world`."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from datetime import date as Date
from pathlib import Path
from typing import Any, NamedTuple

import typer

from funnelgate import Context
from reporting.settings import absolute_url
from reporting.stores import open_store
from tests.checks.world import TOPOLOGY, World

RULES = """\
version: 1
checks:
  - {id: there, kind: complete}
  - {id: edges, kind: reconcile}
  - {id: items, kind: digest}
  - {id: in-time, kind: fresh}
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what it printed."""
        return json.loads(self.out)


def new_project(folder: Path, world: World, days: Sequence[Date], url: str = "sqlite:///store.db") -> Path:
    """Write settings, task graph, rules and a store with some days of a world; return the settings file.

    Args:
        folder: Where.
        world: Of the days.
        days: To write.
        url: Of the store, without tables or without records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = TOPOLOGY.model_dump(mode="json", by_alias=True, exclude_none=True)
    (folder / "pipeline.yaml").write_text(json.dumps(graph))  # JSON is YAML
    (folder / "checks.yaml").write_text(RULES)
    settings = folder / "funnelgate.yaml"
    settings.write_text(f"pipeline: pipeline.yaml\nstore: {{url: {json.dumps(url)}}}\nchecks: {{rules: checks.yaml}}\n")
    with open_store(absolute_url(url, folder)) as store:
        world.put(store, days)
    return settings


def call(add_to: Callable[[typer.Typer], None], settings: Path, *arguments: str) -> Ended:
    """Run a command of those that a module mounts."""
    app = typer.Typer()
    app.callback()(lambda: None)
    add_to(app)
    out, err, context = io.StringIO(), io.StringIO(), Context(settings)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = typer.main.get_command(app).main([*arguments], standalone_mode=False, obj=context)
    finally:
        context.store.close()
    return Ended(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())
