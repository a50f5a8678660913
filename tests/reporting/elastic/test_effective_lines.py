"""The lookup index says of every leaf which plan counts, as `plans.effective_plan` does, however it is told."""

from __future__ import annotations

import random
from datetime import date as Date
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.effective import leaf_of
from reporting.elastic import effective as module
from reporting.elastic.documents import Document
from reporting.elastic.effective import EffectiveKeeper
from reporting.elastic.names import Kind, effective_id, index_of
from reporting.key import RunKey
from reporting.outbox import Entry, Fate, Outcome, Topic
from reporting.outbox_sql import SqlOutbox
from reporting.plans import Cover, Leaf, Plan, PlanKind, PlanState, effective_plan
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.reporting.elastic.delivery import KnownPlans, expected_entry, fates, leaf, plan_entry, record_entry
from tests.servers import faults
from tests.servers.rest import call

_examples = count()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('effective') / 'store.db'}") as opened:
        assert isinstance(opened, SqlStore)
        yield opened


class Table:
    """The lookup index as Elasticsearch keeps it: the greater version stays, an equal one overwrites."""

    def __init__(self) -> None:
        self.rows: dict[str, Document] = {}

    def put(self, line: Document) -> None:
        held = self.rows.get(line.id)
        assert line.version is not None
        if held is None or (held.version or 0) <= line.version:
            self.rows[line.id] = line

    def of(self, one: Leaf) -> tuple[str, bool]:
        source = self.rows[effective_id(one)].source
        return source["effective_planid"], source["provisional"]


class Change(NamedTuple):
    """One thing that happens: a plan is put, or a record of a leaf."""

    planid: str
    plan: dict[str, Any] | None
    leaf: int


DAYS_OF = {"p": slice(0, 1), "q": slice(1, 2), "r": slice(0, 2)}
"""Of two days; a plan that changes its days is the sink's to notice."""

plans = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([PlanKind.DAILY, PlanKind.RERUN, PlanKind.SHADOW]),
        "created_at": st.integers(0, 3).map(lambda hours: MOMENT + timedelta(hours=hours)),
        "completed_at": st.none() | st.integers(0, 3).map(lambda hours: MOMENT + timedelta(hours=hours)),
        "promoted_at": st.none() | st.integers(0, 3).map(lambda hours: MOMENT + timedelta(hours=hours)),
        "abandoned": st.booleans(),
        "categories": st.none() | st.sampled_from([("a",), ("b",), ("a", "b")]),
    }
)
changes = st.lists(
    st.builds(Change, st.sampled_from(["p", "q", "r"]), st.none() | plans, st.integers(0, 3)), min_size=1, max_size=8
)


def apply(store: SqlStore, change: Change, name: str, days: list[Date]) -> None:
    planid = f"{name}-{change.planid}"
    with store.begin() as work:
        if change.plan is None:
            work.put_record(make_record(**leaf_number(change.leaf, days), planid=planid, emit=next(_examples)))
            return
        given_plan = dict(change.plan)
        kind, abandoned = given_plan.pop("kind"), given_plan.pop("abandoned")
        dates = days[DAYS_OF[change.planid]]
        categories = given_plan.pop("categories")
        cover = None if categories is None else (Cover(task="quality", categories=categories),)
        plan = make_plan(planid, kind, dates=dates, cover=cover, **given_plan)
        work.put_plan(plan.model_copy(update={"state": PlanState.ABANDONED}) if abandoned else plan)


def leaf_number(number: int, days: list[Date]) -> dict[str, Any]:
    return {"task": "quality", "date": days[number % 2], "category": "ab"[number // 2]}


@pytest.mark.slow
@given(changes, st.integers(0, 2**32))
@settings(max_examples=60)
def test_lines_say_what_the_plans_say_after_any_changes_delivered_in_any_order_by_two_sinks(store, changes, seed):
    rng, number = random.Random(seed), next(_examples)
    days = [DAY + timedelta(days=2 * number), DAY + timedelta(days=2 * number + 1)]
    outbox, table = SqlOutbox(store), Table()
    outbox.settle([outcome(entry) for entry in outbox.peek(1000, 2**30)])  # of an example that failed
    keepers = [EffectiveKeeper(store, "x"), EffectiveKeeper(store, "x")]
    on_the_way: list[Document] = []

    def deliver(keep: bool) -> None:
        """Have one of the sinks deliver all or some of what waits; its lines arrive later."""
        entries = outbox.peek(1000, 2**30)
        entries = entries[: rng.randint(0, len(entries))] if keep else entries
        keeper = rng.choice(keepers)
        for entry in entries:
            if entry.topic == Topic.PLAN:
                for day in Plan.model_validate_json(entry.body).dates:
                    on_the_way.extend(keeper.day_lines(day))
            else:
                on_the_way.extend(keeper.lines([leaf_of(record_of_entry(entry.body))]))
        if not keep or rng.random() < 0.7:  # else it dies before settling, and another one repeats
            outbox.settle([outcome(entry) for entry in entries])

    for change in changes:
        apply(store, change, f"n{number}", days)
        deliver(keep=True)
        rng.shuffle(on_the_way)
        while on_the_way and rng.random() < 0.5:
            table.put(on_the_way.pop())
    deliver(keep=False)
    rng.shuffle(on_the_way)  # those of the sink that read the plans first may well come last
    for line in on_the_way:
        table.put(line)
    for change in changes:
        if change.plan is None:
            one = Leaf(**leaf_number(change.leaf, days))
            found = effective_plan(store.plans(one.date, one.date), one)
            assert table.of(one) == (("", False) if found is None else tuple(found))


def record_of_entry(body: str) -> RunKey:
    return type(make_record()).model_validate_json(body).key


def outcome(entry: Entry) -> Outcome:
    return Outcome(entry, Fate.DELIVERED)


@pytest.mark.slow
def test_a_line_is_written_once_for_each_state_of_the_plans():
    registry = KnownPlans([make_plan()], [Leaf("quality", DAY, "a"), Leaf("quality", DAY, "b")])
    keeper = EffectiveKeeper(registry, "x")
    first = Leaf("quality", DAY, "a")
    assert len(keeper.lines([first, first])) == 1
    assert keeper.lines([first]) == []
    assert [line.id for line in keeper.day_lines(DAY)] == [effective_id(registry.leaves_[1])]
    registry.revision_ = 2
    assert [line.version for line in keeper.day_lines(DAY)] == [2, 2]
    assert keeper.lines([first]) == []
    keeper.forget(first)
    assert len(keeper.lines(registry.leaves_)) == 1
    keeper.forget_all()
    assert len(keeper.lines(registry.leaves_)) == 2


@pytest.mark.slow
def test_what_is_remembered_stays_bounded(monkeypatch):
    monkeypatch.setattr(module, "_LEAVES_KEPT", 100)
    monkeypatch.setattr(module, "_DAYS_KEPT", 5)
    days = [DAY + timedelta(days=n) for n in range(20)]
    leaves = [Leaf("quality", day, "a", f"{n}") for n in range(30) for day in days]
    random.Random(1).shuffle(leaves)
    registry = KnownPlans([make_plan(dates=days)], leaves)
    keeper = EffectiveKeeper(registry, "x")
    seen = {line.id for one in leaves for line in keeper.lines([one])}
    seen_by_day = {line.id for day in days for line in keeper.day_lines(day)}
    assert len(seen) == len(leaves)
    assert seen_by_day <= seen
    assert len(keeper._days) <= 5
    assert sum(len(day.written) for day in keeper._days.values()) <= 100


@pytest.mark.slow
def test_a_registry_that_fails_in_the_middle_leaves_no_line_for_written_that_was_not():
    class Fails(KnownPlans):
        def revision(self, day):
            if day != DAY:
                raise OSError
            return 1

    keeper = EffectiveKeeper(Fails(), "x")
    mine = Leaf("quality", DAY)
    with pytest.raises(OSError):
        keeper.lines([mine, Leaf("quality", DAY + timedelta(days=1))])
    keeper.forget_all()
    assert len(keeper.lines([mine])) == 1


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_the_lookup_index_takes_external_versions(cluster, client, category):
    record = make_record(category=category)
    registry = KnownPlans(revision_=17)
    assert fates(cluster.sink(client, registry).deliver([record_entry(record)])) == [Fate.DELIVERED]
    index = index_of(cluster.prefix, Kind.EFFECTIVE)
    settings = cluster.change("GET", f"/{index}/_settings")[index]["settings"]["index"]
    assert settings["mode"] == "lookup"
    assert call(cluster.url, "GET", f"/{index}/_doc/{effective_id(leaf(record))}")[1]["_version"] == 17


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_a_sink_that_knows_older_plans_changes_no_line(cluster, client, category):
    record = make_record(category=category)
    promoted = make_plan("rerun", PlanKind.RERUN, completed_at=MOMENT, promoted_at=MOMENT)
    old, new = KnownPlans(revision_=3), KnownPlans([make_plan(), promoted], revision_=5)
    stale, fresh = cluster.sink(client, old), cluster.sink(client, new)
    entries = [record_entry(record), expected_entry("daily", [leaf(record)])]
    for sink in (fresh, stale, fresh, stale):
        assert fates(sink.deliver(entries)) == [Fate.DELIVERED] * 2
        assert cluster.line(leaf(record))["effective_planid"] == "rerun"
    old.revision_ = 4
    stale.deliver(entries)
    assert cluster.line(leaf(record))["effective_planid"] == "rerun"


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_a_plan_that_is_abandoned_counts_for_nothing_and_one_that_completes_is_no_longer_provisional(
    cluster, client, category, own_day
):
    record = make_record(category=category, date=own_day)
    plan = make_plan(dates=(own_day,))
    registry = KnownPlans([plan], [leaf(record)])
    sink = cluster.sink(client, registry)
    sink.deliver([record_entry(record)])
    seen = [cluster.line(leaf(record))]
    for revision, changed in (
        (2, plan.model_copy(update={"completed_at": MOMENT, "state": PlanState.COMPLETE})),
        (3, plan.model_copy(update={"state": PlanState.ABANDONED})),
    ):
        registry.plans_, registry.revision_ = [changed], revision
        assert fates(sink.deliver([plan_entry(changed, revision)])) == [Fate.DELIVERED]
        seen.append(cluster.line(leaf(record)))
    assert [(one["effective_planid"], one["provisional"]) for one in seen if one] == [
        ("daily", True),
        ("daily", False),
        ("", False),
    ]


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("fails", [False, True])
def test_a_plan_that_gives_up_a_day_counts_there_no_longer(cluster, far_client, proxy, store, category, own_day, fails):
    days = (own_day, own_day + timedelta(days=1))
    outbox, planid = SqlOutbox(store), f"daily-{category}"
    outbox.settle([outcome(entry) for entry in outbox.peek(1000, 2**30)])
    records = [make_record(category=category, date=day, planid=planid) for day in days]
    with store.begin() as work:
        work.put_plan(make_plan(planid, dates=days))
        for record in records:
            work.put_record(record)
    sink = cluster.sink(far_client, store)
    entries = outbox.peek(10, 2**20)
    assert fates(sink.deliver(entries)) == [Fate.DELIVERED] * 3
    outbox.settle([outcome(entry) for entry in entries])
    with store.begin() as work:
        work.put_plan(make_plan(planid, dates=days[:1]))
    (entry,) = outbox.peek(10, 2**20)
    if fails:
        refuse = faults.answer(503)
        proxy.schedule(lambda number, path: faults.PASS if number == 1 else refuse)  # the plan, not its lines
        assert fates(sink.deliver([entry])) == [Fate.RETRY]
        proxy.pass_through()
    assert fates(sink.deliver([entry])) == [Fate.DELIVERED]
    assert [cluster.line(leaf(record))["effective_planid"] for record in records] == [planid, ""]
