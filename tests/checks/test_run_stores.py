"""Records of equal content are judged alike, whichever store they lie in, as they are and as they were."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.result import Status
from checks.run import judge_day
from reporting.plans import Leaf
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY
from tests.checks.rule_sets import every_kind
from tests.checks.world import TOPOLOGY, World, noon
from tests.contracts.conftest import elastic, open_named, postgres

__all__ = ["elastic", "open_named", "postgres"]

pytestmark = pytest.mark.slow

BEFORE = [DAY - timedelta(days=back) for back in range(1, 16)]
BROKEN = World().ruin(Leaf("crop", DAY, "all", "0002")).shrink("embed", {"category": "shoes"}, 0.1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sqlite"),
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("elastic", marks=pytest.mark.elasticsearch),
    ],
)
def test_a_store_s_results_are_those_of_the_reference(open_named, name):
    store, reference = open_named(name), MemoryStore()
    for one in (store, reference):
        World().put(one, BEFORE, digests=False)
        BROKEN.rerun("repair-1", ["embed"], categories=("shoes",)).put(one)
    for as_of in (None, noon(DAY) - timedelta(hours=9), noon(DAY) - timedelta(hours=1, minutes=30)):
        found, expected = (
            judge_day(one, TOPOLOGY, every_kind(), DAY, as_of, noon(DAY)).results for one in (store, reference)
        )
        assert found == expected
        assert {result.status for result in found} > {Status.PASS, Status.NOT_EVALUATED}
