"""`funnelgate release ...`: what people and programs see, and the exit codes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.release.champion import promote, promotion
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import POINTER, current, publish
from pipeline.release.withheld import withheld
from tests.pipeline.releasing import DAY, NOW, draft, files_under, released

Main = Callable[..., Any]
WHY = "the second mixes up the shoes"


@pytest.fixture
def project(tmp_path: Path, sqlite_template: Path) -> Path:
    """A project with three releases, the third with days noted."""
    folder = tmp_path / "project"
    (folder / "state").mkdir(parents=True)
    shutil.copy(sqlite_template, folder / "state/funnelgate.db")
    (folder / "funnelgate.yaml").write_text("{}\n")
    released(folder / "lake", "one")
    for text in ("two", "three"):
        publish(folder / "lake", draft(folder / "lake", text, days={DAY: (5, text)}))
    return folder


def told(main: Main, folder: Path, *arguments: str) -> Any:
    done = main(folder, *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.slow
def test_list_and_show_tell_what_is_online_what_was_and_what_went(project: Path, main_in: Main) -> None:
    lake = project / "lake"
    promote(lake, promotion(lake, 2, by="ana", why="the best there was", at=NOW))
    assert main_in(project, "release", "pin", "1", "--by", "ana", "--why", "fair").code == 0
    first = current(lake)
    assert first is not None
    (lake / first.categories["shoes"].index_path).unlink()
    rows = told(main_in, project, "release", "list")
    marks = [[row[name] for name in ("number", "current", "champion", "pinned", "files_there", "rows")] for row in rows]
    assert marks == [
        [1, False, False, True, True, 7],
        [2, False, True, False, True, 5],
        [3, True, False, False, False, 5],
    ]
    lines = main_in(project, "release", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert "current, swept" in lines[2]
    shown = told(main_in, project, "release", "show", "2")
    assert (shown["number"], shown["planid"], list(shown["categories"])) == (2, "plan-two", ["shoes"])
    assert "release 3 of 2026-11-22, plan plan-three" in main_in(project, "release", "show").out


@pytest.mark.slow
def test_diff_names_the_days(project: Path, main_in: Main) -> None:
    (project / "lake/objects").rename(project / "lake/gone")  # without files, by hashes alone
    found = told(main_in, project, "release", "diff", "2", "3")
    assert (found["days_changed"], found["rows_added"], found["rows_removed"]) == ([str(DAY)], 5, 5)
    assert "days changed: 2026-11-22; 5 rows added, 5 removed" in main_in(project, "release", "diff", "2", "3").out
    assert main_in(project, "release", "diff", "2", "9").code == 4


def test_rollback_shows_first_and_puts_old_content_under_a_new_number(project: Path, main_in: Main) -> None:
    before = files_under(project / "lake")
    asked = ("release", "rollback", "2", "--by", "ana", "--why", WHY)
    dry = main_in(project, *asked, "--dry-run")
    assert (dry.code, "the content of 2 would be next" in dry.out) == (0, True)
    assert files_under(project / "lake") == before
    made = told(main_in, project, *asked)
    assert (made["number"], made["rollback_to"], made["decided"]["by"]) == (4, 2, "ana")
    refused = main_in(project, "release", "rollback", "2", "--by", "ana", "--why", WHY)
    assert (refused.code, "has the content of release 2 already" in refused.err) == (2, True)


def test_gc_shows_first_and_deletes_on_yes(project: Path, main_in: Main) -> None:
    lake = project / "lake"
    for path in lake.rglob("objects/*/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    before = files_under(lake)
    looked = told(main_in, project, "release", "gc", "--keep", "2")
    assert (looked["deleted"], len(looked["remove"]), looked["kept_releases"]) == (
        False,
        2,
        {"2": "one of the last 2", "3": "current"},
    )
    assert files_under(lake) == before
    assert "say --yes to delete" in main_in(project, "release", "gc", "--keep", "2").out
    assert told(main_in, project, "release", "gc", "--keep", "2", "--yes")["deleted"]
    assert set(before) - set(files_under(lake)) == {one["path"] for one in looked["remove"]}


def test_pull_follows_and_a_tampered_file_ends_with_1_and_its_name(project: Path, main_in: Main) -> None:
    lake, home = project / "lake", project / "home"
    asked = ("release", "pull", "--from", str(lake), "--home", str(home))
    assert told(main_in, project, *asked)["release"] == 3
    assert main_in(project, *asked).out == "nothing new\n"
    made = released(lake, "four")
    path = lake / made.categories["shoes"].index_path
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    refused = main_in(project, *asked)
    assert refused.code == 1
    assert path.name in refused.err
    assert "Traceback" not in refused.err
    served = current(home)
    assert served is not None
    assert served.number == 3
    assert [row["number"] for row in told(main_in, project, "release", "list", "--root", str(home))] == [3]
    assert main_in(project, "release", "pull", "--from", str(lake), "--home", str(home), "--resource", "x").code == 2


@pytest.mark.slow
def test_signed_pulls_by_the_commands_alone(project: Path, main_in: Main) -> None:
    keys, home = project / "keys", project / "home"
    assert main_in(project, "release", "keygen", str(keys)).code == 0
    assert (keys / "release-key.pem").stat().st_mode & 0o077 == 0
    assert main_in(project, "release", "keygen", str(keys)).code == 2
    public = str(keys / "release-key.pub.pem")
    asked = ("release", "pull", "--from", str(project / "lake"), "--home", str(home), "--public-key", public)
    refused = main_in(project, *asked)
    assert (refused.code, "CURRENT: is not signed" in refused.err) == (1, True)
    signed = main_in(project, "release", "sign", "--sign-key", str(keys / "release-key.pem"), "--valid-hours", "48")
    assert (signed.code, signed.out) == (0, "release 3 is signed\n")
    assert "expires_at" in json.loads((project / "lake" / POINTER).read_bytes())
    assert main_in(project, *asked).code == 0
    wrong = main_in(project, "release", "sign", "--sign-key", public)
    assert (wrong.code, "holds no Ed25519PrivateKey" in wrong.err) == (2, True)


@pytest.mark.slow
def test_takedowns_are_said_listed_and_lifted(project: Path, main_in: Main) -> None:
    asked = ("release", "takedown", "offer", "acme/4711", "--by", "ana", "--why", "court order")
    assert main_in(project, *asked).out == "offer acme/4711 is withheld from the next query on\n"
    assert withheld(project / "lake").offers == {("acme", "4711")}
    assert [row["value"] for row in told(main_in, project, "release", "withheld")] == ["acme/4711"]
    assert main_in(project, *asked, "--lift").code == 0
    assert main_in(project, "release", "withheld").out == "nothing is withheld\n"
    for arguments, said in [
        (("shop", "x", "--by", "ana", "--why", "y"), "Input should be"),
        (("item", "x", "--by", "ana", "--why", "y"), "a decimal number"),
        (("item", "7"), "by"),
        (("item", "7", "--by", "ana", "--why", "y", "--lift"), "is not withheld"),
    ]:
        refused = main_in(project, "release", "takedown", *arguments)
        assert refused.code == 2
        assert said in refused.err


@pytest.mark.slow
def test_resources_are_published_listed_moved_and_rolled_back(project: Path, main_in: Main) -> None:
    for text in ("a", "b"):
        (project / "weights").write_text(text)
        asked = ("release", "resource", "publish", "dictionary", "lite1", "weights", "--channel", "beta")
        refused = main_in(project, *asked)
        assert (refused.code, "a waiver instead of: no verdict" in refused.err) == (1, True)
        waived = ("--waive", "no verdict", "--by", "ana", "--why", "a first try of it", "--fact", "run=7")
        made = told(main_in, project, *asked, *waived)
    assert (made["number"], made["facts"], made["waiver"]["by"]) == (2, {"run": "7"}, "ana")
    moved = main_in(project, "release", "resource", "point", "dictionary", "lite1", "2")
    assert moved.out.endswith("is stable\n")
    undone = ("release", "resource", "rollback", "dictionary", "lite1", "1", "--by", "ana", "--why", WHY)
    back = told(main_in, project, *undone)
    assert (back["number"], back["rollback_to"]) == (3, 1)
    (row,) = told(main_in, project, "release", "resource", "list")
    assert (row["name"], row["channels"], len(row["versions"])) == ("lite1", {"beta": 2, "stable": 3}, 3)
    asked = ("release", "pull", "--from", "lake", "--home", "home", "--resource", "dictionary/lite1")
    assert told(main_in, project, *asked) == {"new": True, "version": 3}
    assert ObjectStore(project / "home").put_bytes(b"a") in back["files"][0]["sha256"]


@pytest.mark.slow
def test_a_day_that_was_never_merged_cannot_be_published(project: Path, main_in: Main) -> None:
    refused = main_in(project, "release", "publish", "--date", "2026-11-22")
    assert (refused.code, "no category has been merged" in refused.err) == (2, True)
    refused = main_in(project, "release", "publish", "--date", "2026-11-22", "--waive", "FAIL")
    assert (refused.code, "--waive needs --why" in refused.err) == (2, True)
