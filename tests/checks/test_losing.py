"""Items are missing where they were lost and nowhere else: all that comes after books less, and closes."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.losing import lose, matches, split
from reporting.digest import EMPTY_DIGEST, Digest
from reporting.record import Consumed, TaskRecord
from reporting.testing import DAY, make_record
from reporting.topology import Law, Topology
from tests.checks.world import CATEGORIES, SUBINSTANCES, TOPOLOGY, World
from tests.reporting.ledgers import with_tail

TASKS = ("download", "quality", "detect", "crop", "categorise", "embed", "index")
WORLD = World().day(DAY, digests=False).records


def replaced(records: list[TaskRecord], changed: list[TaskRecord]) -> list[TaskRecord]:
    new = {record.key: record for record in changed}
    return [new.get(record.key, record) for record in records]


def residuals(topology: Topology, records: list[TaskRecord]) -> Counter[str]:
    """Return by edge of law equal what was handed on and not taken in, in absolute values over the groups."""
    found: Counter[str] = Counter()
    for edge in topology.edges:
        if edge.law is not Law.EQUAL:
            continue
        grain = topology.common_grain(edge)
        left: Counter[tuple[str, ...]] = Counter()
        for record in records:
            group = tuple(getattr(record.key, dim) for dim in grain)
            left[group] += record.produced * (record.key.task == edge.source)
            left[group] -= record.input * (record.key.task == edge.target)
        found[f"{edge.source}->{edge.target}"] = sum(map(abs, left.values()))
    return +found


places = st.fixed_dictionaries(
    {}, optional={"category": st.sampled_from(CATEGORIES), "subinstance": st.sampled_from(SUBINSTANCES)}
)


@settings(max_examples=25)
@given(st.sampled_from(TASKS), places, st.sampled_from([0.0, 0.01, 0.03, 0.5, 0.999, 1.0]))
def test_only_the_edge_into_the_fault_is_broken_and_by_exactly_what_was_lost(task, place, share):
    where = {dim: value for dim, value in place.items() if dim in TOPOLOGY.task(task).grain}
    after = replaced(WORLD, lose(WORLD, TOPOLOGY, task, where, share))
    mine = [r for r in WORLD if r.key.task == task and matches(r.key, where)]
    units: Counter[tuple[str, ...]] = Counter()
    for record in mine:
        units[tuple(getattr(record.key, dim) for dim in TOPOLOGY.task(task).work_grain)] += record.input
    lost = sum(math.ceil(round(share * items, 6)) for items in units.values())
    source = TASKS[TASKS.index(task) - 1] if task != "download" else "collect"
    assert residuals(TOPOLOGY, after) == (Counter({f"{source}->{task}": lost}) if lost else Counter())
    for record in after:
        TaskRecord.model_validate(record.model_dump())  # conservation, digests, versions
    merged = {r.key.category: r for r in after if r.key.task == "merge"}
    for record in after:
        if record.key.task == "index":
            (read,) = [one.count for one in merged[record.key.category].consumed if one.date == DAY]
            assert read == record.produced
    for record in merged.values():
        assert record.input == sum(one.count for one in record.consumed)


@settings(max_examples=20)
@given(st.sampled_from(TASKS), places)
def test_what_comes_before_the_fault_and_other_leaves_stay_as_they_are(task, place):
    where = {dim: value for dim, value in place.items() if dim in TOPOLOGY.task(task).grain}
    changed = lose(WORLD, TOPOLOGY, task, where)
    after = TOPOLOGY.closure((task,))
    assert {record.key.task for record in changed} <= set(after)
    for record in changed:
        grain = TOPOLOGY.task(record.key.task).grain
        assert matches(record.key, {dim: value for dim, value in where.items() if dim in grain})


def test_a_package_that_is_lost_whole_books_zeros_from_there_on():
    changed = {r.key: r for r in lose(WORLD, TOPOLOGY, "crop", {"subinstance": "0002"})}
    leaves = [r for r in changed.values() if r.key.subinstance == "0002"]
    assert {r.key.task for r in leaves} == {"crop", "categorise", "embed"}
    assert {(r.input, r.output, r.produced, r.dropped_total, *r.metrics) for r in leaves} == {(0, 0, 0, 0)}
    index = next(r for r in changed.values() if r.key.task == "index" and r.key.category == "bags")
    before = next(r for r in WORLD if r.key == index.key)
    embedded = next(
        r for r in WORLD if r.key.task == "embed" and r.key.category == "bags" and r.key.subinstance == "0002"
    )
    assert before.input - index.input == embedded.produced > 0


JOINED = Topology.model_validate(
    {
        "tasks": {
            "cut": {"unit_in": "row", "unit_out": "row"},
            "hash": {"unit_in": "row", "unit_out": "row", "grain": ["subinstance"]},
            "dedup": {"unit_in": "row", "unit_out": "row", "drop_reasons": ["exact", "near"]},
            "list": {"unit_in": "row", "unit_out": "row", "grain": ["subinstance"], "drop_reasons": ["off"]},
        },
        "edges": [{"from": "cut", "to": "hash"}, {"from": "hash", "to": "dedup"}, {"from": "dedup", "to": "list"}],
    }
)


def joined(**changes: Any) -> list[TaskRecord]:
    return [
        make_record("cut", input=100),
        make_record("hash", subinstance="1", input=60),
        make_record("hash", subinstance="2", input=40),
        make_record("dedup", input=100, dropped={"exact": 20, "near": 10}, **changes),
        make_record("list", subinstance="1", input=45, dropped={"off": 5}),
        make_record("list", subinstance="2", input=25, dropped={"off": 5}),
    ]


def test_behind_a_join_the_loss_comes_out_at_the_package_it_went_in_at():
    """By hand: of 40 rows that went in 25 had come out, so the join hands on 25 less, and 15 of its 30 drops go."""
    hashed, deduped, listed = lose(joined(), JOINED, "hash", {"subinstance": "2"})
    assert (hashed.key.subinstance, hashed.input) == ("2", 0)
    assert (deduped.input, deduped.output, deduped.dropped) == (60, 45, {"exact": 10, "near": 5})
    assert (listed.key.subinstance, listed.input, listed.dropped) == ("2", 0, {"off": 0})


def test_of_a_part_that_is_lost_the_join_drops_its_share():
    """By hand: ceil(0.1 * 40) = 4 rows go in less, ceil(0.1 * 25) = 3 come out less, so one drop goes."""
    hashed, deduped, listed = lose(joined(), JOINED, "hash", {"subinstance": "2"}, 0.1)
    assert (hashed.input, deduped.input, deduped.output, listed.input) == (36, 96, 67, 22)
    assert deduped.dropped == {"exact": 19, "near": 10}


def test_a_window_of_another_day_has_read_less_of_the_day_and_as_much_of_the_others():
    tomorrow = DAY + timedelta(days=1)
    read = [Consumed(task="index", date=day, planid="daily", count=30) for day in (DAY, tomorrow)]
    topology = Topology.model_validate(
        {
            "tasks": {name: {"unit_in": "v", "unit_out": "v", "grain": ["category"]} for name in ("index", "merge")},
            "edges": [{"from": "index", "to": "merge", "law": "window"}],
        }
    )
    later = make_record("merge", category="hats", date=tomorrow, input=60, consumed=read)
    other = make_record("merge", category="bags", date=tomorrow, input=60, consumed=read)
    records = [make_record("index", category="hats", input=30), later, other]
    index, merge = lose(records, topology, "index", {"category": "hats"}, 0.1)
    assert (index.produced, merge.key, merge.input) == (27, later.key, 57)
    assert [one.count for one in merge.consumed] == [27, 30]


def test_what_a_tail_lacks_it_lacks_on_every_later_day_and_so_does_the_merge_that_reads_it():
    """Of two windows that lead to the merge each gives less by its own loss, and the sum goes in less."""
    days = [DAY + timedelta(days=n) for n in range(3)]

    def booked(task: str, day: Any, *read: tuple[str, Any, int]) -> TaskRecord:
        consumed = [Consumed(task=source, date=of, planid="daily", count=count) for source, of, count in read]
        return make_record(task, category="hats", date=day, input=sum(one.count for one in consumed), consumed=consumed)

    shard = make_record("index", category="hats", date=days[0], input=30)
    first = booked("tail", days[1], ("index", days[0], 30))
    second = booked("tail", days[2], ("tail", days[1], 30), ("index", days[1], 8))
    merge = booked("merge", days[2], ("tail", days[2], 38), ("index", days[0], 30), ("index", days[2], 5))
    changed = lose([shard, second, first, merge], with_tail(), "index", {"category": "hats"}, 0.1)
    found = {(one.key.task, one.key.date): (one.input, [read.count for read in one.consumed]) for one in changed}
    assert found == {
        ("index", days[0]): (27, []),
        ("tail", days[1]): (27, [27]),
        ("tail", days[2]): (35, [27, 8]),
        ("merge", days[2]): (67, [35, 27, 5]),
    }


def test_a_unit_that_changes_is_lost_in_proportion():
    topology = Topology.model_validate(
        {
            "tasks": {
                "detect": {"unit_in": "picture", "unit_out": "object"},
                "crop": {"unit_in": "object", "unit_out": "object"},
                "count": {"unit_in": "object", "unit_out": "object"},
            },
            "edges": [{"from": "detect", "to": "crop", "ratio": [0, 5]}, {"from": "crop", "to": "count"}],
        }
    )
    records = [
        make_record("detect", input=100, produced=300),
        make_record("crop", input=200),
        make_record("count", input=200),
    ]
    detect, crop, count = lose(records, topology, "detect", {}, 0.1)
    assert (detect.input, detect.produced, crop.input, count.input) == (90, 270, 180, 180)


def test_digests_of_what_is_left_are_not_invented():
    ids = Digest.of(["a", "b"])
    record = make_record("cut", input=2, digest_in=str(ids), digest_out=str(ids))
    (half,) = lose([record], JOINED, "cut", {}, 0.5)
    assert (half.digest_in, half.digest_out) == (None, None)
    (none,) = lose([record], JOINED, "cut", {})
    assert (none.digest_in, none.digest_out) == (str(EMPTY_DIGEST), str(EMPTY_DIGEST))
    (unknown,) = lose([make_record("cut", input=2)], JOINED, "cut", {})
    assert (unknown.digest_in, unknown.digest_out) == (None, None)


def test_a_reading_is_booked_less_with_what_was_not_taken_in():
    read = (Consumed(task="cut", date=DAY, planid="daily", count=60),)
    record = make_record("hash", subinstance="1", input=60, consumed=read)
    (changed,) = lose([record], JOINED, "hash", {"subinstance": "1"}, 0.5)
    assert [one.count for one in changed.consumed] == [30]


@pytest.mark.parametrize("task", ["hash", "dedup"])
def test_nothing_can_be_lost_of_nothing(task):
    empty = [make_record("hash", subinstance="1", input=0), make_record("dedup", input=0)]
    assert lose(empty, JOINED, task, {}) == []


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1000), max_size=8), st.data())
def test_an_amount_is_divided_whole_and_no_part_is_more_than_its_weight(weights, data):
    amount = data.draw(st.integers(0, sum(weights)))
    parts = split(amount, weights)
    assert len(parts) == len(weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert 0 <= part <= weight
        assert abs(part - amount * weight / (sum(weights) or 1)) < 1
