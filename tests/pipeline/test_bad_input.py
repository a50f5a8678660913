"""Bad input: each kind is refused, or booked under its reason, with a message that says what and where."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.run_lock import RunLock
from reporting.errors import EXIT_INFRASTRUCTURE, EXIT_USAGE, UsageError
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, Project, new_project, plan_day, row, run_here, store_of, work_off

Main = Callable[..., Ended]
HEADER = "path,sku,merchant,category,title,listed"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path / "project")


def collect_error(project: Project) -> str:
    """Run the day in this process and return what collect said; a final error is tried once."""
    run_here(project, DAY_1)
    with store_of(project) as store:
        (record,) = store.records(RecordQuery(tasks=("collect",)))
    assert record.state is State.FAILED
    assert record.attempt == 1
    assert record.error is not None
    return f"{record.error.error_class}: {record.error.message}"


def test_a_missing_manifest(project: Project, main_in: Main) -> None:
    ended = main_in(project.folder, "run", "--source", "nowhere.csv", "--date", str(DAY_1))
    assert ended.code == EXIT_USAGE
    assert "nowhere.csv: the source manifest of 2026-11-01 cannot be read: No such file or directory" in ended.err
    assert "Traceback" not in ended.err


def test_a_manifest_without_permission(project: Project, main_in: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    project.manifest(DAY_1, [])
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:  # root may read everything, so that a mode of 000 proves nothing
        if path.suffix == ".csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    ended = main_in(project.folder, "run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1))
    assert ended.code == EXIT_USAGE
    assert f"{DAY_1}.csv: the source manifest of {DAY_1} cannot be read: Permission denied; check --source" in ended.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the file is empty (0 bytes); expected a header"),
        (f"{HEADER}\na.png,s,m,c,t,true\nb.png,s2,m\n", ":3: 3 cells found; expected 6 as in the header"),
        (f"{HEADER}\na.png,s,m,c,t,maybe\n", ":2: listed is 'maybe'; expected true, false, 1, 0, yes or no"),
        (f"{HEADER},colour\na.png,s,m,c,t,true,red\n", ":1: unknown column 'colour'"),
        (f"{HEADER.replace('merchant', 'merchnat')}\n", ":1: unknown column 'merchnat'; did you mean merchant?"),
        (
            f"{HEADER}\na.png,s,m,red,t,true\nb.png,s,m,green,t,true\n",
            ":3: sku 's' of merchant 'm' has category 'green', but 'red' at line 2; expected one category",
        ),
        (
            f"{HEADER},group\na.png,s,m,red,t,true,one\nb.png,s,m,red,t,true,two\n",
            ":3: sku 's' of merchant 'm' has group 'two', but 'one' at line 2; expected one group",
        ),
    ],
    ids=["empty", "short line", "bad value", "unknown column", "misspelt", "sku in two categories", "in two groups"],
)
def test_a_malformed_manifest_names_file_and_line(project: Project, text: str, message: str) -> None:
    path = project.folder / f"{DAY_1}.csv"
    path.write_text(text)
    assert collect_error(project).startswith(f"DataError: {path}{message}")


@pytest.mark.slow
def test_a_malformed_manifest_ends_the_command_with_2_and_its_message(project: Project) -> None:
    (project.folder / "bad.csv").write_text(f"{HEADER}\na.png,s,m,c,t,[/nonsense]\n")
    done = project.call("run", "--source", "bad.csv", "--date", str(DAY_1), "--workers", "1")
    assert done.returncode == EXIT_USAGE
    said = " ".join((done.stdout + done.stderr).split())
    assert (
        f"{project.folder}/bad.csv:2: listed is '[/nonsense]'; expected true, false" in said
    )  # no markup, in one piece
    assert "mend the cause, then run the same command again" in said
    assert "Traceback" not in said


def test_a_manifest_that_changed_since_the_plan_was_made(project: Project) -> None:
    path = project.manifest(DAY_1, [row(project.drawn(1), "s1")])
    with project.place() as place:
        plan_day(place, DAY_1)
    path.write_text(path.read_text() + "late.png,s2,acme,red,t,true,,\n")
    with project.place() as place, pytest.raises(UsageError, match="has already been planned"):
        plan_day(place, DAY_1)
    with store_of(project) as store:
        (plan,) = store.plans()
    with project.place() as place:
        work_off(place, plan)
        (record,) = place.store.records(RecordQuery())
    assert record.error is not None
    assert f"{path}: the manifest has changed since plan daily-20261101 was made" in record.error.message


def bomb(side: int) -> bytes:
    """Return a PNG of 1 bit grey whose header says side x side, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_of_many_scans() -> bytes:
    """Return a small picture that would be decoded two hundred times over."""
    buffer = BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 200 + data[-2:]


def test_bad_pictures_are_dropped_each_under_its_reason(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project.folder / "pictures"
    rows = [row(project.drawn(number), f"s{number}") for number in range(3)]
    (folder / "bomb.png").write_bytes(bomb(32_000))  # 1.02 G pixels, 1 GB as grey
    (folder / "scans.jpg").write_bytes(jpeg_of_many_scans())
    (folder / "sparse.bin").write_bytes(b"")
    os.truncate(folder / "sparse.bin", 30_000_000)
    (folder / "secret.png").write_bytes((folder / "0.png").read_bytes())
    rows += [
        row(f"pictures/{name}", name) for name in ("bomb.png", "scans.jpg", "sparse.bin", "secret.png", "gone.png")
    ]
    rows.append(row("pictures", "a-folder"))
    project.manifest(DAY_1, rows)
    real = os.open

    def open_(path: Any, *rest: Any, **options: Any) -> int:
        if str(path).endswith("secret.png"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", open_)
    run_here(project, DAY_1)
    with store_of(project) as store:
        (record,) = store.records(RecordQuery(tasks=("download",)))
    assert (record.state, record.input, record.output) == (State.SUCCEEDED, 9, 3)
    assert record.dropped == {
        "dead_link": 1,
        "no_permission": 1,
        "refused_address": 1,
        "too_large": 1,
        "too_many_pixels": 2,
    }


def test_an_unknown_key_in_the_settings(project: Project, main_in: Main) -> None:
    path = project.folder / "funnelgate.yaml"
    path.write_text("run:\n  wrokers: 3\n")
    ended = main_in(project.folder, "plan", "list")
    assert ended.code == EXIT_USAGE
    assert "funnelgate.yaml:2" in ended.err
    assert "wrokers" in ended.err
    assert "workers" in ended.err


def test_an_unknown_key_in_the_environment(project: Project, main_in: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNNELGATE_RUN__WROKERS", "3")
    ended = main_in(project.folder, "plan", "list")
    assert ended.code == EXIT_USAGE
    assert "FUNNELGATE_RUN__WROKERS: unknown key run.wrokers; did you mean workers?" in ended.err


def test_an_unknown_key_and_an_unknown_setting_in_the_task_graph(project: Project, main_in: Main) -> None:
    path = project.folder / "pipeline.yaml"
    before = path.read_text()
    path.write_text(before.replace("unit_in: row", "unit_inn: row", 1))
    ended = main_in(project.folder, "plan", "stale")
    assert ended.code == EXIT_USAGE
    line = before[: before.index("unit_in: row")].count("\n") + 1
    assert f"pipeline.yaml:{line}: " in ended.err
    assert "unit_inn" in ended.err
    path.write_text(before)
    project.configure(dedup={"max_distence": 2})
    project.manifest(DAY_1, [])
    ended = main_in(project.folder, "run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1))
    assert ended.code == EXIT_USAGE
    assert "tasks.dedup.settings.max_distence" in ended.err
    assert "known settings: max_distance, window_days" in ended.err


def test_a_date_in_the_future(project: Project, main_in: Main) -> None:
    project.manifest(DAY_1, [])
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    ended = main_in(project.folder, "run", "--source", f"{DAY_1}.csv", "--date", str(day))
    assert ended.code == EXIT_USAGE
    assert f"{day} is in the future" in ended.err
    assert "give a day that has come" in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --date DAY, or both --from DAY and --to DAY"),
        (["--date", "1.11.2026"], "'1.11.2026' is no day; write it YYYY-MM-DD"),
        (["--from", "2026-11-03", "--to", "2026-11-01"], "--to 2026-11-01 is before --from 2026-11-03; swap them"),
        (["--date", "2026-11-01", "--to", "2026-11-02"], "give either --date DAY"),
        (["--date", "2026-11-01", "--kind", "re-run"], "--kind 're-run': no such kind of plan; did you mean rerun?"),
        (["--date", "2026-11-01"], "2026-11-01 has no plan and no source; give --source MANIFEST"),
    ],
)
def test_options_that_make_no_sense(project: Project, main_in: Main, options: list[str], message: str) -> None:
    ended = main_in(project.folder, "run", *options)
    assert ended.code == EXIT_USAGE
    assert message in ended.err


def test_two_runs_of_one_plan_at_once(project: Project, main_in: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    project.manifest(DAY_1, [row(project.drawn(1), "s1")])
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        first = RunLock(place.store, [plan.planid])
        # The second run is another process: here it only says so.
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.run_lock._owner", lambda: "elsewhere/1/1")
            ended = main_in(project.folder, "run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1))
        assert ended.code == EXIT_USAGE
        assert f"plan {plan.planid} is being run by process {os.getpid()}" in ended.err
        assert "wait for it, or stop it and run again" in ended.err
        first.release()
        assert place.store.records(RecordQuery()) == []


def test_the_lock_of_a_dead_run_is_taken_over_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with store_of(project) as store:
        with monkeypatch.context() as patch:
            host = os.uname().nodename
            patch.setattr("pipeline.run_lock._owner", lambda: f"{host}/{2**22 - 1}/12345")
            RunLock(store, ["p"])
        mine = RunLock(store, ["p"])
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.run_lock._owner", lambda: "elsewhere/1/1")
            with pytest.raises(UsageError, match="is being run by process"):
                RunLock(store, ["p"])
            mine.release()
            RunLock(store, ["p"])


def test_the_lock_of_a_silent_run_elsewhere_ends_by_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("pipeline.run_lock.time.time", lambda: now)
    with store_of(project) as store:
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.run_lock._owner", lambda: "elsewhere/1/1")
            RunLock(store, ["p", "q"])
        with pytest.raises(UsageError):
            RunLock(store, ["q"])
        now += 16
        RunLock(store, ["q"])


def test_a_store_that_cannot_be_made(project: Project, main_in: Main) -> None:
    (project.folder / "state").write_text("a file stands where the folder should be")
    (project.folder / "funnelgate.yaml").write_text("log:\n  path: null\n")
    ended = main_in(project.folder, "plan", "list")
    assert ended.code == EXIT_INFRASTRUCTURE
    assert "state: the store's folder cannot be made" in ended.err


def test_search_without_a_release_or_with_no_picture(project: Project, main_in: Main) -> None:
    project.drawn(1)
    ended = main_in(project.folder, "search", "pictures/1.png")
    assert ended.code == EXIT_USAGE
    assert "nothing has been released yet; run a day to its end first" in ended.err
    ended = main_in(project.folder, "search", "pictures/none.png")
    assert ended.code == EXIT_USAGE
    assert "pictures/none.png: the query picture cannot be read: No such file or directory" in ended.err
