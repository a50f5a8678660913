"""The shipped check `lists-drift`: worn lists of any one category are noticed, and by what a quantizer really books."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checks
import pipeline
from checks.engine import judge
from checks.faults import Fault, Spot
from checks.losing import matches
from checks.mutate import mutate
from checks.result import Status
from checks.spec import ChecksFile, LoadedChecks, load_checks
from checks.view import View
from pipeline.index.drift import drift_of
from pipeline.index.quantizer import train_quantizer
from reporting.errors import EXIT_FAILED, EXIT_OK
from reporting.plans import Leaf
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Topology

CATEGORIES = ("bags", "hats", "shoes")
TOPOLOGY = Topology.load(Path(pipeline.__file__).parent / "default.yaml")
WORN = 1.6
"""A day's error over the training's: what lists of another season's content have (see the last test)."""


@cache
def shipped() -> LoadedChecks:
    """Return the check as it is shipped, without its neighbours."""
    loaded = load_checks(Path(checks.__file__).parent / "rules" / "default.yaml", TOPOLOGY)
    (rule,) = (one for one in loaded.file.checks if one.id == "lists-drift")
    return replace(loaded, file=_only(rule))


def _only(rule: Any) -> ChecksFile:
    return ChecksFile.model_construct(version=1, holidays=(), checks=(rule,))


def day(ratios: dict[str, float | None]) -> View:
    """Return a day on which `train` has booked such a ratio for each category; None: it has booked none."""
    plan = make_plan(created_at=MOMENT, completed_at=MOMENT)
    records = [
        make_record("train", category=name, metrics={} if ratio is None else {"drift_ratio": ratio})
        for name, ratio in ratios.items()
    ]
    leaves = frozenset(Leaf("train", DAY, name) for name in ratios)
    return View(TOPOLOGY, DAY, MOMENT, records, plans=[plan], expected={plan.planid: leaves})


def fresh() -> View:
    return day(dict.fromkeys(CATEGORIES, 1.0))


def statuses(view: View, rules: LoadedChecks | None = None) -> dict[str, Status]:
    loaded = rules or shipped()
    return {one.instance: one.status for one in judge(loaded.file, view, loaded.config_hash)}


def _trained(view: View) -> list[Spot]:
    return [Spot("train", (("category", record.key.category),)) for record in view.records]


def _worn(view: View, spot: Spot) -> View:
    records = [
        record.model_copy(update={"metrics": {"drift_ratio": WORN}}) if matches(record.key, spot.place) else record
        for record in view.records
    ]
    return replace(view, records=records)


WORN_LISTS = Fault("worn_lists", "A category's vectors fit its quantizer no longer.", _trained, _worn)


def test_worn_lists_of_any_category_are_noticed() -> None:
    found = mutate(shipped(), fresh(), faults=[WORN_LISTS], places=len(CATEGORIES))
    (report,) = found.faults
    assert [one.noticed_by for one in report.injections] == [("lists-drift",)] * len(CATEGORIES)
    assert (found.recall, found.exit_code) == (1.0, EXIT_OK)


def test_a_check_over_all_categories_together_would_miss_every_one_of_them() -> None:
    (rule,) = shipped().file.checks
    together = replace(shipped(), file=_only(rule.model_copy(update={"group_by": ()})))
    found = mutate(together, fresh(), faults=[WORN_LISTS], places=len(CATEGORIES))
    assert (found.recall, found.exit_code) == (0.0, EXIT_FAILED)


@pytest.mark.parametrize(
    ("ratio", "status"),
    [
        (1.0, Status.PASS),
        (1.5, Status.PASS),
        (1.5000001, Status.WARN),
        (4.0, Status.WARN),
        (None, Status.NOT_EVALUATED),
    ],
)
def test_it_warns_above_one_and_a_half_and_does_not_pass_what_was_not_measured(
    ratio: float | None, status: Status
) -> None:
    found = statuses(day({"hats": 1.0, "shoes": ratio}))
    assert found == {"train category=hats": Status.PASS, "train category=shoes": status}


def around(axes: range, *, rows: int = 160, seed: int = 0) -> np.ndarray:
    """Return unit vectors of 16 dimensions round some axes, as many round each."""
    wide = np.repeat(np.eye(16)[list(axes)], rows, axis=0)
    wide += np.random.default_rng(seed).normal(scale=0.1, size=wide.shape)
    vectors: np.ndarray = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def test_what_a_quantizer_books_of_like_content_passes_and_of_other_content_warns() -> None:
    trained_on = around(range(4))
    index = train_quantizer(trained_on, nlist=4)
    reference = drift_of(index, trained_on)
    like, other = (drift_of(index, around(axes, seed=9), reference).ratio for axes in (range(4), range(4, 8)))
    assert like is not None
    assert other is not None
    assert like < 1.1 < WORN < other
    found = statuses(day({"hats": like, "shoes": other}))
    assert found == {"train category=hats": Status.PASS, "train category=shoes": Status.WARN}
