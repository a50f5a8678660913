"""Finding causes by leaves gives the groups that comparing every two breaks gives, and does not compare every two."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from checks import causes
from checks.causes import group
from checks.result import Status
from reporting.topology import Topology
from tests.checks.broken import DAY, result
from tests.checks.pairwise_causes import group_pairwise

TASKS = ("a", "b", "c", "d", "e")
KINDS = ("complete", "reconcile", "digest", "conservation", "version", "drift", "ratio", "fresh")
VALUES = {"category": ("bags", "hats", "shoes", "all"), "subinstance": ("0001", "0002", "0003", "all"), "shop": ("x",)}


@st.composite
def graphs(draw):
    """Up to five tasks, edges forward between any of them, one law or another; a task without an edge is left away."""
    edges = [
        {"from": before, "to": after} | draw(st.sampled_from([{}, {"ratio": [0, 9]}]))
        for place, after in enumerate(TASKS)
        for before in TASKS[:place]
        if draw(st.booleans())
    ]
    spec = {"unit_in": "item", "unit_out": "item", "grain": ["category", "subinstance"]}
    named = sorted({edge[end] for edge in edges for end in ("from", "to")}) or ["a"]
    return Topology.model_validate({"tasks": dict.fromkeys(named, spec), "edges": edges})


WHERES = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.sampled_from(values), max_size=3, unique=True) for name, values in VALUES.items()}
)
BREAKS = st.builds(
    result,
    st.sampled_from((*TASKS, "gone")),
    st.sampled_from([Status.FAIL, Status.FAIL, Status.WARN, Status.PASS]),
    kind=st.sampled_from(KINDS),
    check=st.sampled_from([None, "other"]),
    source=st.sampled_from([None, *TASKS]),
    group=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}),
    causes=st.lists(WHERES, max_size=2),
    value=st.sampled_from([0.0, 50.0, 99.0, None]),
    expected=st.sampled_from([0.0, 100.0, 100.0, None]),
    date=st.sampled_from([DAY, DAY, DAY.replace(day=6)]),
)


@settings(max_examples=120, deadline=None)
@given(graphs(), st.lists(BREAKS, max_size=14, unique_by=lambda one: one.fingerprint()))
def test_the_groups_are_those_of_comparing_every_two_breaks(topology, breaks):
    assert group(breaks, topology) == group_pairwise(breaks, topology)


def test_breaks_of_different_leaves_are_never_compared(monkeypatch):
    compared = []

    def is_of_size(one, other):
        compared.append((one.result, other.result))
        return True

    monkeypatch.setattr(causes, "_is_of_size", is_of_size)
    spec = {"unit_in": "item", "unit_out": "item", "grain": ["category", "subinstance"]}
    edges = [{"from": "a", "to": "b"}]
    topology = Topology.model_validate({"tasks": {"a": spec, "b": spec}, "edges": edges})
    breaks = [
        result(task, group={"category": f"c{c}", "subinstance": f"{s:04}"})
        for task in ("a", "b")
        for c in range(10)
        for s in range(10)
    ]
    assert len(group(breaks, topology)) == len(compared) == 100
