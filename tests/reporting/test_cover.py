"""What a repair covers: the chosen leaves and all that can be reached from them, leaf by leaf."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.errors import ConfigError
from reporting.plans import Cover, Leaf, cover_of
from reporting.testing import DAY
from reporting.topology import DIMENSIONS, Dimension, Edge, TaskSpec, Topology

VALUES = {"category": ("hats", "shoes"), "subinstance": ("0001", "0002")}
GRAINS: list[tuple[Dimension, ...]] = [(), ("category",), ("subinstance",), ("category", "subinstance")]


def leaves_of(topology, task):
    """Every leaf a task has, `all` in the dimensions by which it does not split."""
    grain = topology.task(task).grain
    choices = [VALUES[dim] if dim in grain else ("all",) for dim in DIMENSIONS]
    return [Leaf(task, DAY, category, sub) for category, sub in itertools.product(*choices)]


def boxed(topology, leaves):
    """Fill up each task's leaves to the smallest box that holds them, whole in what its work does not split by."""
    found = set()
    for task in {leaf.task for leaf in leaves}:
        mine = [leaf for leaf in leaves if leaf.task == task]
        work = topology.task(task).work_grain
        sides = {dim: {getattr(leaf, dim) for leaf in mine} for dim in work}
        found |= {leaf for leaf in leaves_of(topology, task) if all(getattr(leaf, dim) in sides[dim] for dim in work)}
    return found


def touched(topology, tasks, chosen):
    """Oracle: walk from leaf to leaf until nothing is added; two touch when they agree where both ends split."""
    found = {
        leaf
        for task in tasks
        for leaf in leaves_of(topology, task)
        if all(
            values is None or dim not in topology.task(task).work_grain or getattr(leaf, dim) in values
            for dim, values in chosen.items()
        )
    }
    before = None
    while before != found:
        before = boxed(topology, found)
        found = set(before)
        for here, edge in itertools.product(before, topology.edges):
            if edge.source == here.task:
                both = set(topology.task(edge.source).grain) & set(topology.task(edge.target).grain)
                found |= {
                    leaf
                    for leaf in leaves_of(topology, edge.target)
                    if all(getattr(leaf, dim) == getattr(here, dim) for dim in both)
                }
        found = boxed(topology, found)
    return found


# Work may split by less than the records: a fan-out runs for all its categories at once.
TASKS = st.sampled_from(
    [
        TaskSpec(unit_in="a", unit_out="a", grain=grain, runs_per=runs_per)
        for grain in GRAINS
        for runs_per in (None, *GRAINS)
        if runs_per is None or set(runs_per) <= set(grain)
    ]
)


@st.composite
def repairs(draw):
    count = draw(st.integers(2, 6))
    names = [f"t{n}" for n in range(count)]
    edges = {(draw(st.integers(0, n - 1)), n) for n in range(1, count)}
    edges |= draw(st.sets(st.sampled_from(list(itertools.combinations(range(count), 2))), max_size=4))
    topology = Topology(
        tasks={name: draw(TASKS) for name in names},
        edges=tuple(Edge(source=f"t{a}", target=f"t{b}") for a, b in sorted(edges)),
    )
    tasks = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)))
    chosen = {
        dim: draw(st.none() | st.lists(st.sampled_from(VALUES[dim]), min_size=1, unique=True).map(tuple))
        for dim in DIMENSIONS
    }
    return topology, tasks, chosen


@given(repair=repairs())
def test_a_repair_covers_exactly_the_leaves_that_it_touches(repair):
    topology, tasks, chosen = repair
    cover = cover_of(topology, tasks, chosen["category"], chosen["subinstance"])
    everything = {leaf for task in topology.tasks for leaf in leaves_of(topology, task)}
    covered = {leaf for leaf in everything if any(part.covers(leaf) for part in cover)}
    must = touched(topology, tasks, chosen)
    assert covered == must
    assert [part.task for part in cover] == [t for t in topology.order if t in {leaf.task for leaf in must}]


def test_one_package_touches_one_leaf_of_each_split_task_and_all_of_a_joining_one():
    tasks = {
        "hash": TaskSpec(unit_in="a", unit_out="a", grain=("subinstance",)),
        "dedup": TaskSpec(unit_in="a", unit_out="a"),
        "embed": TaskSpec(unit_in="a", unit_out="a", grain=("category", "subinstance")),
    }
    topology = Topology(tasks=tasks, edges=(Edge(source="hash", target="dedup"), Edge(source="dedup", target="embed")))
    assert cover_of(topology, ("hash",), subinstances=("0001",)) == (
        Cover(task="hash", subinstances=("0001",)),
        Cover(task="dedup"),
        Cover(task="embed"),
    )


def test_an_unknown_task_names_the_nearest():
    topology = Topology(tasks={"hash": TaskSpec(unit_in="a", unit_out="a")})
    with pytest.raises(ConfigError, match=r"unknown task 'hsah'; did you mean hash\?"):
        cover_of(topology, ("hsah",))
