"""A plain window in the place of evict: the gate's rule `no-lost-group` fails and nothing is released; ours passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date as Date
from typing import Any

import numpy as np
import pytest

from pipeline import evict_day
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import Stored
from pipeline.release.pointer import current
from reporting.errors import EXIT_FAILED
from reporting.record import State
from reporting.verdict import Outcome
from tests.pipeline.judged_days import category_of, judged_project, partition_of, record_of, verdict_of
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, plan_day, row, run_here, work_off

pytestmark = pytest.mark.slow

RARE = 8
"""The product that is seen on the first day only; all others of that day are seen again each day."""
SEEN = {DAY_2: [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12], DAY_3: [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14]}
Copy = Callable[[Project], Project]


def plain_window(stored: Stored, policy: EvictPolicy, day: int, **_: Any) -> Decisions:
    """Decide by age alone: what is older than the window goes."""
    decided = decide(stored, policy, day)
    old = stored.last_seen <= day - policy.window_days
    return Decisions(**{**vars(decided), "reason": np.where(old, np.int8(Reason.SUPERSEDED), decided.reason)})


def without_representatives(stored: Stored, policy: EvictPolicy, day: int, **_: Any) -> Decisions:
    """Decide by the rule, m = 0: what no group needs is marked on one day and goes on the next."""
    return decide(stored, policy.model_copy(update={"min_per_group": 0, "max_per_group": 0}), day)


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A window of one day, one picture kept of a product; the first day is released. Read only."""
    project = judged_project(tmp_path_factory.mktemp("rare") / "days")
    for day, numbers in SEEN.items():
        project.manifest(day, [row(project.drawn(one), f"s{one}", category=category_of(one)) for one in numbers])
    project.configure(evict={"window_days": 1, "min_per_group": 1})
    run_here(project, DAY_1)
    return project


def released(project: Project) -> tuple[int, Date]:
    served = current(project.folder / "lake")
    assert served is not None
    return served.number, served.date


def lost_groups(project: Project, day: Date) -> dict[str, Any]:
    """Return what the gate says of the rule, with the products that are lost."""
    with project.place() as place:
        said = json.loads(place.lake.read_bytes(f"{partition_of(place, 'evaluate', day).folder}/verdict.json"))
    found: dict[str, Any]
    (found,) = (one for one in said["rules"] if one["id"] == "no-lost-group")
    return found


def test_the_rule_keeps_the_rare_product_and_the_gate_passes(first_day: Project, copy_of: Copy) -> None:
    project = copy_of(first_day)
    for plan in run_here(project, DAY_2, DAY_3):
        with project.place() as place:
            assert verdict_of(place, plan.planid).outcome is Outcome.PASS
        found = lost_groups(project, *plan.dates)
        assert (found["status"], found["value"]) == ("pass", 0)
    assert released(project) == (3, DAY_3)
    with project.place() as place:
        evicted = record_of(place, "evict", DAY_3)
    assert (evicted.dropped, evicted.metrics["tail"]) == ({}, 1)  # the rare one, and only it, is beyond the window


@pytest.mark.parametrize(
    ("mutant", "before"), [(plain_window, ()), (without_representatives, (DAY_2,))], ids=["plain-window", "m-0"]
)
def test_a_plain_window_loses_the_rare_product_and_is_refused_by_no_lost_group_alone(
    first_day: Project, copy_of: Copy, monkeypatch: pytest.MonkeyPatch, mutant: Any, before: Sequence[Date]
) -> None:
    project = copy_of(first_day)
    monkeypatch.setattr(evict_day, "decide", mutant)
    run_here(project, *before)
    day = DAY_3 if before else DAY_2
    served = released(project)
    with project.place() as place:
        plan = plan_day(place, day)
        work_off(place, plan, tasks=tuple(task for task in place.topology.tasks if task not in ("evaluate", "release")))
        assert record_of(place, "evict", day).dropped == {"superseded": 1}
    done = project.call("run", "--source", f"{day}.csv", "--date", str(day))
    assert done.returncode == EXIT_FAILED, done.stdout + done.stderr
    assert "is FAIL" in done.stdout + done.stderr
    with project.place() as place:
        verdict, refused = verdict_of(place, plan.planid), record_of(place, "release", day)
    assert verdict.outcome is Outcome.FAIL
    assert {one["id"] for one in verdict.evidence if one["decision"] == "FAIL"} == {"no-lost-group"}
    found = lost_groups(project, day)
    assert (found["value"], found["worst"]) == (1, [f"acme/s{RARE}"])
    assert refused.state is State.FAILED
    assert refused.error is not None
    assert refused.error.error_class == "GateRefused"
    assert released(project) == served  # what went out before still does
