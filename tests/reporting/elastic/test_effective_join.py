"""ES|QL's LOOKUP JOIN over the effective lines counts what `effective_records` counts, on a server that runs ES|QL."""

from __future__ import annotations

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reporting.effective import effective_records
from reporting.elastic.documents import Document, record_document
from reporting.elastic.effective import EffectiveKeeper
from reporting.elastic.mappings import component_templates, index_templates
from reporting.plans import Cover, Plan, PlanKind
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.servers.rest import call, remove_everything

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]
PACKAGES = [f"{number:04d}" for number in range(6)]


@pytest.fixture
def prefix(elastic8_url: str) -> Iterator[str]:
    """Our templates, as they are, on a server that has ES|QL."""
    name = f"join-{secrets.token_hex(4)}"
    templates = [
        ("_component_template", component_templates(name, ["sharpness"])),
        ("_index_template", index_templates(name)),
    ]
    for kind, bodies in templates:
        for template, body in bodies.items():
            assert call(elastic8_url, "PUT", f"/{kind}/{template}", body)[0] == 200
    yield name
    remove_everything(elastic8_url, name)


def write(url: str, documents: list[Document]) -> None:
    lines = []
    for document in documents:
        lines += [{"index": {"_index": document.index, "_id": document.id}}, document.source]
    status, answer = call(url, "POST", "/_bulk?refresh=true", "".join(json.dumps(line) + "\n" for line in lines))
    assert (status, answer["errors"]) == (200, False), answer


def query(url: str, text: str, **params: Any) -> list[list[Any]]:
    named = [{name: value} for name, value in params.items()]
    status, answer = call(
        url, "POST", "/_query", {"query": text, "params": named}, headers={"accept": "application/json"}
    )
    assert status == 200, answer
    rows: list[list[Any]] = answer["values"]
    return rows


def repaired_day(store: SqlStore) -> None:
    """A daily plan, a promoted repair of two packages, a half-done re-run and a shadow plan that count nothing."""
    plans: list[Plan] = [
        make_plan("daily", completed_at=MOMENT),
        make_plan(
            "repair",
            PlanKind.RERUN,
            cover=(Cover(task="quality", subinstances=("0001", "0002")), Cover(task="hash", subinstances=("0001",))),
            completed_at=MOMENT + timedelta(hours=1),
            promoted_at=MOMENT + timedelta(hours=1),
        ),
        make_plan("half", PlanKind.RERUN),
        make_plan("shadow", PlanKind.SHADOW, completed_at=MOMENT),
    ]
    with store.begin() as work:
        for plan in plans:
            work.put_plan(plan)
            for task in ("quality", "hash"):
                for number, package in enumerate(PACKAGES):
                    work.put_record(
                        make_record(
                            task,
                            subinstance=package,
                            planid=plan.planid,
                            input=100 + 7 * number + len(plan.planid),
                            dropped={"blurred": number, "too_small": 1},
                        )
                    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """The registry, and the oracle."""
    with open_store(f"sqlite:///{tmp_path / 'join.db'}") as opened:
        repaired_day(opened)
        yield opened


def test_a_join_with_the_effective_lines_counts_each_leaf_once(store: SqlStore, elastic8_url: str, prefix: str) -> None:
    every = store.records(RecordQuery())
    write(elastic8_url, [record_document(prefix, record) for record in every])
    write(elastic8_url, list(EffectiveKeeper(store, prefix).day_lines(DAY)))

    counting = effective_records(store, DAY, DAY)
    inputs: Counter[str] = Counter()
    drops: dict[str, Counter[str]] = defaultdict(Counter)
    for record in counting:
        inputs[record.key.task] += record.input
        drops[record.key.task].update(record.dropped)
    assert len(every) == 4 * len(counting)  # else there is nothing to tell apart

    effective = (
        f"FROM {prefix}-records-* | WHERE date >= ?first AND date <= ?last"
        f" | LOOKUP JOIN {prefix}-effective ON effective_key | WHERE planid == effective_planid"
    )
    days = {"first": DAY.isoformat(), "last": DAY.isoformat()}
    rows = query(elastic8_url, f"{effective} | STATS taken = SUM(input) BY task", **days)
    assert {task: taken for taken, task in rows} == inputs
    rows = query(
        elastic8_url,
        f'{effective} | MV_EXPAND dropped_by | DISSECT dropped_by "%{{reason}}=%{{n}}" | EVAL n = TO_LONG(n)'
        " | STATS n = SUM(n) BY task, reason",
        **days,
    )
    assert {(task, reason): n for n, task, reason in rows} == {
        (task, reason): n for task, found in drops.items() for reason, n in found.items()
    }
