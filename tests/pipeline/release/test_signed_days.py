"""Days signed by the key that the settings name, by the task as by hand; and an older day never goes out unsaid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.release.consumer import Consumer
from pipeline.release.pointer import POINTER, current, release_of
from pipeline.release.signing import make_keys
from reporting.errors import ContractViolation
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.project import DAY_1, DAY_2, Project, new_project, plan_day, row, run_here, work_off

pytestmark = pytest.mark.slow
Main = Callable[..., Any]
WHY = ("--by", "ana", "--why", "the second day was a bad one")


def two_day_project(folder: Path) -> Project:
    project = new_project(folder)
    for day, numbers in {DAY_1: range(4), DAY_2: range(4, 6)}.items():
        project.manifest(day, [row(project.drawn(number), f"s{number}") for number in numbers])
    return project


def expiry(lake: Path) -> str | None:
    return json.loads((lake / POINTER).read_bytes()).get("expires_at")  # type: ignore[no-any-return]


def test_what_the_task_and_a_hand_publish_is_signed_and_an_older_day_only_goes_out_with_a_waiver(
    tmp_path: Path, main_in: Main
) -> None:
    project = two_day_project(tmp_path / "project")
    lake, home = project.folder / "lake", tmp_path / "home"
    _, public = make_keys(project.folder / "keys")
    project.configure(release={"sign_key": "keys/release-key.pem", "sign_valid_hours": 48})
    consumer = Consumer(str(lake), home, public_key=public)
    for number, day in enumerate((DAY_1, DAY_2), start=1):
        run_here(project, day)
        pulled = consumer.poll()
        assert pulled is not None
        assert (pulled.manifest.number, expiry(lake) is not None) == (number, True)
    asked = ("release", "publish", "--date", str(DAY_1))
    refused = main_in(project.folder, *asked)
    assert refused.code == 1
    assert f"take the place of release 2 of {DAY_2}, a newer day" in refused.err
    assert "a waiver instead of: older day" in refused.err
    assert len(list(lake.glob("releases/*"))) == 2
    done = main_in(project.folder, *asked, "--waive", "older day", *WHY, "--valid-hours", "1")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1:] == ["  by the waiver of ana instead of older day: the second day was a bad one"]
    waiver = release_of(lake, 3).waiver
    assert waiver is not None
    assert waiver.instead_of == "older day"
    assert consumer.poll() is not None
    back = main_in(project.folder, "release", "rollback", "2", *WHY)
    assert back.code == 0, back.err
    pulled = consumer.poll()
    assert pulled is not None
    assert pulled.manifest.number == 4


def test_a_key_that_cannot_be_used_publishes_nothing_and_no_key_is_no_signature(tmp_path: Path, main_in: Main) -> None:
    project = two_day_project(tmp_path / "project")
    lake = project.folder / "lake"
    project.configure(release={"sign_key": "keys/gone.pem"})
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan)
        (record,) = place.store.records(RecordQuery(tasks=("release",), planids=(plan.planid,)))
    assert record.state is State.FAILED
    assert record.error is not None
    assert f"{project.folder}/keys/gone.pem: cannot be read" in record.error.message
    by_hand = main_in(project.folder, "release", "publish", "--date", str(DAY_1))
    assert (by_hand.code, "gone.pem: cannot be read" in by_hand.err) == (2, True)
    assert current(lake) is None
    project.configure(release={"sign_key": None})
    done = main_in(project.folder, "release", "publish", "--date", str(DAY_1))
    assert done.code == 0, done.err
    _, public = make_keys(project.folder / "keys")
    with pytest.raises(ContractViolation, match="is not signed"):
        Consumer(str(lake), tmp_path / "home", public_key=public).poll()
