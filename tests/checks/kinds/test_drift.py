"""Drift: totals by their score, groups only where totals are as expected, and what is never judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from checks.history import Baseline, History, Need
from checks.kinds.base import Finding
from checks.kinds.drift import Drift
from checks.result import Status
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Dimension
from tests.checks.drift_series import plain_score
from tests.checks.world import TOPOLOGY, World, noon

Past = dict[tuple[str, ...], list[float]]
BY: tuple[Dimension, ...] = ("category", "subinstance")
ONE_CELL = {"category": "bags", "subinstance": "0001"}
"""The smallest of nine: less than a twentieth of a day."""


def drift(**keys) -> Drift:
    return Drift.model_validate({"id": "volume", "kind": "drift", "tasks": ["embed"], **keys})


PAST = World().history(drift(tasks=["embed", "crop", "collect"], group_by=BY).needs(TOPOLOGY))


def view_of(world: World, **keys) -> View:
    return world.view(DAY, history=PAST, digests=False, **keys)


def judged(check: Drift, view: View) -> dict[str, Finding]:
    return {finding.instance: finding for finding in check.judge(view)}


def test_a_day_like_the_others_passes_and_no_group_is_told_of():
    found = judged(drift(tasks=["embed", "crop", "collect"], group_by=BY), view_of(World()))
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(("embed", "crop", "collect"), Status.PASS)
    assert {one.history for one in found.values()} == {56}


def test_a_total_is_scored_like_its_series_value_by_value():
    view = view_of(World())
    baseline = PAST.of("embed", "output", (), 56)
    plain = plain_score(baseline.values[0].tolist(), _booked(view, "embed"), counts=True)
    one = judged(drift(), view)["embed"]
    assert one.value == _booked(view, "embed")
    assert one.expected == pytest.approx(plain.expected)
    assert one.details["score"] == pytest.approx(plain.score, abs=0.006)
    side = math.expm1(math.log1p(plain.expected) + math.copysign(4 * plain.scale, plain.score))
    assert one.tolerance == pytest.approx(abs(side - plain.expected))


def test_a_total_that_breaks_fails_and_its_groups_are_its_table():
    view = view_of(World().shrink("crop", {"category": "shoes"}, 0.6))
    found = judged(drift(group_by=BY), view)
    assert list(found) == ["embed"]
    one = found["embed"]
    assert (one.status, one.place.group) == (Status.FAIL, {})
    assert one.table is not None
    assert (one.table.dimensions, one.table.exact) == (BY, False)
    assert one.table.actual.sum() == one.value
    short = one.table.actual < 0.7 * one.table.expected
    assert {values[0] for values, low in zip(one.table.values, short, strict=True) if low} == {"shoes"}
    assert short.sum() == 3


def test_a_group_that_breaks_alone_warns_and_fails_only_where_asked():
    view = view_of(World().shrink("crop", ONE_CELL, 0.9))
    for page, status in ((False, Status.WARN), (True, Status.FAIL)):
        found = judged(drift(group_by=BY, groups_page=page), view)
        assert {name: one.status for name, one in found.items()} == {
            "embed": Status.PASS,
            "embed category=bags subinstance=0001": status,
        }
        assert found["embed category=bags subinstance=0001"].place.group == ONE_CELL
        assert found["embed category=bags subinstance=0001"].details["p"] < 0.01


def test_a_stricter_share_of_false_alarms_finds_less():
    view = by_hand(packages(20), {**EVENLY, "0007": 820})
    found = [list(judged(detect(q=q), view)) for q in (1e-9, 0.5)]
    assert found == [["detect"], ["detect", "detect subinstance=0007"]]


def test_a_difference_that_may_be_ignored_is_none():
    view = view_of(World().shrink("collect", {}, 0.4))
    found = judged(drift(), view)["embed"]
    assert found.expected is not None
    assert found.value is not None
    off = found.expected - found.value
    assert found.status is Status.FAIL
    for small, status in (
        ({"abs": off + 1}, Status.PASS),
        ({"rel": 0.5}, Status.PASS),
        ({"abs": off - 1, "rel": 0.01}, Status.FAIL),
    ):
        assert judged(drift(ignore_small=small), view)["embed"].status is status


def test_levels_and_direction_say_which_breaks_page():
    view = view_of(World().shrink("collect", {}, 0.4))
    assert judged(drift(levels={"page": 0.6}), view)["embed"].status is Status.WARN
    assert judged(drift(direction="up"), view)["embed"].status is Status.PASS
    assert judged(drift(direction="down"), view)["embed"].status is Status.FAIL
    assert judged(drift(score=1000), view)["embed"].status is Status.PASS


def test_while_leaves_may_come_nothing_is_judged_and_after_that_nothing_passes_without_them():
    world = World().lose(Leaf("embed", DAY, "bags", "0001"))
    early = judged(drift(group_by=BY), view_of(world, as_of=noon(DAY) - timedelta(hours=9)))["embed"]
    assert (early.status, early.counts) == (Status.NOT_EVALUATED, False)
    late = judged(drift(group_by=BY), view_of(world))
    assert list(late) == ["embed"]  # the group is not judged: its leaf is missing
    assert (late["embed"].status, late["embed"].counts) == (Status.NOT_EVALUATED, True)
    broken = judged(drift(group_by=BY), view_of(world.shrink("collect", {}, 0.6)))["embed"]
    assert broken.status is Status.FAIL


def test_no_record_at_all_is_not_evaluated():
    view = replace(view_of(World()), records=[])
    found = judged(drift(), view)["embed"]
    assert (found.status, found.counts) == (Status.NOT_EVALUATED, True)


@settings(max_examples=15)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(order):
    records = list(_BROKEN.records)
    order.shuffle(records)
    found = judged(drift(group_by=BY), replace(_BROKEN, records=records))
    assert {name: (one.value, one.details) for name, one in found.items()} == _FOUND


# A history by hand ---------------------------------------------------------------------------------------------------


def by_hand(
    past: Mapping[tuple[str, ...], list[float]], today: Mapping[str, float], measure: str = "output", **record
) -> View:
    """Return a day of `detect` (by subinstance) with a past of some groups, each as many days as all have."""
    groups = tuple(sorted(past))
    values = np.array([past[group] for group in groups], float)
    days = tuple(DAY - timedelta(days=n) for n in range(values.shape[1], 0, -1))
    with np.errstate(invalid="ignore"):
        total = np.where(np.isfinite(values).any(axis=0), np.nansum(values, axis=0), np.nan)[None]
    means = np.array([[np.nan if np.isnan(day).all() else np.nanmean(day) for day in values.T]])
    history = History(
        {
            ("detect", measure, ("subinstance",)): Baseline(groups, days, values, values),
            ("detect", measure, ()): Baseline(((),), days, total, means),
        }
    )
    records = [make_record("detect", subinstance=name, input=int(count), **record) for name, count in today.items()]
    plan = make_plan(created_at=MOMENT - timedelta(hours=5), completed_at=MOMENT)
    return View(topology=TOPOLOGY, date=DAY, as_of=MOMENT, records=records, plans=[plan], history=history)


def detect(**keys) -> Drift:
    return drift(tasks=["detect"], group_by=["subinstance"], **keys)


def packages(count: int) -> Past:
    """Return 56 days of packages of about 1000 each; whole days differ by 5 %, packages by another 3 %."""
    chance = np.random.default_rng(2)
    values = 1000 * np.exp(chance.normal(0, 0.05, 56) + chance.normal(0, 0.03, (count, 56)))
    return {(f"{n:04}",): np.rint(row).tolist() for n, row in enumerate(values)}


EVENLY = {f"{n:04}": 1000 for n in range(20)}
"""A day of 20 of them."""


@pytest.mark.parametrize("days", [0, 13, 14, 27])
def test_a_total_warms_up_for_the_declared_days(days):
    past: Past = {("0001",): [np.nan] * (56 - days) + [100.0] * days}
    for check, needed in ((detect(), 14), (detect(min_history="20d"), 20)):
        one = judged(check, by_hand(past, {"0001": 10}))["detect"]
        assert one.history == days
        assert (one.status, one.counts) == ((Status.FAIL, True) if days >= needed else (Status.NOT_EVALUATED, False))


def test_without_any_history_nothing_is_judged():
    view = replace(by_hand({("0001",): [100.0] * 56}, {"0001": 10}), history=History())
    one = judged(detect(), view)["detect"]
    assert (one.status, one.counts, one.history) == (Status.NOT_EVALUATED, False, 0)


def test_a_group_that_was_there_every_day_and_is_gone_is_found():
    found = judged(detect(), by_hand(packages(20), {name: n for name, n in EVENLY.items() if name != "0019"}))
    assert {name: one.status for name, one in found.items()} == {
        "detect": Status.PASS,
        "detect subinstance=0019": Status.WARN,
    }
    assert found["detect subinstance=0019"].value == 0


def test_a_group_that_comes_and_goes_may_be_gone():
    past = {**packages(20), ("0020",): [500.0, np.nan] * 28}
    assert list(judged(detect(), by_hand(past, EVENLY))) == ["detect"]


def test_a_group_is_not_judged_by_days_before_it_was_there():
    """Its 20 days are enough, and zeros before them would make its scale enormous."""
    past = {**packages(20), ("0020",): [np.nan] * 36 + [500.0] * 20}
    assert list(judged(detect(), by_hand(past, {**EVENLY, "0020": 500}))) == ["detect"]
    assert list(judged(detect(), by_hand(past, {**EVENLY, "0020": 5}))) == ["detect", "detect subinstance=0020"]


def test_few_residuals_make_nothing_rare():
    """A single package has 49 of them: its total is judged, itself never."""
    view = by_hand({("0001",): [1000.0] * 56}, {"0001": 1000})
    assert list(judged(detect(q=0.5), view)) == ["detect"]


def test_a_new_group_explains_a_total_that_is_too_great():
    past: Past = {(f"{n:04}",): [1000.0] * 56 for n in range(3)}
    today = {f"{n:04}": 1000 for n in range(3)}
    table = judged(detect(), by_hand(past, {**today, "0009": 2000}))["detect"].table
    assert table is not None
    off = {values[0]: a - e for values, a, e in zip(table.values, table.actual, table.expected, strict=True)}
    assert off == pytest.approx({"0000": 0, "0001": 0, "0002": 0, "0009": 2000}, abs=1e-6)


def test_the_mean_of_a_package_does_not_depend_on_their_number():
    """60 seconds each, every day; twice as many packages are no drift, twice the time is."""
    past: Past = {("0001",): [60.0] * 56, ("0002",): [60.0] * 56}
    check = drift(tasks=["detect"], measure="seconds", aggregate="mean", direction="up")
    many = {f"{n:04}": 10 for n in range(1, 5)}
    assert judged(check, by_hand(past, many, "seconds"))["detect"].status is Status.PASS
    slow = {"started_at": MOMENT - timedelta(seconds=120)}
    one = judged(check, by_hand(past, many, "seconds", **slow))["detect"]
    assert (one.status, one.value, one.unit) == (Status.FAIL, 120, "seconds")
    assert one.expected == pytest.approx(60)


def test_records_without_the_metric_are_not_evaluated():
    check = drift(tasks=["detect"], measure="metrics.objects_per_picture", aggregate="mean")
    past: Past = {("0001",): [1.3] * 56}
    bare = judged(check, by_hand(past, {"0001": 10}, "metrics.objects_per_picture"))["detect"]
    assert (bare.status, bare.counts) == (Status.NOT_EVALUATED, True)
    metrics = {"metrics": {"objects_per_picture": 2.0}}
    held = judged(check, by_hand(past, {"0001": 10}, "metrics.objects_per_picture", **metrics))["detect"]
    assert held.status is Status.FAIL


# The file ------------------------------------------------------------------------------------------------------------


def test_a_check_asks_for_what_it_judges_by():
    check = drift(tasks=["collect", "crop", "embed"], group_by=BY, history="28d", min_history=14)
    assert check.needs(TOPOLOGY) == [
        Need("collect", "output", (), 28),
        Need("crop", "output", (), 28),
        Need("crop", "output", ("subinstance",), 28),
        Need("embed", "output", (), 28),
        Need("embed", "output", BY, 28),
    ]
    assert [one.instance for one in check.expand(TOPOLOGY)] == [
        "collect", "crop", "crop by subinstance", "embed", "embed by category, subinstance",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        {"history": 13},
        {"history": "8 weeks"},
        {"min_history": 7},
        {"history": 28, "min_history": 29},
        {"exclude": ["incidents"]},
        {"exclude": ["weekends"]},
        {"score": 0},
        {"q": 0},
        {"q": 1},
        {"aggregate": "max"},
    ],
)
def test_what_cannot_be_is_refused(keys):
    with pytest.raises(ValidationError):
        drift(**keys)


def test_the_exclusions_may_be_written_in_any_order():
    assert drift(exclude=["holidays", "non_daily_plans", "incidents"]) == drift()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"measure": "outputs"}, "did you mean output"),
        ({"measure": "dropped.undecodeable"}, r"did you mean dropped\.undecodable"),
        ({"tasks": ["embedd"]}, "did you mean embed"),
        ({"tasks": ["crop"], "group_by": ["category"]}, "category"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(keys, told):
    with pytest.raises(ConfigError, match=told):
        drift(**keys).expand(TOPOLOGY)


def _booked(view: View, task: str) -> float:
    return sum(record.output for record in view.records if record.key.task == task)


_BROKEN = view_of(World().shrink("crop", ONE_CELL, 0.9))
_FOUND = {name: (one.value, one.details) for name, one in judged(drift(group_by=BY), _BROKEN).items()}
