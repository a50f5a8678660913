"""The scheduler's tick as a function of the store and the time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path

import pytest

from pipeline.promote import abandon_plan
from pipeline.scheduler import Tick, tick
from reporting.errors import EXIT_USAGE, DataError
from reporting.stores.sql import SqlStore
from reporting.topology import Topology
from tests.pipeline.claimers import add_instances, claim_one
from tests.pipeline.conftest import Ended
from tests.pipeline.project import new_project

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def topology(repository: Path) -> Topology:
    return Topology.load(repository / "pipeline" / "default.yaml")


class Looker:
    """Ticks over a folder of manifests."""

    def __init__(self, store: SqlStore, topology: Topology, folder: Path):
        self.store, self.topology, self.folder = store, topology, folder

    def arrive(self, day: Date) -> None:
        (self.folder / f"{day}.csv").write_text("path,sku,merchant,category,title,listed\n")

    def look(self, now: datetime, owner: str = "one") -> Tick:
        source = str(self.folder / "{date}.csv")
        return tick(self.store, self.topology, source, now, owner=owner, lease_seconds=30)


@pytest.fixture
def looker(store: SqlStore, topology: Topology, tmp_path: Path) -> Looker:
    folder = tmp_path / "arrivals"
    folder.mkdir()
    return Looker(store, topology, folder)


def test_a_day_is_planned_when_its_source_is_there_and_once(looker: Looker) -> None:
    assert looker.look(NOON).made == []
    looker.arrive(NOON.date())
    first = looker.look(NOON + timedelta(seconds=10))
    assert first.made == first.open_plans == ["daily-20261110"]
    again = looker.look(NOON + timedelta(seconds=20))
    assert (again.made, again.open_plans) == ([], ["daily-20261110"])


def test_late_sources_are_planned_oldest_first_and_those_of_the_future_or_long_ago_are_not(looker: Looker) -> None:
    for back in (-1, 0, 3, 7, 8):
        looker.arrive(NOON.date() - timedelta(days=back))
    assert looker.look(NOON).made == ["daily-20261103", "daily-20261107", "daily-20261110"]


def test_the_day_begins_in_the_graphs_own_zone(looker: Looker) -> None:
    looker.arrive(Date(2026, 11, 11))
    looker.topology = looker.topology.model_copy(update={"timezone": "Asia/Tokyo"})
    assert looker.look(datetime(2026, 11, 10, 14, 59, tzinfo=UTC)).made == []
    assert looker.look(datetime(2026, 11, 10, 15, 0, tzinfo=UTC)).made == ["daily-20261111"]


def test_one_scheduler_leads_until_its_lease_is_over(looker: Looker) -> None:
    looker.arrive(NOON.date())
    assert looker.look(NOON, "one").leader
    other = looker.look(NOON + timedelta(seconds=29), "two")
    assert (other.leader, other.made) == (False, [])
    assert looker.look(NOON + timedelta(seconds=31), "two").leader
    assert not looker.look(NOON + timedelta(seconds=32), "one").leader


def test_a_tick_takes_back_leases_that_ran_out(looker: Looker) -> None:
    add_instances(looker.store, 2)
    claim_one(looker.store, "dead", NOON.timestamp())
    assert looker.look(NOON + timedelta(seconds=59)).taken_back == 0
    assert looker.look(NOON + timedelta(seconds=61)).taken_back == 1
    assert looker.look(NOON + timedelta(seconds=62)).taken_back == 0


def test_an_abandoned_day_is_planned_again(looker: Looker) -> None:
    looker.arrive(NOON.date())
    looker.look(NOON)
    (plan,) = looker.store.plans()
    abandon_plan(looker.store, plan)
    assert looker.look(NOON + timedelta(seconds=10)).made == ["daily-20261110-1"]


def test_a_source_that_goes_away_between_look_and_read_is_an_error(looker: Looker) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        tick(
            looker.store,
            looker.topology,
            str(looker.folder / "{date}.csv"),
            NOON,
            owner="one",
            lease_seconds=30,
            exists=lambda _: True,
        )
    assert looker.store.plans() == []


def test_the_command_looks_once_and_says_what_it_did(tmp_path: Path, main_in: Callable[..., Ended]) -> None:
    project = new_project(tmp_path / "project")
    today = datetime.now(UTC).date()
    project.manifest(today, [])
    ended = main_in(project.folder, "scheduler", "--source", "{date}.csv", "--once", "--workers", "0", "--json")
    assert ended.code == 0
    # Midnight may pass between the manifest and the look; then yesterday's is planned all the same.
    assert json.loads(ended.out)["made"] == [f"daily-{today:%Y%m%d}"]
    refused = main_in(project.folder, "scheduler", "--source", "today.csv", "--once")
    assert refused.code == EXIT_USAGE
    assert "expected a path with {date} in it" in refused.err
