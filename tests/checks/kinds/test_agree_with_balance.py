"""What conservation and reconcile leave unexplained is what the trial balance does, on worlds drawn at random."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.kinds.conservation import Conservation
from checks.kinds.reconcile import Reconcile
from checks.result import Status
from checks.view import View
from reporting.balance import Books, balance
from reporting.effective import leaf_of
from reporting.plans import PlanKind, cover_of
from reporting.record import Consumed
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.checks.judging import judged
from tests.checks.world import ORDER, TOPOLOGY, World, noon
from tests.reporting.ledgers import CATEGORIES, PACKAGES, Item, changed, closed_records, graph, with_tail

LATER = MOMENT + timedelta(hours=1)
BANDS = [None, None, (0.5, 1.5), (0, 0.29), (1, 1), (0.07, float("inf"))]


@st.composite
def topologies(draw):
    """A graph in which each task reads one or two earlier ones, of any grains and bands."""
    count = draw(st.integers(2, 6))
    grains = [(), ("category",), ("subinstance",), ("category", "subinstance")]
    edges = []
    for n in range(1, count):
        for source in draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=2)):
            band = draw(st.sampled_from(BANDS))
            edges.append({"from": f"t{source}", "to": f"t{n}", **({} if band is None else {"ratio": list(band)})})
    return graph(edges, **{f"t{n}": draw(st.sampled_from(grains)) for n in range(count)})


ITEMS = st.lists(st.builds(Item, st.sampled_from(CATEGORIES), st.sampled_from(PACKAGES)), max_size=25)


@st.composite
def broken_records(draw, topology, planid="daily"):
    """Records of which some are lost, changed, or do not close."""
    records = []
    for record in closed_records(topology, draw(ITEMS), draw(st.integers(0, 5)), planid=planid):
        fate = draw(st.sampled_from(["kept"] * 6 + ["lost", "changed", "open"]))
        if fate == "changed":
            records.append(changed(record, draw(st.integers(1, 4))))
        elif fate == "open":
            output = max(0, record.output + draw(st.integers(-2, 2)))
            records.append(record.model_copy(update={"output": output}))
        elif fate == "kept":
            records.append(record)
    return records


def agree(topology, records, plans, expected):
    view = View(topology, DAY, LATER + timedelta(days=1), records, plans=plans, expected=expected)
    mine = sum(one.numerator or 0 for name, one in judged(Conservation, view).items() if not name.endswith(" failed"))
    mine += sum(one.details.get("unexplained", 0) for one in judged(Reconcile, view).values())
    books = Books(
        records=records, plans=plans, expected={name: set(leaves) for name, leaves in expected.items()}, consumed=[]
    )
    theirs = balance(topology, books)
    assert mine == sum(row.unexplained for row in theirs.rows) == sum(one.residual for one in theirs.residuals)
    return mine


@given(topology=topologies(), data=st.data(), complete=st.booleans())
@settings(max_examples=60)
def test_one_plan_agrees(topology, data, complete):
    one_plan(topology, data, complete)


@pytest.mark.slow
@given(topology=topologies(), data=st.data(), complete=st.booleans())
@settings(max_examples=600)
def test_one_plan_agrees_on_many_worlds(topology, data, complete):
    one_plan(topology, data, complete)


def one_plan(topology, data, complete):
    records = data.draw(broken_records(topology))
    leaves = [leaf_of(record.key) for record in closed_records(topology, [], 0)]
    owed = frozenset(data.draw(st.sets(st.sampled_from(leaves)))) if data.draw(st.booleans()) else frozenset(leaves)
    plan = make_plan(completed_at=MOMENT if complete else None)
    agree(topology, records, [plan], {"daily": owed})


@given(topology=topologies(), data=st.data())
@settings(max_examples=40)
def test_a_daily_plan_with_a_repair_on_top_agrees(topology, data):
    with_a_repair(topology, data)


@pytest.mark.slow
@given(topology=topologies(), data=st.data())
@settings(max_examples=500)
def test_a_daily_plan_with_a_repair_on_top_agrees_on_many_worlds(topology, data):
    with_a_repair(topology, data)


def with_a_repair(topology, data):
    """One leaf and its downstream come from the repair, their siblings from the daily plan."""
    task = data.draw(st.sampled_from(topology.order))
    cover = cover_of(topology, (task,), subinstances=("0002",))
    fix = make_plan("fix", PlanKind.RERUN, created_at=LATER, completed_at=LATER, promoted_at=LATER, cover=cover)
    again = [r for r in data.draw(broken_records(topology, "fix")) if fix.covers(leaf_of(r.key))]
    leaves = frozenset(leaf_of(record.key) for record in closed_records(topology, [], 0))
    expected = {"daily": leaves, "fix": frozenset(filter(fix.covers, leaves))}
    records = [*data.draw(broken_records(topology)), *again]
    agree(topology, records, [make_plan(completed_at=MOMENT), fix], expected)


WHERE = st.fixed_dictionaries(
    {}, optional={"category": st.sampled_from(["bags", "shoes"]), "subinstance": st.sampled_from(["0001", "0003"])}
)


@given(data=st.data())
@settings(max_examples=12)
def test_windows_agree(data):
    """Over the whole pipeline with its merge, with faults in the judged day and in the days that it reads."""
    world = World(rows=20)
    for _ in range(data.draw(st.integers(0, 3))):
        task = data.draw(st.sampled_from(ORDER[1:-2]))
        day = DAY - timedelta(days=data.draw(st.integers(0, 2)))
        if data.draw(st.booleans()):
            world = world.shrink(task, data.draw(WHERE), 0.2, day)
        else:
            world = world.lose(data.draw(st.sampled_from(world.leaves(day)[1:])))
    view = world.view(digests=False)
    mine = sum(one.details.get("unexplained", 0) for one in judged(Reconcile, view).values())
    books = Books(
        records=[*view.records, *view.other_days],
        plans=list(view.plans),
        expected={name: set(leaves) for name, leaves in view.expected.items()},
        consumed=list(view.other_days),
    )
    rows = balance(TOPOLOGY, books).rows
    assert mine == sum(row.unexplained for row in rows if row.date == DAY)


@st.composite
def readings(draw, task, *known):
    """What a task says it read of some partitions, and took in: mostly what was there."""
    consumed = []
    for source, day, count in known:
        if draw(st.integers(0, 4)):
            planid = draw(st.sampled_from(["daily"] * 5 + ["ghost"]))
            off = draw(st.sampled_from([0, 0, 0, 1]))
            consumed.append(Consumed(task=source, date=day, planid=planid, count=max(0, count - off)))
    taken = sum(one.count for one in consumed) + draw(st.sampled_from([0, 0, 0, 2]))
    return make_record(task, category="hats", date=DAY, input=taken, consumed=tuple(consumed))


@given(data=st.data())
@settings(max_examples=80)
def test_several_windows_into_one_task_agree(data):
    """A tail takes in shards and what it handed on the day before; a merge takes in shards and the tail."""
    before = DAY - timedelta(days=1)
    other_days = [
        make_record(task, category="hats", date=before, input=data.draw(st.integers(0, 9)))
        for task in ("index", "tail")
    ]
    index = make_record("index", category="hats", input=data.draw(st.integers(0, 9)))
    tail = data.draw(readings("tail", *((one.key.task, before, one.produced) for one in other_days)))
    known = (("index", before, other_days[0].produced), ("index", DAY, index.produced), ("tail", DAY, tail.produced))
    records = [index, tail, data.draw(readings("merge", *known))]
    plans = [make_plan(dates=(before, DAY), completed_at=MOMENT)]
    leaves = frozenset(leaf_of(record.key) for record in records)
    view = View(with_tail(), DAY, LATER + timedelta(days=1), records, other_days, plans, {"daily": leaves})
    found = judged(Reconcile, view)
    assert set(found) == {"index->tail", "index->merge", "tail->merge"}
    books = Books(records=records, plans=plans, expected={"daily": set(leaves)}, consumed=other_days)
    rows = [row for row in balance(with_tail(), books).rows if row.date == DAY]
    assert sum(one.details["unexplained"] for one in found.values()) == sum(row.unexplained for row in rows)


@given(data=st.data())
@settings(max_examples=8)
def test_order_and_repetition_of_records_change_nothing(data):
    world = World(rows=10).shrink("embed", {"category": "shoes"}, 0.2).lose(World().leaves()[5])
    view = world.view(digests=False)
    records = data.draw(st.permutations(view.records))
    again = View(
        view.topology,
        view.date,
        noon(DAY),
        [*records, *records[:7]],
        view.other_days[::-1],
        view.plans[::-1],
        view.expected,
    )
    for kind in (Reconcile, Conservation):
        before, after = judged(kind, view), judged(kind, again)
        assert {name: (one.status, one.value, one.reason) for name, one in before.items()} == {
            name: (one.status, one.value, one.reason) for name, one in after.items()
        }
    assert any(one.status is Status.FAIL for one in before.values()) or kind is Conservation
