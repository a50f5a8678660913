"""A break says what has changed since the day before, where anything has; nothing else is touched by it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from checks.last_change import version_changes
from checks.result import Status
from checks.run import judge_day
from checks.sinks.message import lines
from reporting.plans import Leaf
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY
from tests.checks.rule_sets import load_text
from tests.checks.sinks.notice_factory import make_incident, make_notice
from tests.checks.world import TOPOLOGY, World, noon

BEFORE = DAY - timedelta(days=1)
RULES = load_text("version: 1\nchecks: [{id: there, kind: complete}, {id: edges, kind: reconcile}]\n")


def records(*versions: dict[str, str]) -> list[Any]:
    return [SimpleNamespace(versions=one) for one in versions]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ([{"model": "d7"}], [{"model": "d8"}], "detect model d7 -> d8"),
        ([{"model": "d7", "code": "1"}], [{"model": "d7", "code": "2"}], "detect code 1 -> 2"),
        ([{"a": "1", "b": "1"}], [{"b": "2", "a": "2"}], "detect a 1 -> 2, b 1 -> 2"),
        ([{"model": "d7"}, {"model": "d7"}], [{"model": "d7"}, {"model": "d8"}], "detect model d7 -> d7, d8"),
        ([{"model": "d7"}], [{"model": "d7"}], ""),
        ([{"model": "d7"}], [{"space": "s"}], ""),
        ([], [{"model": "d8"}], ""),
        ([{"model": "d7"}], [], ""),
        (
            [dict.fromkeys("abcde", "1")],
            [dict.fromkeys("abcde", "2")],
            "detect a 1 -> 2, b 1 -> 2, c 1 -> 2 and 2 more",
        ),
        ([{"m": "0"}], [{"m": str(number)} for number in range(1, 6)], "detect m 0 -> 1, 2, 3 and 2 more"),
    ],
)
def test_a_change_is_a_version_of_the_same_name_that_was_another_the_day_before(before, now, told):
    assert version_changes("detect", records(*now), records(*before)) == told


def judged(world: World, **changes: Any):
    store = MemoryStore()
    World().put(store, [BEFORE], digests=False)
    world.put(store, [DAY], digests=False)
    return judge_day(store, TOPOLOGY, RULES, DAY, changes.get("as_of"), noon(DAY)).results


def test_only_what_is_broken_tells_what_has_changed_of_its_own_tasks():
    lossy = World().lose(Leaf("crop", DAY, "all", "0002"))
    found = judged(lossy.swap_version("detect", {}, "model", "detector@4"))
    told = {(one.id, one.instance): one.details.get("last_change") for one in found if one.status is Status.FAIL}
    assert told[("edges", "detect->crop")] == "detect model detector@3 -> detector@4"
    assert told[("there", "crop")] is None
    assert not any("last_change" in one.details for one in found if one.status is not Status.FAIL)


def test_a_break_without_a_change_says_nothing_of_it():
    found = judged(World().lose(Leaf("crop", DAY, "all", "0002")))
    assert any(one.status is Status.FAIL for one in found)
    assert not any("last_change" in one.details for one in found)


def test_the_change_is_a_line_of_the_notice():
    lossy = World().lose(Leaf("crop", DAY, "all", "0002")).swap_version("detect", {}, "model", "detector@4")
    broken = next(one for one in judged(lossy) if one.instance == "detect->crop")
    notice = make_notice(incident=make_incident(result=broken))
    assert "last change: detect model detector@3 -> detector@4" in lines(notice, {})


def test_the_past_is_told_by_what_was_known_then():
    swapped = World().lose(Leaf("crop", DAY, "all", "0002")).swap_version("detect", {}, "model", "detector@4")
    now, then = judged(swapped), judged(swapped, as_of=noon(DAY))
    assert [one.details.get("last_change") for one in now] == [one.details.get("last_change") for one in then]
