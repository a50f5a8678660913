"""The task graph: faults name file, line and the nearest valid name; order and closure follow the edges."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reporting.errors import ConfigError
from reporting.topology import Edge, Law, TaskSpec, Topology

GOOD = """\
version: 1
tasks:
  collect:
    unit_in: row
    unit_out: row
  download:
    unit_in: row
    unit_out: picture
    grain: [subinstance]
    drop_reasons: [timeout]
  embed:
    unit_in: picture
    unit_out: vector
    grain: [category, subinstance]
edges:
  - {from: collect, to: download}
  - {from: download, to: embed}
"""


def load(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    return Topology.load(path)


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_good_file_loads(tmp_path):
    topology = load(tmp_path, GOOD)
    assert topology.order == ("collect", "download", "embed")
    assert topology.task("download").drop_reasons == ("timeout",)
    assert topology.edges[0] == Edge(source="collect", target="download", law=Law.EQUAL)


FAULTS = {
    "unknown task at the end of an edge": (
        changed("to: embed", "to: embedd"),
        [17, "unknown task 'embedd'", "did you mean embed?"],
    ),
    "unknown task at the start of an edge": (
        changed("from: download", "from: downlaod"),
        [17, "unknown task 'downlaod'", "did you mean download?"],
    ),
    "cycle": (GOOD + "  - {from: embed, to: download}\n", [15, "cycle", "download", "embed", "remove one edge"]),
    "edge to itself": (GOOD + "  - {from: embed, to: embed}\n", [15, "cycle", "embed"]),
    "unknown key of a task": (
        changed("drop_reasons", "drop_reason"),
        [10, "unknown key 'tasks.download.drop_reason'", "did you mean drop_reasons?"],
    ),
    "unknown key of the file": (changed("edges:", "edgs:"), [15, "unknown key 'edgs'", "did you mean edges?"]),
    "unknown key of an edge": (
        changed("to: embed}", "to: embed, lwa: after}"),
        [17, "unknown key 'edges.1.lwa'", "did you mean law?"],
    ),
    "duplicate key": (
        changed("    grain: [subinstance]\n", "    grain: [subinstance]\n    grain: []\n"),
        [10, "key 'grain' is already set in line 9"],
    ),
    "duplicate task": (GOOD + "tasks: {}\n", [18, "key 'tasks' is already set in line 2"]),
    "lonely task": (
        changed("edges:\n", "  lonely:\n    unit_in: a\n    unit_out: a\nedges:\n"),
        [15, "no edge leads to or from it"],
    ),
    "unknown dimension": (changed("[category, subinstance]", "[colour]"), [14, "tasks.embed.grain.0", "'category'"]),
    "unknown law": (changed("to: embed}", "to: embed, law: equals}"), [17, "edges.1.law", "'equal'"]),
    "missing unit": (changed("    unit_out: vector\n", ""), [11, "tasks.embed.unit_out", "required"]),
    "bad deadline": (
        changed("    unit_out: vector\n", "    unit_out: vector\n    deadline: '25:00'\n"),
        [14, "tasks.embed.deadline"],
    ),
    "ratio without bounds": (changed("to: embed}", "to: embed, law: ratio}"), [17, "needs `ratio: [low, high]`"]),
    "bounds without the law": (
        changed("to: embed}", "to: embed, law: equal, ratio: [0, 1]}"),
        [17, "needs `ratio: [low, high]`"],
    ),
    "ratio upside down": (changed("to: embed}", "to: embed, ratio: [2, 1]}"), [17, "0 <= low <= high"]),
    "unsafe task name": (changed("  embed:\n", "  a/b:\n"), [11, "a/b"]),
    "not YAML": (changed("version: 1", "version: ["), [3, "not valid YAML"]),
    "other version": (changed("version: 1", "version: 2"), [1, "version"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_file_line_and_remedy(name, tmp_path):
    text, (line, *parts) = FAULTS[name]
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    message = str(raised.value)
    assert f"{tmp_path / 'pipeline.yaml'}:{line}: " in message
    for part in parts:
        assert str(part) in message


def test_several_faults_are_told_at_once(tmp_path):
    text = changed("unit_in: picture", "unit_inn: picture").replace("version: 1", "version: 3")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert len(str(raised.value).splitlines()) == 3  # version, unknown key, missing key


def test_a_cycle_names_only_the_tasks_on_it():
    tasks = {name: TaskSpec(unit_in="a", unit_out="a") for name in ("one", "two", "three", "behind")}
    edges = [("one", "two"), ("two", "three"), ("three", "two"), ("three", "behind")]
    with pytest.raises(
        ConfigError, match=r"^edges: the tasks (two -> three -> two|three -> two -> three) form a cycle"
    ):
        Topology(tasks=tasks, edges=tuple(Edge(source=a, target=b) for a, b in edges))


def test_an_empty_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:1: tasks: Field required"):
        load(tmp_path, "")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file; create it with `funnelgate init`"):
        Topology.load(tmp_path / "nowhere.yaml")


def test_a_list_instead_of_a_map_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:1: .*dictionary"):
        load(tmp_path, "- a\n- b\n")


def test_an_unknown_task_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown task 'embd'; did you mean embed\?"):
        load(tmp_path, GOOD).task("embd")


def test_a_ratio_alone_is_the_ratio_law():
    edge = Edge.model_validate({"from": "a", "to": "b", "ratio": [0.5, 2]})
    assert (edge.law, edge.ratio) == (Law.RATIO, (0.5, 2.0))


@pytest.mark.parametrize(
    ("source", "target", "common"),
    [
        ((), ("subinstance",), ()),
        (("subinstance",), ("category", "subinstance"), ("subinstance",)),
        (("subinstance", "category"), ("category", "subinstance"), ("category", "subinstance")),
        (("category",), ("subinstance",), ()),
    ],
)
def test_the_common_grain_is_what_both_ends_split_by(source, target, common):
    tasks = {
        "a": TaskSpec(unit_in="x", unit_out="x", grain=source),
        "b": TaskSpec(unit_in="x", unit_out="x", grain=target),
    }
    topology = Topology(tasks=tasks, edges=(Edge(source="a", target="b"),))
    assert topology.common_grain(topology.edges[0]) == common


def test_work_splits_like_the_records_unless_told_otherwise():
    assert TaskSpec(unit_in="x", unit_out="x", grain=("category",)).work_grain == ("category",)
    assert TaskSpec(unit_in="x", unit_out="x", grain=("category",), runs_per=()).work_grain == ()


@st.composite
def graphs(draw):
    """Tasks t0..tn, and edges that only lead from a smaller to a greater number; declared in any order."""
    count = draw(st.integers(2, 7))
    pairs = draw(st.lists(st.sampled_from(list(itertools.combinations(range(count), 2))), unique=True, max_size=12))
    pairs += [(n - 1, n) for n in range(1, count) if not any(n in pair for pair in pairs)]
    pairs += [] if any(0 in pair for pair in pairs) else [(0, 1)]
    names = draw(st.permutations([f"t{n}" for n in range(count)]))
    return Topology(
        tasks={name: TaskSpec(unit_in="a", unit_out="a") for name in names},
        edges=tuple(Edge(source=f"t{a}", target=f"t{b}") for a, b in draw(st.permutations(pairs))),
    )


@given(topology=graphs())
def test_every_edge_points_forward_in_the_order(topology):
    place = {task: number for number, task in enumerate(topology.order)}
    assert sorted(place) == sorted(topology.tasks)
    assert all(place[edge.source] < place[edge.target] for edge in topology.edges)


def reachable(topology, starts):
    found, waiting = set(starts), list(starts)
    while waiting:
        here = waiting.pop()
        for edge in topology.edges:
            if edge.source == here and edge.target not in found:
                found.add(edge.target)
                waiting.append(edge.target)
    return found


@given(topology=graphs(), data=st.data())
def test_the_closure_is_all_that_can_be_reached_in_order(topology, data):
    starts = tuple(data.draw(st.sets(st.sampled_from(sorted(topology.tasks)))))
    expected = reachable(topology, starts)
    assert topology.closure(starts) == tuple(task for task in topology.order if task in expected)


def test_the_declared_order_stands_where_edges_leave_a_choice():
    tasks = {name: TaskSpec(unit_in="a", unit_out="a") for name in ("z", "m", "a", "end")}
    topology = Topology(tasks=tasks, edges=tuple(Edge(source=name, target="end") for name in ("a", "m", "z")))
    assert topology.order == ("z", "m", "a", "end")


def test_the_default_pipeline_loads_and_its_tasks_are_the_designs(repository):
    path = repository / "pipeline" / "default.yaml"
    topology = Topology.load(path)
    chain = "collect download quality hash dedup listing detect crop categorise embed train index recheck evict tail "
    chain += "merge evaluate release reclaim"
    assert topology.order == tuple(chain.split())
    besides = {"recheck", "evict"}  # they decide by picture, from dedup on
    assert topology.closure(("embed",)) == tuple(name for name in chain.split()[9:] if name not in besides)
    assert topology.task("dedup").continues == "evict"
    assert [name for name in topology.order if topology.continues_itself(name)] == ["tail"]
    assert (topology.window_sources("tail"), topology.window_sources("merge")) == (("index", "tail"), ("index", "tail"))
    assert topology.window_sources("evict") == ()
    fan_out = topology.task("categorise")
    assert (fan_out.grain, fan_out.work_grain) == (("category", "subinstance"), ("subinstance",))
    assert {edge.law for edge in topology.upstream("merge")} == {Law.WINDOW, Law.AFTER}
    assert {(edge.source, edge.ratio) for edge in topology.upstream("crop")} == {("detect", None), ("listing", (0, 50))}
    units = [(task.unit_in, task.unit_out) for task in (topology.task(name) for name in ("listing", "detect", "crop"))]
    assert units == [("picture", "picture"), ("picture", "object"), ("object", "object")]
    reasons = {
        name: set(task["drop_reasons"])
        for name, task in yaml.safe_load(path.read_text())["tasks"].items()
        if "drop_reasons" in task
    }
    assert {"dead_link", "timeout", "too_large", "not_an_image"} <= reasons["download"]
    assert {"too_small", "blurred", "low_contrast", "bad_aspect", "truncated"} <= reasons["quality"]
    assert reasons["listing"] == {"off_shelf"}


@pytest.mark.parametrize("name", ["*", "a*b", "a**", "a/*", ".*"])
def test_a_star_anywhere_but_at_the_end_of_a_metrics_name_is_refused(name):
    with pytest.raises(ValueError, match=r"metrics\.0"):
        TaskSpec(unit_in="a", unit_out="b", metrics=(name,))
