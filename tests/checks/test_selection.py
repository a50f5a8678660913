"""Names in the file become tasks, edges and groups of the topology, or an error with the nearest."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from checks.selection import (
    Except,
    GroupBy,
    Tasks,
    edge_name,
    edges_of,
    grain_within,
    instance_name,
    path_between,
    require_grain,
    task_after,
    tasks_of,
)
from reporting.errors import ConfigError
from reporting.topology import DIMENSIONS, Law
from tests.checks.world import ORDER, TOPOLOGY
from tests.reporting.ledgers import graph

CATEGORY = DIMENSIONS[:1]


class Chosen(BaseModel):
    """A model with the fields as checks have them."""

    model_config = ConfigDict(extra="forbid")

    tasks: Tasks = "*"
    except_: Except = ()
    group_by: GroupBy = ()


def test_a_star_means_all_less_what_is_left_out():
    assert tasks_of(TOPOLOGY, "*", (), "here") == ORDER
    assert tasks_of(TOPOLOGY, "*", ("release", "collect"), "here") == ORDER[1:-1]


def test_tasks_come_in_the_order_of_the_graph_and_once():
    assert tasks_of(TOPOLOGY, ("merge", "crop", "merge"), (), "here") == ("crop", "merge")


@pytest.mark.parametrize(
    ("selected", "except_", "message"),
    [
        (("downlaod",), (), "check x: tasks: unknown task 'downlaod'; did you mean download?"),
        ("*", ("downlaod",), "check x: tasks: unknown task 'downlaod'; did you mean download?"),
        (("crop",), ("crop",), "check x: tasks: nothing is left to check"),
    ],
)
def test_a_task_that_is_not_there_is_refused_with_the_nearest(selected, except_, message):
    with pytest.raises(ConfigError) as caught:
        tasks_of(TOPOLOGY, selected, except_, "check x: tasks")
    assert str(caught.value).startswith(message)


def test_edges_are_named_with_or_without_blanks():
    for name in ("detect -> crop", "detect->crop", " detect  ->crop"):
        assert [edge_name(edge) for edge in edges_of(TOPOLOGY, (name,), (), "here")] == ["detect->crop"]


def test_all_edges_are_all_laws_less_named_edges_and_those_of_named_tasks():
    assert edges_of(TOPOLOGY, "*", (), "here") == TOPOLOGY.edges
    left = edges_of(TOPOLOGY, "*", ("merge", "quality->crop"), "here")
    assert {edge_name(edge) for edge in TOPOLOGY.edges} - {edge_name(edge) for edge in left} == {
        "index->merge",
        "merge->release",
        "quality->crop",
    }


@pytest.mark.parametrize("name", ["detect->corp", "detect", "crop -> detect", "", "->"])
def test_an_edge_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match="unknown edge"):
        edges_of(TOPOLOGY, (name,), (), "here")


def test_the_nearest_edge_is_named():
    with pytest.raises(ConfigError, match="did you mean detect->crop"):
        edges_of(TOPOLOGY, ("detect -> corp",), (), "here")


@pytest.mark.parametrize("value", ["crop", [], ["*"], ["crop", 1], None, 5, {"crop": 1}])
def test_what_selects_nothing_or_is_no_list_is_refused_in_one_sentence(value):
    with pytest.raises(ValidationError) as caught:
        Chosen(tasks=value)
    assert caught.value.error_count() == 1
    assert caught.value.errors()[0]["loc"] == ("tasks",)


def test_fields_are_read_as_the_file_writes_them():
    read = Chosen.model_validate({"tasks": ["crop"], "except": ["merge"], "group_by": ["subinstance", "category"]})
    assert (read.tasks, read.except_, read.group_by) == (("crop",), ("merge",), ("category", "subinstance"))
    assert Chosen.model_validate({"tasks": "*"}).tasks == "*"


def test_the_schema_for_editors_allows_a_star_or_names():
    options = Chosen.model_json_schema()["properties"]["tasks"]["anyOf"]
    assert {option.get("const") for option in options} == {"*", None}
    assert {option["type"] for option in options} == {"string", "array"}


def test_grain_is_what_all_tasks_split_by():
    assert grain_within(TOPOLOGY, ("categorise", "index"), DIMENSIONS) == ("category",)
    assert grain_within(TOPOLOGY, ("collect",), CATEGORY) == ()
    require_grain(TOPOLOGY, ("collect", "index"), CATEGORY, "here")
    with pytest.raises(ConfigError, match="none of collect, index splits its records by subinstance"):
        require_grain(TOPOLOGY, ("collect", "index"), DIMENSIONS[1:], "here")


def test_an_instance_is_named_by_its_group():
    assert instance_name("a->b") == "a->b"
    assert instance_name("a", ("category", "subinstance"), ("hats", "1")) == "a category=hats subinstance=1"


def test_a_window_and_an_order_carry_nothing_of_the_day():
    assert path_between(TOPOLOGY, "collect", "index") == ORDER[: ORDER.index("index") + 1]
    assert path_between(TOPOLOGY, "collect", "merge") == ()
    assert path_between(TOPOLOGY, "collect", "merge", tuple(Law)) == ORDER[: ORDER.index("merge") + 1]
    assert task_after(TOPOLOGY, "collect", "release")
    assert not task_after(TOPOLOGY, "release", "collect")
    assert not task_after(TOPOLOGY, "crop", "crop")


@st.composite
def graphs(draw):
    count = draw(st.integers(2, 6))
    pairs = draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] < p[1])))
    pairs |= {(n, n + 1) for n in range(count - 1) if draw(st.booleans())}
    lonely = set(range(count)) - {end for pair in pairs for end in pair}
    pairs |= {(min(n, (n + 1) % count), max(n, (n + 1) % count)) for n in lonely}
    edges = [
        {"from": f"t{a}", "to": f"t{b}", "law": draw(st.sampled_from(["equal", "after"]))} for a, b in sorted(pairs)
    ]
    return graph(edges, **{f"t{n}": () for n in range(count)})


def ways(topology, source, target, laws):
    """Return all ways as lists of tasks, by walking each of them."""
    if source == target:
        return [[source]]
    steps = [edge.target for edge in topology.edges if edge.source == source and edge.law in laws]
    return [[source, *way] for step in set(steps) for way in ways(topology, step, target, laws)]


@given(topology=graphs(), data=st.data())
def test_a_path_holds_the_tasks_of_all_ways_and_no_others(topology, data):
    source, target = (data.draw(st.sampled_from(sorted(topology.tasks))) for _ in range(2))
    for laws in ((Law.EQUAL,), tuple(Law)):
        walked = ways(topology, source, target, laws)
        found = path_between(topology, source, target, laws)
        assert set(found) == {task for way in walked for task in way}
        assert all(topology.order.index(a) < topology.order.index(b) for a, b in pairwise(found))
    assert task_after(topology, source, target) == (
        source != target and bool(ways(topology, source, target, tuple(Law)))
    )
