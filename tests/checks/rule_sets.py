"""A file of checks with every kind in it, for the small pipeline of `tests.checks.world`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from checks.spec import LoadedChecks, load_checks
from tests.checks.world import TOPOLOGY

EVERY_KIND = """\
version: 1
checks:
  - {id: books, kind: conservation}
  - {id: edges, kind: reconcile}
  - {id: items, kind: digest}
  - {id: there, kind: complete}
  - {id: model, kind: version, fields: [model], tasks: [detect, embed]}
  - {id: space, kind: version, fields: [space], tasks: [embed, index, merge], along: true}
  - {id: in-time, kind: fresh}
  - {id: yield, kind: reconcile, path: {from: collect, to: index, ratio: [0.3, 6]}}
  - {id: dead, kind: ratio, value: dropped.dead_link / input, tasks: [download], between: [0, 0.3]}
  - {id: volume, kind: drift, measure: produced, group_by: [category], ignore_small: {rel: 0.05, abs: 5}}
  - {id: seconds, kind: drift, measure: seconds, aggregate: mean, tasks: [download, detect], direction: up,
     ignore_small: {rel: 0.2}}
  - {id: rerun, kind: plan_diff, measures: [produced]}
  - {id: custom, kind: expr, expr: "dropped['no_object'] / input < 0.35", on: detect}
"""


def load_text(text: str) -> LoadedChecks:
    """Load a file of checks for the small pipeline; its path is gone when this returns."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checks.yaml"
        path.write_text(text, encoding="utf-8")
        return load_checks(path, TOPOLOGY)


@cache
def every_kind() -> LoadedChecks:
    """Return `EVERY_KIND`, loaded once."""
    return load_text(EVERY_KIND)
