"""Which plan counts for a leaf: a pure function of the registry, which no half-done re-run can flip."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reporting.effective import EffectivePlans, effective_records
from reporting.plans import Cover, Effective, Leaf, PlanKind, PlanState, cover_of, effective_plan
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Edge, TaskSpec, Topology

LEAF = Leaf("embed", DAY, "shoes", "0001")
DAILY, RERUN, BACKFILL, SHADOW, TEST = PlanKind


def at(hours):
    return MOMENT + timedelta(hours=hours)


def plan(planid, kind=DAILY, made=0, complete=None, promoted=None, **changes):
    """A plan by hours after MOMENT."""
    return make_plan(
        planid,
        kind,
        created_at=at(made),
        completed_at=None if complete is None else at(complete),
        promoted_at=None if promoted is None else at(promoted),
        **changes,
    )


CASES = {
    "nothing is planned": ([], None),
    "an open daily is provisional": ([plan("d")], ("d", True)),
    "a complete daily is final": ([plan("d", complete=1)], ("d", False)),
    "a complete re-run that nobody promoted": ([plan("d", complete=1), plan("r", RERUN, 2, 3)], ("d", False)),
    "an open re-run of a greater planid": ([plan("d", complete=1), plan("z", RERUN, 2)], ("d", False)),
    "a re-run alone, not promoted": ([plan("r", RERUN, 2, 3)], None),
    "a promoted re-run": ([plan("d", complete=1), plan("r", RERUN, 2, 3, 4)], ("r", False)),
    "a promoted re-run of a smaller planid": ([plan("d", complete=1), plan("a", RERUN, 2, 3, 4)], ("a", False)),
    "a promoted re-run before the daily completes": ([plan("d"), plan("r", RERUN, 2, 3, 4)], ("r", False)),
    "a daily that completes after the promotion": ([plan("d", complete=9), plan("r", RERUN, 2, 3, 4)], ("r", False)),
    "the latest promotion, not the latest plan": (
        [plan("d", complete=1), plan("r1", RERUN, 2, 3, 8), plan("r2", RERUN, 4, 5, 6)],
        ("r1", False),
    ),
    "promotions in one moment": ([plan("r1", RERUN, 2, 3, 8), plan("r2", RERUN, 2, 3, 8)], ("r2", False)),
    "a promoted backfill": ([plan("d", complete=1), plan("b", BACKFILL, 2, 3, 4)], ("b", False)),
    "a backfill of an empty day, not promoted": ([plan("b", BACKFILL, 2, 3)], None),
    "a promoted daily": ([plan("d", complete=1, promoted=2)], ("d", False)),
    "a shadow is never effective": ([plan("d", complete=1), plan("s", SHADOW, 2, 3, 4)], ("d", False)),
    "a test is never effective": ([plan("t", TEST, 2, 3, 4)], None),
    "an abandoned promoted plan": (
        [plan("d", complete=1), plan("r", RERUN, 2, 3, 4, state=PlanState.ABANDONED)],
        ("d", False),
    ),
    "an abandoned daily": ([plan("d", complete=1, state=PlanState.ABANDONED)], None),
    "a plan of another day": ([plan("d", complete=1, dates=(Date(2026, 11, 2),))], None),
    "an overlay of another leaf": (
        [plan("d", complete=1), plan("r", RERUN, 2, 3, 4, cover=(Cover(task="embed", subinstances=("0002",)),))],
        ("d", False),
    ),
    "an overlay of this leaf": (
        [plan("d", complete=1), plan("r", RERUN, 2, 3, 4, cover=(Cover(task="embed", subinstances=("0001",)),))],
        ("r", False),
    ),
    "an overlay of another task": (
        [plan("d", complete=1), plan("r", RERUN, 2, 3, 4, cover=(Cover(task="index"),))],
        ("d", False),
    ),
    "an overlay that covers nothing": ([plan("d", complete=1), plan("r", RERUN, 2, 3, 4, cover=())], ("d", False)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_effective_plan(name):
    plans, expected = CASES[name]
    assert effective_plan(plans, LEAF) == (None if expected is None else Effective(*expected))
    assert effective_plan(reversed(plans), LEAF) == effective_plan(plans, LEAF)


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(-1, None), (0, ("d", True)), (1, ("d", True)), (2, ("d", False)), (4, ("d", False)), (5, ("r", False))],
)
def test_as_of_asks_what_counted_then(hour, expected):
    plans = [plan("d", complete=2), plan("r", RERUN, 3, 4, 5)]
    assert effective_plan(plans, LEAF, at(hour)) == (None if expected is None else Effective(*expected))


HOURS = st.integers(0, 6)
DAYS = (DAY, Date(2026, 11, 2))
COVERS = st.none() | st.lists(
    st.builds(
        Cover,
        task=st.sampled_from(["embed", "index"]),
        categories=st.none() | st.just(("shoes",)),
        subinstances=st.none() | st.just(("0001",)),
    ),
    max_size=2,
).map(tuple)


@st.composite
def plan_of(draw, kinds=tuple(PlanKind), promoted=True):
    made, complete = draw(HOURS), draw(st.none() | HOURS)
    complete = None if complete is None else made + complete
    promotion = draw(st.none() | HOURS) if promoted and complete is not None else None
    return plan(
        draw(st.text("abz", min_size=1, max_size=3)),
        draw(st.sampled_from(kinds)),
        made,
        complete,
        None if promotion is None or complete is None else complete + promotion,
        cover=draw(COVERS),
        dates=draw(st.sampled_from([DAYS[:1], DAYS[1:], DAYS])),
    )


PLANS = st.lists(plan_of(), max_size=6, unique_by=lambda p: p.planid)
LEAVES = st.builds(
    Leaf,
    st.sampled_from(["embed", "index"]),
    st.sampled_from(DAYS),
    st.sampled_from(["shoes", "hats"]),
    st.sampled_from(["0001", "0002"]),
)
MOMENTS = st.none() | st.integers(-1, 20).map(at)


@given(plans=PLANS, extra=plan_of(kinds=(RERUN, BACKFILL, SHADOW, TEST), promoted=False), leaf=LEAVES, moment=MOMENTS)
def test_a_plan_that_nobody_promoted_never_changes_what_counts(plans, extra, leaf, moment):
    assert effective_plan([*plans, extra], leaf, moment) == effective_plan(plans, leaf, moment)


@given(plans=PLANS, leaf=LEAVES, moment=st.integers(-1, 20).map(at))
def test_as_of_equals_the_registry_as_it_stood(plans, leaf, moment):
    """Oracle: plans not yet made are removed, times not yet come are cleared."""
    then = [
        make_plan(
            p.planid,
            p.kind,
            dates=p.dates,
            cover=p.cover,
            created_at=p.created_at,
            completed_at=p.completed_at if p.completed_at and p.completed_at <= moment else None,
            promoted_at=p.promoted_at if p.promoted_at and p.promoted_at <= moment else None,
        )
        for p in plans
        if p.created_at <= moment
    ]
    assert effective_plan(plans, leaf, moment) == effective_plan(then, leaf)


@given(plans=PLANS, leaf=LEAVES, moment=MOMENTS)
def test_what_counts_covers_the_leaf_and_is_remembered(plans, leaf, moment):
    found = effective_plan(plans, leaf, moment)
    known = EffectivePlans(plans, moment)
    assert known.of(leaf) == known.of(leaf) == found
    if found is not None:
        chosen = next(p for p in plans if p.planid == found.planid)
        assert chosen.covers(leaf)
        assert chosen.kind not in (SHADOW, TEST)


def test_an_overlay_replaces_its_leaves_and_their_downstream_and_nothing_else():
    tasks = {
        "hash": TaskSpec(unit_in="a", unit_out="a", grain=("subinstance",)),
        "join": TaskSpec(unit_in="a", unit_out="a"),
    }
    topology = Topology(tasks=tasks, edges=(Edge(source="hash", target="join"),))
    store = MemoryStore()
    with store.begin() as work:
        work.put_plan(plan("d", complete=1))
        cover = cover_of(topology, ("hash",), subinstances=("0001",))
        work.put_plan(plan("r", RERUN, 2, 3, 4, cover=cover))
        work.put_plan(plan("half", RERUN, 5))
        for planid in ("d", "r", "half"):
            work.put_record(make_record("hash", subinstance="0001", planid=planid, reported_at=at(1)))
            work.put_record(make_record("join", planid=planid, reported_at=at(1)))
        work.put_record(make_record("hash", subinstance="0002", planid="d", reported_at=at(1)))

    def chosen(moment):
        found = effective_records(store, DAY, DAY, moment)
        return {(r.key.task, r.key.subinstance): r.key.planid for r in found}

    siblings = {("hash", "0002"): "d"}
    assert chosen(None) == {("hash", "0001"): "r", ("join", "all"): "r", **siblings}
    assert chosen(at(2)) == {("hash", "0001"): "d", ("join", "all"): "d", **siblings}
    assert chosen(at(0)) == {}


@pytest.mark.parametrize("dates", [(), (DAYS[1], DAYS[0]), (DAY, DAY)])
def test_a_plan_needs_different_days_in_order(dates):
    with pytest.raises(ValidationError, match="one or more different days in order"):
        make_plan(dates=dates)
