"""The second act: what is put into the books is found, in its place, and the printed command mends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from checks.demo import StoryChecks
from checks.spec import load_checks
from funnelgate import Context
from pipeline.demo import story
from pipeline.demo.show import run_demo
from pipeline.demo.stage import open_stage
from pipeline.place import Place
from reporting.effective import effective_records
from reporting.errors import EXIT_FAILED, EXIT_OK, UsageError
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import DAY
from tests.checks.rule_sets import load_text
from tests.checks.world import TOPOLOGY, World
from tests.pipeline.arrivals import DAYS
from tests.pipeline.project import Project, new_project
from tests.servers.ports import free_port

RULES = Path(story.__file__).parent / "checks.yaml"
WEEK = tuple(DAY + timedelta(days=number) for number in range(6))
LOST_ON, SHRUNK_ON = WEEK[story.LOST_ON], WEEK[story.SHRUNK_ON]
BEFORE = (DAY - timedelta(days=2), DAY - timedelta(days=1))


class Stage:
    """The small pipeline's week, on which the story is played; its re-run books the truth again."""

    def __init__(self, store: SqlStore):
        self.place: Any = SimpleNamespace(store=store, topology=TOPOLOGY, shipping=nullcontext)
        rules = RULES.read_text(encoding="utf-8")
        for absent in ("hash, ", "train, "):  # the small pipeline has no such tasks
            rules = rules.replace(absent, "", 1)
        self.checks = StoryChecks(store, TOPOLOGY, load_text(rules))
        self.commands: list[str] = []
        self.text = StringIO()

    def repair(self, _place: Place, day: Any, command: str, _workers: int | None, *, quiet: bool) -> None:
        self.commands.append(command)
        World().rerun("repair", ["quality"], on=day, subinstances=("0002",)).put(self.place.store, [day], digests=False)

    def play(self) -> story.Story:
        self.text = StringIO()
        console = Console(file=self.text, width=80)
        return story.play(self.place, self.checks, WEEK, console, workers=1, quiet=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A balanced week, and the two days before it that its windows read."""
    path = tmp_path_factory.mktemp("story") / "store.db"
    with open_store(f"sqlite:///{path}") as store:
        World().put(store, [*BEFORE, *WEEK], digests=False)
    return path


@pytest.fixture
def stage(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with open_store(f"sqlite:///{shutil.copy(written, tmp_path / 'store.db')}") as store:
        found = Stage(store)
        monkeypatch.setattr(story, "_repair", found.repair)
        yield found


def test_two_incidents_open_in_their_places_and_the_repair_of_the_first_ends_it(stage):
    found = stage.play()
    assert (found.as_told, found.exit_code) == (True, EXIT_OK)
    assert found.lost[0].result.sentence.endswith("missing pictures: subinstance=0002")
    assert found.shrunk[0].result.sentence.endswith(f"missing objects: category={found.category}")
    assert (found.lost[0].state, found.shrunk[0].state) == ("superseded", "firing")
    assert stage.commands == [
        f"funnelgate run --kind rerun --date {LOST_ON} --tasks quality --subinstances 0002 --promote"
    ]
    text = stage.text.getvalue()
    assert text.count("incident ") == 3  # two that open, one that ends
    assert all(line in text for line in stage.commands)


def test_a_second_call_tells_the_same_and_does_nothing_again(stage):
    first = stage.play()
    versions = {record.key: record.version for day in WEEK for record in effective_records(stage.place.store, day, day)}
    second = stage.play()
    assert (second.as_told, len(stage.commands)) == (True, 1)
    assert second.category == first.category
    assert [case.episode for case in (*second.lost, *second.shrunk)] == [
        c.episode for c in (*first.lost, *first.shrunk)
    ]
    assert versions == {
        record.key: record.version for day in WEEK for record in effective_records(stage.place.store, day, day)
    }


def test_a_second_call_after_somebody_has_mended_the_other_fault_too_knows_which_it_was(stage):
    first = stage.play()
    repaired = World().rerun("mine", ["embed"], on=SHRUNK_ON, categories=(first.category,))
    repaired.put(stage.place.store, [SHRUNK_ON], digests=False)
    again = stage.play()
    assert again.category == first.category
    states = {case.episode: case.state for case in again.shrunk}
    assert states[first.shrunk[0].episode] == "superseded"


def test_other_days_stay_balanced_although_their_windows_have_read_the_spoilt_ones(stage):
    stage.play()
    for day in set(WEEK) - {SHRUNK_ON}:
        assert not [case for case in stage.checks.check_day(day) if case.is_open], day
    assert story.spoilt_days(stage.place.store, WEEK) == {LOST_ON, SHRUNK_ON}


def test_checks_that_find_something_else_fail_the_demo(stage, monkeypatch):
    monkeypatch.setattr(story, "_repair", lambda *_, **__: None)
    found = stage.play()  # nobody has mended anything
    assert (found.as_told, found.exit_code) == (False, EXIT_FAILED)
    assert "the checks found something else than was put in" in stage.text.getvalue().replace("\n", " ")


def test_the_document_can_be_read_by_programs(stage):
    document = json.loads(json.dumps(stage.play().document()))
    assert document["as_told"] is True
    assert [case["state"] for case in document["incidents"]] == ["superseded", "firing"]
    assert all(case["repair"].startswith("funnelgate run ") for case in document["incidents"])


def test_a_week_that_is_too_short_for_a_second_act_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    def never(_: Path) -> Any:
        raise AssertionError

    with pytest.raises(UsageError, match="--days 5: the second act needs 6 days"):
        run_demo(tmp_path / "mine", never, days=5, workers=1, elastic=None, as_json=False, checks_at=never)
    assert list(tmp_path.iterdir()) == []


def test_the_second_act_has_no_cluster_though_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", f"http://127.0.0.1:{free_port()}")
    settings = new_project(tmp_path / "mine").folder / "funnelgate.yaml"
    assert Context(settings).place.elastic.url is not None
    acted = open_stage(lambda path: Context(path).place, settings)
    assert acted.elastic.url is None
    assert isinstance(acted.shipping(), nullcontext)


@pytest.mark.slow
def test_the_command_that_the_alert_prints_mends_a_real_day(
    three_days: Project, copy_of: Callable[[Project], Project], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(story, "LOST_ON", 1)
    monkeypatch.setattr(story, "SHRUNK_ON", 2)
    with copy_of(three_days).place() as place:
        truth = {record.key.parts()[:4]: record.input for record in effective_records(place.store, DAYS[1], DAYS[1])}
        checks = StoryChecks(place.store, place.topology, load_checks(RULES, place.topology))
        found = story.play(place, checks, DAYS, Console(file=StringIO()), workers=2, quiet=True)
        after = {record.key.parts()[:4]: record for record in effective_records(place.store, DAYS[1], DAYS[1])}
    assert found.as_told, found.document()
    assert {leaf: record.input for leaf, record in after.items()} == truth
    mended = ("quality", str(DAYS[1]), "all", "0002")
    assert (after[mended].key.planid, after[mended].input) == ("rerun-20261102-1", truth[mended])
    assert capfd.readouterr().out == ""
