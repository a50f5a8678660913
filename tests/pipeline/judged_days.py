"""Two days of two categories that are judged by labelled queries, for tests of the gate in the pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date as Date
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo

from pipeline.partitions import Partition, Partitions
from pipeline.place import Place
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pointer import release_of
from pipeline.tasks.candidate import Candidate, catalog_rows
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from reporting.verdict import Verdict
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, draw, new_project, row

GATE = """\
schema: gate/1
rules:
  - {id: answered, kind: floor, metric: answer_rate, min: 1.0, bound: point}
  - {id: hit1-floor, kind: floor, metric: hit@1, min: 0.9, bound: point}
  - {id: hit1-ni, kind: noninferior, metric: hit@1, margin_pp: 60, vs: [release, champion]}
  - {id: selfprobe, kind: floor, metric: self_recall@1, slice: "day=*", min: 0.99}
  - {id: no-lost-group, kind: invariant, metric: groups_with_zero_images, equals: 0}
  - {id: orphans, kind: invariant, metric: orphan_ids, equals: 0}
  - {id: contract, kind: invariant, metric: merge_contract_violations, equals: 0}
"""
ARRIVALS = {DAY_1: range(1, 9), DAY_2: range(9, 13), DAY_3: range(13, 15)}
TWIN_OF = 1
"""On the first day another offer shows picture 1 in other bytes; one of the two gives way to the other."""


def _note(text: str) -> PngInfo:
    """Return a note that makes other bytes of equal pixels."""
    note = PngInfo()
    note.add_text("note", text)
    return note


def category_of(number: int) -> str:
    return "red" if number % 2 else "green"


def judged_project(folder: Path) -> Project:
    """Make the project, with a labelled query for each picture of all days; nothing has run."""
    project = new_project(folder, workers=1)
    queries, catalog = ["path,group,category,query_id"], ["path,group,category"]
    for day, numbers in ARRIVALS.items():
        rows = [row(project.drawn(number), f"s{number}", category=category_of(number)) for number in numbers]
        if TWIN_OF in numbers:
            again = project.picture("twin.png", draw(TWIN_OF), pnginfo=_note("twin"))
            rows.append(row(again, "twin", category=category_of(TWIN_OF)))
        project.manifest(day, rows)
        for one in rows:
            number = TWIN_OF if one["sku"] == "twin" else int(one["sku"][1:])
            path = project.picture(f"query-{one['sku']}.png", draw(number), pnginfo=_note(f"query {one['sku']}"))
            queries.append(f"{path},acme/{one['sku']},{one['category']},q-{one['sku']}")
            catalog.append(f"{one['path']},acme/{one['sku']},{one['category']}")
    (folder / "queries.csv").write_text("\n".join(queries) + "\n")
    (folder / "catalog.csv").write_text("\n".join(catalog) + "\n")
    (folder / "gate.yaml").write_text(GATE)
    project.configure(evaluate={"queries": "queries.csv", "gate": "gate.yaml"})
    settings = folder / "funnelgate.yaml"
    settings.write_text(f"{settings.read_text()}web: {{address: the page}}\n")
    return project


def partition_of(place: Place, task: str, day: Date, category: str = "all") -> Partition:
    """Return the one partition of a leaf."""
    parts = Partitions(place.store, place.topology, None).of_task(task, day)
    (found,) = (part for part in parts if part.leaf.category == category)
    return found


def verdict_of(place: Place, planid: str) -> Verdict:
    """Return the plan's one verdict."""
    (found,) = place.store.verdicts(planid)
    return found


def record_of(place: Place, task: str, day: Date) -> TaskRecord:
    """Return the one record of a task that is not split."""
    (found,) = place.store.records(RecordQuery(tasks=(task,), date_from=day, date_to=day))
    return found


def rules_of(verdict: Verdict, **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows of the evidence with these values."""
    return [one for one in verdict.evidence if all(one.get(name) == value for name, value in wanted.items())]


def candidate_again(place: Place, number: int, day: Date) -> Candidate:
    """Return a release as the candidate of a day."""
    manifest: ReleaseManifest = release_of(Path(place.lake.full("")), number)
    partitions = Partitions(place.store, place.topology, None)
    return Candidate(
        day,
        "again",
        place.lake,
        manifest.categories,
        catalog=lambda: catalog_rows(partitions, place.lake, day),
        front=manifest.front,
    )


def lose_vectors(place: Place, day: Date, category: str) -> None:
    """Let a merge that ended well have handed on no row."""
    folder = partition_of(place, "merge", day, category).folder
    path = Path(place.lake.full(f"{folder}/merge.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": 0}))


def names_in(place: Place, folder: str) -> Sequence[str]:
    """Return the names of the files of a partition."""
    return sorted(path.name for path in Path(place.lake.full(folder)).iterdir())
