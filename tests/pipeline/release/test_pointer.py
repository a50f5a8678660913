"""Publishing: numbers rise, the pointer is always whole, and death at any line loses nothing."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.release.manifest import CategoryIndex, ReleaseDraft
from pipeline.release.pointer import POINTER, current, publish
from reporting.errors import StoreError

ROOT = Path(__file__).parents[3]


def draft(plan: str, *, verdict: str = "v1", sha: str = "a") -> ReleaseDraft:
    index = CategoryIndex(
        model="lite0",
        space_id="lite0/1",
        index_path="merge/shoes.index",
        index_sha256=sha * 64,
        items_path="merge/shoes.parquet",
        items_sha256="b" * 64,
        rows=7,
        nprobe=4,
    )
    return ReleaseDraft(
        created_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        date=dt.date(2026, 3, 1),
        planid=plan,
        verdict_id=verdict,
        categories={"shoes": index},
    )


def files_under(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_nothing_published_is_none(tmp_path):
    assert current(tmp_path) is None
    assert current(tmp_path / "absent") is None


def test_numbers_rise_parents_link_and_current_is_the_last(tmp_path):
    first, second = (publish(tmp_path / "r", draft(plan)) for plan in ("p1", "p2"))
    assert (first.number, first.parent, second.number, second.parent) == (1, None, 2, 1)
    assert current(tmp_path / "r") == second
    assert sorted(files_under(tmp_path / "r")) == [
        ".publishing",
        "CURRENT",
        "releases/000001.json",
        "releases/000002.json",
    ]


def test_the_same_content_twice_is_one_release_and_touches_no_file(tmp_path):
    first = publish(tmp_path, draft("p1"))
    before = files_under(tmp_path)
    later = draft("p1", verdict="v2").model_copy(update={"created_at": dt.datetime(2027, 1, 1, tzinfo=dt.UTC)})
    assert publish(tmp_path, later) == first
    assert files_under(tmp_path) == before
    assert publish(tmp_path, draft("p1", sha="c")).number == 2
    assert publish(tmp_path, draft("p1")).number == 3  # old content that is not current gets a new number


KILLER = """
import os, signal, sys
from itertools import chain
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_pointer import draft
from pipeline.release import pointer

def publish_and_die_at(line, root):
    left = line
    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.startswith(os.path.dirname(pointer.__file__)):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    pointer.publish(root, draft("new"))
    sys.settrace(None)

os.fsync = lambda fd: None  # a killed process loses nothing that the kernel has
line = 0
while True:
    line += 1
    root = Path(sys.argv[1]) / str(line)
    pointer.publish(root, draft("old"))
    child = os.fork()
    if child == 0:
        try:
            publish_and_die_at(line, root)
        except BaseException:
            os._exit(9)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = pointer.current(root)
    again = pointer.publish(root, draft("new"))
    print(os.WIFSIGNALED(status), os.waitstatus_to_exitcode(status), found.planid, found.number, again.number,
          pointer.current(root) == again, flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.mark.slow
def test_sigkill_at_every_line_leaves_old_or_new_and_the_repeat_ends_with_the_same_number(tmp_path):
    script = KILLER.format(root=str(ROOT), tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    killed, last = rows[:-1], rows[-1]
    assert last == ["False", "0", "new", "2", "2", "True"]
    assert len(killed) > 50  # it did die at each line, not once
    assert {row[1] for row in killed} == {"-9"}
    assert {(row[2], row[3]) for row in killed} == {("old", "1"), ("new", "2")}
    assert {row[4] for row in killed} == {"2"}  # a manifest without its pointer is taken up, not doubled
    assert {row[5] for row in killed} == {"True"}
    outcomes = [row[2] for row in killed]
    assert outcomes == sorted(outcomes, reverse=True)  # old, ..., old, new, ..., new: one instant of change


@pytest.mark.parametrize("call", ["fsync", "replace", "link", "open"])
def test_a_disk_that_refuses_at_any_call_leaves_old_or_new_and_says_so(tmp_path, monkeypatch, call):
    real = getattr(os, call)
    refused = 0
    for failing in range(1, 30):
        root = tmp_path / str(failing)
        publish(root, draft("old"))
        left = failing

        def refuse(*args, **options):
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(28, "No space left on device")
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            try:
                publish(root, draft("new"))
            except StoreError as error:
                refused += 1
                assert "plan new failed: [Errno 28] No space left on device" in str(error)  # noqa: PT017
        found = current(root)
        assert found is not None
        assert found.planid in {"old", "new"}
        assert publish(root, draft("new")).number == 2
        if left > 0:
            break
    else:
        pytest.fail("the fault was never reached last")
    assert refused >= 1


def test_an_orphan_of_another_plan_is_left_alone_and_its_number_is_not_used_again(tmp_path, monkeypatch):
    publish(tmp_path, draft("old"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
        with pytest.raises(StoreError, match="I/O error"):
            publish(tmp_path, draft("orphan"))
    released = publish(tmp_path, draft("new"))
    assert (released.number, released.parent) == (3, 1)


@pytest.mark.slow
def test_publishers_at_once_never_share_a_number_and_the_pointer_ends_on_the_last(tmp_path):
    script = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2:4]\n"
        "from test_pointer import draft; from pipeline.release.pointer import publish\n"
        "print([publish(Path(sys.argv[1]), draft(sys.argv[4] + str(n))).number for n in range(10)])"
    )

    def one(name: str) -> list[int]:
        command = [sys.executable, "-c", script, str(tmp_path), str(ROOT), str(Path(__file__).parent), name]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        numbers: list[int] = json.loads(done.stdout)
        return numbers

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(one, "abcd"))
    assert sorted(chain.from_iterable(taken)) == list(range(1, 41))
    assert all(numbers == sorted(numbers) for numbers in taken)
    last = current(tmp_path)
    assert last is not None
    assert last.number == 40
    every = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "releases").iterdir())]
    assert [release["parent"] for release in every] == [None, *range(1, 40)]


def test_a_publisher_holds_the_lock_from_reading_the_pointer_to_moving_it(tmp_path, monkeypatch):
    """Two that read the same parent would let the pointer go back to the slower one's lower number."""
    tried: list[str] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(*args):
            with (tmp_path / ".publishing").open() as other, pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tried.append(name)
            return real(*args)

        monkeypatch.setattr(os, name, call)

    watched("link")
    watched("replace")
    publish(tmp_path, draft("p1"))
    assert tried == ["link", "replace"]
    with (tmp_path / ".publishing").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again


def test_a_number_taken_behind_the_lock_is_stepped_over(tmp_path, monkeypatch):
    publish(tmp_path, draft("old"))
    real = os.link

    def steal_first(source, target):
        if Path(target).name == "000002.json":
            Path(target).write_bytes(b"{}")  # another machine was faster
        return real(source, target)

    monkeypatch.setattr(os, "link", steal_first)
    assert publish(tmp_path, draft("new")).number == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (POINTER, b"", "CURRENT: is no release pointer"),
        (POINTER, b'{"number": 1}', "CURRENT: is no release pointer"),
        (POINTER, json.dumps({"number": 4, "sha256": "0" * 64}).encode(), "release 4 is not there"),
        (POINTER, json.dumps({"number": 1, "sha256": "0" * 64}).encode(), "manifests never change"),
        ("releases/000001.json", b"{", "is no release manifest"),
    ],
)
def test_damage_is_named_and_never_served(tmp_path, name, content, message):
    publish(tmp_path, draft("p1"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=message):
        current(tmp_path)


def test_a_changed_manifest_is_noticed(tmp_path):
    publish(tmp_path, draft("p1"))
    path = tmp_path / "releases" / "000001.json"
    path.write_text(path.read_text().replace('"nprobe": 4', '"nprobe": 5'))
    with pytest.raises(StoreError, match="holds release 1 with sha256"):
        current(tmp_path)


def test_a_draft_without_category_or_with_a_short_hash_or_naive_time_is_refused():
    good = draft("p1").model_dump()
    for field, value in [("categories", {}), ("planid", ""), ("created_at", dt.datetime(2026, 1, 1))]:  # noqa: DTZ001
        with pytest.raises(ValidationError, match=field):
            ReleaseDraft(**{**good, field: value})
    with pytest.raises(ValidationError, match="index_sha256"):
        draft("p1", sha="ab")
