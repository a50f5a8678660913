"""Going back: a new number on old content, at once, and only where its files are still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.release.manifest import Decision
from pipeline.release.pointer import current, release_of, releases
from pipeline.release.rollback import going_back, rollback
from reporting.errors import ContractViolation, UsageError
from tests.pipeline.releasing import NOW, files_under, released

WHY = "the second mixes up the shoes"


def test_old_content_comes_back_under_a_new_number_and_no_file_is_copied(tmp_path: Path) -> None:
    first, second = released(tmp_path, "one"), released(tmp_path, "two")
    before = files_under(tmp_path)
    made = rollback(tmp_path, 1, by=" ana ", why=WHY, at=NOW)
    assert current(tmp_path) == made
    assert (made.number, made.parent, made.rollback_to) == (3, 2, 1)
    assert made.decided == Decision(by="ana", why=WHY, at=NOW)
    assert made.has_content_of(first)
    assert not made.has_content_of(second)
    assert made.verdict_id == first.verdict_id
    assert set(files_under(tmp_path)) - set(before) == {"releases/000003.json"}
    again = rollback(tmp_path, 2, by="ana", why=WHY, at=NOW)
    assert (again.number, again.rollback_to, again.has_content_of(second)) == (4, 2, True)
    assert [one.number for one in releases(tmp_path)] == [1, 2, 3, 4]
    assert release_of(tmp_path, 1) == first


def test_looking_first_writes_nothing(tmp_path: Path) -> None:
    released(tmp_path, "one")
    released(tmp_path, "two")
    before = files_under(tmp_path)
    assert going_back(tmp_path, 1, by="ana", why=WHY, at=NOW).planid == "plan-one"
    assert files_under(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"number": 2}, "release 2, the current one, has the content of release 2 already"),
        ({"number": 3}, "there is no release 3 to go back to; expected one from 1 to 2"),
        ({"number": 0}, "there is no release 0"),
        ({"why": "bad"}, "at least ten characters"),
        ({"by": " "}, "--by who decides"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: dict[str, object], said: str) -> None:
    released(tmp_path, "one")
    released(tmp_path, "two")
    before = files_under(tmp_path)
    given: dict[str, object] = {"number": 1, "by": "ana", "why": WHY} | options
    with pytest.raises(UsageError, match=said):
        rollback(tmp_path, given.pop("number"), **given, at=NOW)  # type: ignore[arg-type]
    assert files_under(tmp_path) == before


def test_content_whose_files_are_gone_is_refused_by_their_name(tmp_path: Path) -> None:
    first = released(tmp_path, "one")
    released(tmp_path, "two")
    path = first.categories["shoes"].items_path
    (tmp_path / path).unlink()
    with pytest.raises(ContractViolation, match=f"1 files of release 1 are gone, {path} the first"):
        rollback(tmp_path, 1, by="ana", why=WHY, at=NOW)
    served = current(tmp_path)
    assert served is not None
    assert served.number == 2


def test_nothing_released_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing has been released yet"):
        rollback(tmp_path, 1, by="ana", why=WHY, at=NOW)
