"""What the checks judge is the same whatever store it is read from: the same views, now and as of a moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from checks.scan import leaf_history, scan
from reporting.plans import Leaf
from reporting.testing import DAY
from tests.checks.views import NEEDS, WEEK, facts, of_baseline
from tests.checks.world import TOPOLOGY, World, noon
from tests.contracts.conftest import SHARED_STORES

WORLD = (
    World(seed=11)
    .ruin(Leaf("embed", WEEK[2], "shoes", "0002"))
    .rerun("repair", ("embed",), on=WEEK[2], categories=("shoes",), subinstances=("0002",))
    .rerun("again", ("download",), on=WEEK[4])
    .delay("index", {"category": "hats"}, timedelta(hours=5), DAY)
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARED_STORES)
def test_the_view_of_a_day_is_that_of_the_store_in_memory(open_named, name):
    memory, store = open_named("memory"), open_named(name)
    for one in (memory, store):
        WORLD.put(one, WEEK, digests=False)
    compared = 0
    early, late = noon(DAY) - timedelta(hours=8), noon(DAY) + timedelta(hours=8)
    for as_of, how, skip in ((early, True, True), (late, True, False), (late, False, True), (late, False, False)):
        options: dict[str, Any] = {"as_of": as_of, "with_as_of": how, "skip_non_daily": skip}
        expected = scan(memory, TOPOLOGY, DAY, needs=NEEDS, **options)
        assert facts(scan(store, TOPOLOGY, DAY, needs=NEEDS, **options)) == facts(expected)
        compared += sum(len(past.groups) for past in expected.history.baselines.values())
    leaves = [leaf_history(one, expected, "embed", "input", 7) for one in (memory, store)]
    assert of_baseline(leaves[0]) == of_baseline(leaves[1])
    assert compared > 100  # else nothing was
