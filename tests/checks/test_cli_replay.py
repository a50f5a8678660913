"""`funnelgate checks backtest` and `mutate` as people and programs use them."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from checks import cli_backtest, cli_mutate
from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, UsageError
from reporting.plans import Leaf
from reporting.testing import DAY
from tests.checks.command import Ended, call, new_project
from tests.checks.schemas import follow
from tests.checks.world import World

FIRST = DAY - timedelta(days=1)
SPAN = ("backtest", "--from", str(FIRST), "--to", str(DAY))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two days, the second without a package, and the two before that their windows read."""
    folder = tmp_path_factory.mktemp("replay") / "project"
    world = World(rows=20).ruin(Leaf("crop", DAY, "all", "0002"))
    new_project(folder, world, [DAY - timedelta(days=back) for back in range(3, -1, -1)])
    return folder


@pytest.fixture
def project(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "project"))


def backtest(project: Path, *options: str) -> Ended:
    return call(cli_backtest.add_to, project / "funnelgate.yaml", *SPAN, *options)


def mutate(project: Path, *options: str) -> Ended:
    return call(cli_mutate.add_to, project / "funnelgate.yaml", "mutate", "--date", str(FIRST), *options)


def test_a_backtest_for_programs_counts_alerts_by_check(project):
    ended = backtest(project, "--json")
    found = ended.json()
    assert (ended.code, found["looks"], found["weeks"]) == (EXIT_OK, 4, 2 / 7)
    alerts = {check["id"]: check["alerts"] for check in found["checks"]}
    follow("checks-backtest", found)
    assert alerts == {"there": 1, "edges": 0, "items": 0, "in-time": 0}


def test_a_backtest_for_people_names_every_check_and_says_that_nothing_is_marked(project):
    out = backtest(project).out
    assert all(name in out for name in ("there", "edges", "items", "in-time"))
    assert "no incident of these days is marked" in out


def test_marks_come_from_a_file(project):
    marks = project / "wrong.csv"
    marks.write_text(f"date,task,subinstance\n{DAY},crop,0002\n")
    found = backtest(project, "--json", "--check", "there", "--incidents", str(marks)).json()
    (there,) = found["checks"]
    assert (found["marked_incidents"], there["precision"], there["recall"]) == (1, 1.0, 1.0)


def test_looks_come_as_often_as_asked_for(project):
    found = backtest(project, "--json", "--check", "there", "--every", "12h", "--at", "08:00").json()
    assert found["looks"] == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--every", "often"), "--every 'often' is no length of time"),
        (("--at", "8 o'clock"), '--at "8 o\'clock" is no time of day'),
        (("--to", "2026-10-01"), "is before --from"),
    ],
)
def test_options_that_cannot_be_used_are_refused(project, options, says):
    with pytest.raises(UsageError, match=says):
        backtest(project, *options)


def test_mutation_for_programs_has_a_line_for_each_class(project):
    ended = mutate(project, "--json", "--places", "1", "--fault", "lost_package", "--fault", "wrong_ids_equal_counts")
    found = ended.json()
    follow("checks-mutate", found)
    assert (ended.code, found["recall"]) == (EXIT_OK, 1.0)
    assert [fault["fault"] for fault in found["faults"]] == ["lost_package", "wrong_ids_equal_counts"]
    assert "there" in found["faults"][0]["detected_by"]
    assert found["faults"][1]["detected_by"] == ["items"]


def test_mutation_for_people_is_a_matrix_and_names_what_is_missed(project):
    ended = mutate(project, "--places", "1", "--fault", "swapped_version", "--fault", "never_ran")
    assert ended.code == EXIT_FAILED  # these rules look at no version
    assert "missed  swapped_version at " in ended.out
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["swapped_version", "0/1"] in [line[:2] for line in lines]
    assert ["never_ran", "1/1"] in [line[:2] for line in lines]


def test_mutation_where_nothing_can_be_put_in_is_inconclusive(project):
    ended = mutate(project, "--date", str(DAY + timedelta(days=9)), "--fault", "shrunk_3_percent")
    assert ended.code == EXIT_INCONCLUSIVE
    assert "not put in  shrunk_3_percent" in ended.out


def test_an_unknown_class_is_refused_with_the_nearest(project):
    with pytest.raises(UsageError, match="did you mean lost_package"):
        mutate(project, "--fault", "lost_packages")
