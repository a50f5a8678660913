"""The mutation suite: every fault is killed by the rules that are there for it, and does what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from evaluation.answers import Status
from evaluation.catalog import Role
from evaluation.gate_file import BUILTIN, read_gate
from evaluation.gate_spec import GateSpec
from evaluation.measure import measure
from evaluation.mutation_suite import Suite, run_suite
from evaluation.mutations import BY_NAME, FLIPPED_LABELS, MUTATIONS, UNANSWERED
from evaluation.system import View
from tests.evaluation.gate_world import AS_OF, CATEGORIES, system, world

SET = world(750, 1)
MISSES = range(0, len(SET.queries), 40)
SOUND = system(SET, MISSES)
DEFAULT = read_gate(BUILTIN["default"])


def put_in(name: str, seed: int = 0):
    found = BY_NAME[name].put_in(SOUND, SET, np.random.default_rng(seed))
    assert found is not None
    return found


def served(name: str, seed: int = 0):
    return put_in(name, seed)[0].views[View.SERVED]


@pytest.fixture(scope="module")
def suite() -> Suite:
    """All faults, judged by the gate that comes with funnelgate."""
    return run_suite(DEFAULT, SET, SOUND, measure, as_of=AS_OF)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_the_default_gate_kills_each_fault_by_the_rules_that_are_there_for_it(suite, mutation):
    trial = next(one for one in suite.trials if one.mutation is mutation)
    assert trial.named == mutation.kills, "the control has judged every rule that must notice"
    assert (trial.verdict, trial.outcome) == ("FAIL", "killed"), trial.noticed
    assert set(mutation.kills) <= set(trial.noticed)


def test_the_control_passes_and_the_table_shows_every_fault(suite):
    assert (suite.control.verdict, suite.exit_code) == ("PASS", 0)
    table = suite.to_markdown()
    print(f"\n{table}")
    assert table.count("killed") == len(MUTATIONS) == 8
    assert len({one["mutation"] for one in suite.to_document()["mutations"]}) == 8


def test_the_page_about_the_gate_shows_this_table(suite, repository):
    """Fault, verdict, outcome; which other rules fail too hangs on the last digits of intervals."""
    page = (repository / "docs" / "gate.md").read_text(encoding="utf-8")
    for line in suite.to_markdown().splitlines():
        assert "|".join(line.split("|")[:4]) in page


def test_a_gate_without_the_rules_lets_faults_through():
    blind = GateSpec.model_validate(
        {"schema": "gate/1", "rules": [{"id": "answered", "kind": "floor", "metric": "answer_rate", "min": 0.5}]}
    )
    found = run_suite(blind, SET, SOUND, measure, as_of=AS_OF, mutations=MUTATIONS[:2])
    assert ([trial.outcome for trial in found.trials], found.exit_code) == (["missed", "missed"], 1)


def test_a_set_without_days_has_no_place_for_a_bad_day():
    bare = replace(
        SET, catalog=tuple(one.model_copy(update={"first_day": None, "last_day": None}) for one in SET.catalog)
    )
    found = run_suite(DEFAULT, bare, SOUND, measure, as_of=AS_OF, mutations=[BY_NAME["shuffled-day"]])
    assert (found.trials[0].outcome, found.exit_code) == ("not put in", 3)


def test_shuffling_moves_every_id_of_one_day_and_no_other():
    before, after = SOUND.views[View.SERVED].image_id, served("shuffled-day").image_id
    days = {one.image_id: one.first_day for one in SET.catalog if one.role is Role.PRODUCT}
    moved = {one for one, other in zip(before, after, strict=True) if one != other}
    day = {days[one] for one in moved}
    assert len(day) == 1
    assert moved == {one for one in before if days.get(one) in day}
    assert {days[other] for one, other in zip(before, after, strict=True) if one in moved} == day


def test_the_faults_do_what_they_say():
    lost = {one.image_id for one in SET.catalog if one.category == "c0"}
    assert not lost & set(served("zeroed-category").image_id)
    tail = served("dropped-tail").image_id
    singles = {
        group for group, n in Counter(one.group_id for one in SET.catalog if one.role is Role.PRODUCT).items() if n == 1
    }
    assert len(singles) > 50
    assert not {one.image_id for one in SET.catalog if one.group_id in singles} & set(tail)
    doubled = served("duplicated-day")
    assert len(doubled.row) == len(SOUND.views[View.SERVED].row), "a list stays as long as it was"
    assert max(Counter(zip(doubled.row.tolist(), doubled.image_id, strict=True)).values()) == 2
    flipped = put_in("flipped-labels")[1]
    changed = sum(one != other for one, other in zip(SET.labels, flipped.labels, strict=True))
    assert changed == round(FLIPPED_LABELS * len(SET.queries))
    assert flipped.sha256 == SET.sha256
    gone = served("missing-answers").statuses.count(Status.MISSING)
    assert gone == round(UNANSWERED * len(SET.queries))
    one_cell = put_in("nprobe-1")[0]
    assert (
        len(one_cell.views[View.SERVED].row) < len(one_cell.views[View.EXACT].row) == len(SOUND.views[View.EXACT].row)
    )


def test_facts_change_only_where_the_fault_is():
    for name, metric in (("zeroed-category", "groups_with_zero_images"), ("duplicated-day", "duplicate_ids")):
        changed = [one for one, other in zip(put_in(name)[0].facts, SOUND.facts, strict=True) if one != other]
        assert [one.metric for one in changed] == [metric]
        assert changed[0].value > 0
    broken = [one for one in put_in("swapped-codebook")[0].facts if one.metric == "self_recall@1" and one.value == 0]
    assert len(broken) == 1 + CATEGORIES, "the day, and its shard of each category"
    assert len({one.slice.rpartition("day=")[2] for one in broken}) == 1


@pytest.mark.parametrize("name", BY_NAME)
def test_equal_seeds_give_equal_faults(name):
    one, other = served(name, 5), served(name, 5)
    assert one.image_id.tolist() == other.image_id.tolist()
    assert one.statuses == other.statuses
    assert put_in(name, 5)[1] == put_in(name, 5)[1]
