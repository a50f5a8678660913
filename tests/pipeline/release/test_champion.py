"""The champion: pinned by a person, kept with who and why, and whole whatever dies."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.release.champion import FILE, Champion, champion, champions, promote, promotion
from pipeline.release.pointer import publish
from reporting.errors import StoreError, UsageError
from reporting.stores import open_store
from reporting.testing import make_plan
from reporting.verdict import Outcome, Verdict
from tests.pipeline.release.test_pointer import ROOT, draft, files_under

NOW = dt.datetime(2026, 11, 23, 7, tzinfo=dt.UTC)
WHY = "the first with the new detector"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Two releases."""
    root = tmp_path / "lake"
    publish(root, draft("p1", verdict="v1"))
    publish(root, draft("p2", verdict="v2"))
    return root


def pinned(root: Path, number: int | None = None, by: str = "ana", why: str = WHY, at: dt.datetime = NOW) -> Champion:
    chosen = promotion(root, number, by=by, why=why, at=at)
    promote(root, chosen)
    return chosen


def test_who_why_and_when_of_every_promotion_are_kept_and_the_last_counts(released: Path) -> None:
    assert (champion(released), champions(released)) == (None, [])
    strange = '\u2028 two\nlines, a "quote" and \u0085 the rest'
    first = pinned(released, 2, why=f" {WHY} ")
    second = pinned(released, 1, by="Bj\u00f6rn", why=strange.strip(), at=NOW + dt.timedelta(days=1))
    assert champions(released) == [first, second]
    assert champion(released) == second
    assert (first.number, first.by, first.why, first.at, first.verdict_id) == (2, "ana", WHY, NOW, "v2")
    assert (second.number, second.by, second.why, second.verdict_id) == (1, "Bj\u00f6rn", strange.strip(), "v1")


def test_promoting_appends_and_changes_no_byte_of_before(released: Path) -> None:
    pinned(released, 1)
    before = (released / FILE).read_bytes()
    pinned(released)
    assert (released / FILE).read_bytes().startswith(before)
    assert champions(released)[-1].number == 2  # without a number the current one


@pytest.mark.parametrize(
    ("line", "spoil"),
    [
        (2, lambda data: data[:-9]),  # torn
        (2, lambda data: data.replace(b'"by": "ana"', b'"by": ""')),
        (1, lambda data: b"hello\n" + data),
        (2, lambda data: data.replace(b"\n", b"\n\n", 1)),
        (3, lambda data: data + b'{"number": 1}\n'),
        (3, lambda data: data + b"\xff\xfe\n"),
        (1, lambda _: b""),
    ],
    ids=["torn", "nobody", "foreign first", "blank", "half a promotion", "no UTF-8", "empty"],
)
def test_a_torn_or_foreign_line_is_refused_by_its_place_and_nothing_is_appended(
    released: Path, line: int, spoil: Callable[[bytes], bytes]
) -> None:
    first = pinned(released, 1, by="bo")
    pinned(released, 2)
    path = released / FILE
    path.write_bytes(spoil(path.read_bytes()))
    spoiled = path.read_bytes()
    for read in (lambda: champions(released), lambda: champion(released), lambda: promote(released, first)):
        with pytest.raises(StoreError, match=rf"{FILE}:{line}: is no promotion of a champion"):
            read()
    assert path.read_bytes() == spoiled


def test_a_last_line_that_an_editor_left_without_its_end_is_still_one_line(released: Path) -> None:
    first = pinned(released, 1)
    (released / FILE).write_bytes((released / FILE).read_bytes().removesuffix(b"\n"))
    second = pinned(released, 2)
    assert champions(released) == [first, second]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"why": "   short   "}, "--why must say why in at least ten characters"),
        ({"by": "  "}, "and --by who decides"),
        ({"number": 3}, "there is no release 3; expected one from 1 to 2"),
        ({"number": 0}, "there is no release 0"),
        ({"number": -1}, "there is no release -1"),
    ],
)
def test_what_cannot_be_pinned_is_refused_before_anything_is_written(
    released: Path, options: dict[str, Any], said: str
) -> None:
    before = files_under(released)
    with pytest.raises(UsageError, match=said):
        pinned(released, **options)
    assert files_under(released) == before


def test_nothing_released_is_nothing_to_pin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing has been released yet"):
        promotion(tmp_path, None, by="ana", why=WHY, at=NOW)


def test_of_promotions_at_once_none_is_lost(released: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: pinned(released, 1 + n % 2, by=f"person {n}"), range(24)))
    assert sorted(one.by for one in champions(released)) == sorted(one.by for one in done)


def test_a_disk_that_refuses_is_an_error_with_a_remedy(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pinned(released, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"was not written: .*No space left.*repeat it"):
        pinned(released, 2)
    assert champions(released) == [first]


KILLER = """
import datetime as dt, os, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.pipeline.release.test_pointer import draft
from pipeline.release import champion as module
from pipeline.release.pointer import publish

def promotion(number):
    at = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    return module.Champion(number=number, by="ana", why="because it is good", at=at, verdict_id="v")

def promote_and_die_at(line, root):
    left = line
    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.startswith(os.path.dirname(module.__file__)):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    module.promote(root, promotion(2))
    sys.settrace(None)

os.fsync = lambda fd: None  # a killed process loses nothing that the kernel has
line = 0
while True:
    line += 1
    root = Path(sys.argv[1]) / str(line)
    root.mkdir()
    module.promote(root, promotion(1))
    child = os.fork()
    if child == 0:
        try:
            promote_and_die_at(line, root)
        except BaseException:
            os._exit(9)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = [one.number for one in module.champions(root)]
    module.promote(root, promotion(3))
    after = [one.number for one in module.champions(root)]
    print(os.waitstatus_to_exitcode(status), *found, "then", *after, flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.mark.slow
def test_sigkill_at_every_line_leaves_the_old_or_the_new_state_and_the_next_promotion_works(tmp_path: Path) -> None:
    script = KILLER.format(root=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    *killed, last = done.stdout.splitlines()
    assert last == "0 1 2 then 1 2 3"
    assert set(killed) == {"-9 1 then 1 3", "-9 1 2 then 1 2 3"}
    assert len(killed) > 15  # it did die at each line, not once


@pytest.fixture
def project(tmp_path: Path, sqlite_template: Path) -> Path:
    """A folder whose lake has two releases, the second one's verdict in the store."""
    folder = tmp_path / "project"
    (folder / "state").mkdir(parents=True)
    shutil.copy(sqlite_template, folder / "state/funnelgate.db")
    (folder / "funnelgate.yaml").write_text("{}\n")
    day = draft("p2").date
    with open_store(f"sqlite:///{folder}/state/funnelgate.db") as store, store.begin() as work:
        work.put_plan(make_plan("p2", dates=(day,)))
        work.put_verdict(
            Verdict(
                verdict_id="v2",
                date=day,
                planid="p2",
                outcome=Outcome.PASS,
                inputs={},
                metrics={"hit@10": 0.93},
                decided_at=NOW,
            )
        )
    publish(folder / "lake", draft("p1", verdict="v1"))
    publish(folder / "lake", draft("p2", verdict="v2"))
    return folder


def test_the_command_shows_what_it_would_do_and_writes_only_on_yes(project: Path, main_in: Callable[..., Any]) -> None:
    asked = ("promote-champion", "2", "--by", "ana", "--why", WHY)
    dry = main_in(project, *asked)
    assert dry.code == 0, dry.err
    assert dry.out.splitlines() == [
        "champion so far: none",
        "release 2, verdict v2: hit@10 0.9300",
        "nothing was written; say --yes to promote it",
    ]
    assert not (project / "lake" / FILE).exists()
    done = main_in(project, *asked, "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, "promoted")
    kept = champion(project / "lake")
    assert kept is not None
    assert (kept.number, kept.by, kept.why) == (2, "ana", WHY)
    again = json.loads(main_in(project, "promote-champion", "1", "--by", "bo", "--why", WHY, "--json").out)
    assert (again["champion"]["number"], again["before"]["number"], again["written"]) == (1, 2, False)
    assert champions(project / "lake") == [kept]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--by", "ana", "--why", "because"), "at least ten characters"),
        (("--why", WHY), "--by who decides"),
        (("7", "--by", "ana", "--why", WHY), "there is no release 7; expected one from 1 to 2"),
    ],
)
def test_the_command_refuses_bad_input_with_2(
    project: Path, main_in: Callable[..., Any], arguments: tuple[str, ...], said: str
) -> None:
    refused = main_in(project, "promote-champion", *arguments, "--yes")
    assert refused.code == 2
    assert said in refused.err
    assert not (project / "lake" / FILE).exists()


def test_the_command_refuses_a_torn_file_with_4(project: Path, main_in: Callable[..., Any]) -> None:
    (project / "lake" / FILE).write_text('{"number": 1, "by"')
    refused = main_in(project, "promote-champion", "--by", "ana", "--why", WHY, "--yes")
    assert refused.code == 4
    assert f"{FILE}:1: is no promotion" in refused.err
