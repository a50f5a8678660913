"""What users say of results is kept whole, within bounds, and comes out as candidates for the labelled set."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import funnelgate
from pipeline.release.withheld import WithheldList
from pipeline.serve.app import make_app
from pipeline.serve.feedback import (
    Feedback,
    FeedbackFull,
    FeedbackStore,
    kept_feedback,
    picture_path,
    write_candidates,
)
from pipeline.serve.holder import Holder
from pipeline.serve.serve_settings import ServeSettings
from reporting.errors import DataError
from tests.pipeline.http_server import client_of
from tests.pipeline.searchable import encoded, make_library, scene

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
HIDDEN = {-1: WithheldList()}
"""What the server of this module withholds now."""
PICTURE, OTHER, THIRD = (encoded(scene((number, 20, 30, 110))) for number in (1, 2, 3))


def wrong(item: int = 1, **more: Any) -> Feedback:
    return Feedback(verdict="wrong", generation=1, item=item, **more)


def test_a_line_and_its_picture_are_read_as_they_were_said(tmp_path):
    store = FeedbackStore(tmp_path, 10_000)
    kept = store.keep(wrong(note="<é>\n", by="ana"), b"bytes", "g7", NOON)
    (read,) = kept_feedback(tmp_path)
    assert read == kept
    assert (read.note, read.by, read.shown_group, read.at) == ("<é>\n", "ana", "g7", NOON)
    assert read.picture == hashlib.sha256(b"bytes").hexdigest()
    assert picture_path(tmp_path, read.picture).read_bytes() == b"bytes"


def test_days_are_files_by_utc_and_can_be_chosen(tmp_path):
    store = FeedbackStore(tmp_path, 10_000)
    east = dt.timezone(dt.timedelta(hours=9))
    for at in (NOON, dt.datetime(2026, 11, 24, 8, tzinfo=east), NOON + dt.timedelta(days=1)):
        store.keep(wrong(), None, None, at)
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["2026-11-23.jsonl", "2026-11-24.jsonl"]
    assert len(list(kept_feedback(tmp_path, last=NOON.date()))) == 2
    assert len(list(kept_feedback(tmp_path, first=dt.date(2026, 11, 24)))) == 1


def test_the_folder_never_holds_more_than_it_may_even_over_a_restart(tmp_path):
    full = 0
    for number in range(12):
        try:
            FeedbackStore(tmp_path, 2_000).keep(wrong(number), bytes([number]) * 300, None, NOON)
        except FeedbackFull:
            full += 1
    held = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 0 < full < 12
    assert 1_000 < held <= 2_000
    assert len(list(kept_feedback(tmp_path))) == 12 - full


def test_the_same_picture_is_kept_once(tmp_path):
    store = FeedbackStore(tmp_path, 10_000)
    for number in range(3):
        store.keep(wrong(number), b"x" * 3_000, None, NOON)
    assert len([path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]) == 1


def test_half_a_line_of_a_crash_is_left_out_and_cut_off_by_the_next(tmp_path):
    store = FeedbackStore(tmp_path, 10_000)
    first = store.keep(wrong(1), None, None, NOON)
    path = tmp_path / "2026-11-23.jsonl"
    with path.open("ab") as file:
        file.write(b'{"id": "ha')
    assert list(kept_feedback(tmp_path)) == [first]
    second = store.keep(wrong(2), None, None, NOON)
    assert list(kept_feedback(tmp_path)) == [first, second]


def test_a_spoilt_line_is_named(tmp_path):
    FeedbackStore(tmp_path, 10_000).keep(wrong(1), None, None, NOON)
    with (tmp_path / "2026-11-23.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"2026-11-23.jsonl:2"):
        list(kept_feedback(tmp_path))


def keep_some(folder: Path) -> None:
    """Keep feedback on three pictures, of which two end up with a label, and some without a picture."""
    store = FeedbackStore(folder, 1_000_000)
    store.keep(wrong(1), PICTURE, "boot", NOON)
    store.keep(wrong(2, right_group="shoe", category="shoes"), PICTURE, "hat", NOON)
    store.keep(Feedback(verdict="right", generation=1, item=3, category="caps"), OTHER, "cap", NOON)
    store.keep(Feedback(verdict="missing", generation=1, category="caps"), THIRD, None, NOON)
    store.keep(wrong(4), None, "no picture, no query", NOON)


def test_candidates_have_a_row_for_each_picture_with_the_youngest_label(tmp_path):
    keep_some(tmp_path)
    out = io.StringIO()
    assert write_candidates(kept_feedback(tmp_path), out) == (3, 1)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [(row["group"], row["category"]) for row in rows] == [("shoe", "shoes"), ("cap", "caps"), ("", "caps")]
    assert rows[0]["tags"] == "feedback;wrong;shown=boot;shown=hat"
    assert (tmp_path / rows[0]["path"]).read_bytes() == PICTURE


def test_the_labelled_set_is_built_of_candidates_once_a_person_has_filled_them_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep_some(tmp_path / "feedback")
    (tmp_path / "catalog.csv").write_text("image_id,group,category\na,shoe,shoes\nb,cap,caps\n")
    run = CliRunner().invoke(funnelgate.app, ["serve", "feedback", "export", "queries.csv"])
    assert run.exit_code == 0, run.output
    build = ["evaluate", "build-set", "queries.csv", "--root", "feedback", "--catalog", "catalog.csv", "--name", "f"]
    build += ["--out", "sets", "--no-distractors", "a test of two pictures"]
    build += ["--query-domain", "users", "--gallery-domain", "shops"]
    assert "have no label" in str(CliRunner().invoke(funnelgate.app, build).exception)
    text = (tmp_path / "queries.csv").read_text()
    (tmp_path / "queries.csv").write_text(text.replace(",,caps", ",cap,caps"))
    run = CliRunner().invoke(funnelgate.app, build)
    assert run.exit_code == 0, run.output
    assert len(list((tmp_path / "sets").glob("f@*"))) == 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        library = make_library(tmp_path_factory.mktemp("feedback"), patch)
        holder = Holder(Path(library.lake.full("")))
        holder.refresh()
        folder = library.folder / "feedback"
        app = make_app(holder, ServeSettings(feedback=folder, max_bytes=50_000), lambda: HIDDEN[-1])
        with client_of(app) as client:
            yield client, folder


def test_feedback_over_http_is_kept_with_the_product_that_was_shown(site):
    client, folder = site
    picture = base64.b64encode(PICTURE).decode()
    reply = client.post("/feedback", json={"verdict": "wrong", "generation": 1, "item": 4, "picture": picture})
    assert reply.status_code == 201
    kept = next(one for one in kept_feedback(folder) if one.id == reply.json()["id"])
    assert (kept.item, kept.shown_group) == (4, "g4")
    assert picture_path(folder, str(kept.picture)).read_bytes() == PICTURE
    assert 'serve_feedback_total{verdict="wrong"}' in client.get("/metrics").text


def test_feedback_on_a_release_that_is_gone_is_kept_without_its_product(site):
    client, _ = site
    reply = client.post("/feedback", json={"verdict": "wrong", "generation": 99, "item": 4})
    assert (reply.status_code, reply.json()["shown_group"]) == (201, None)


@pytest.mark.parametrize("hidden", [WithheldList(items=frozenset({4})), WithheldList(groups=frozenset({"g4"}))])
def test_the_product_of_an_item_that_is_withheld_by_now_is_not_told(site, monkeypatch, hidden):
    client, _ = site
    monkeypatch.setitem(HIDDEN, -1, hidden)
    reply = client.post("/feedback", json={"verdict": "wrong", "generation": 1, "item": 4})
    assert (reply.status_code, reply.json()["shown_group"]) == (201, None)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"verdict": "bad", "generation": 1, "item": 1}, 422, "bad_value"),
        ({"verdict": "wrong", "generation": 1}, 422, "bad_value"),
        ({"verdict": "wrong", "generation": 10**30, "item": 1}, 422, "bad_value"),
        ({"verdict": "wrong", "generation": 1, "item": 77}, 422, "unknown_item"),
        ({"verdict": "wrong", "generation": 1, "item": 1, "picture": "%%"}, 422, "bad_value"),
        ({"verdict": "wrong", "generation": 1, "item": 1, "picture": "PHN2Zy8+"}, 415, "not_an_image"),
        ({"verdict": "wrong", "generation": 1, "item": 1, "picture": "A" * 70_000}, 413, "too_many_bytes"),
        ({"verdict": "wrong", "generation": 1, "item": 1, "note": "x" * 1001}, 422, "bad_value"),
    ],
)
def test_wrong_feedback_is_refused_and_not_kept(site, body, status, error):
    client, folder = site
    before = len(list(kept_feedback(folder)))
    reply = client.post("/feedback", json=body)
    assert (reply.status_code, reply.json()["error"]) == (status, error)
    assert len(list(kept_feedback(folder))) == before


def test_the_command_lists_what_was_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FeedbackStore(tmp_path / "feedback", 10_000).keep(wrong(1, right_group="shoe"), PICTURE, "boot", NOON)
    ask = ["serve", "feedback", "list"]
    run = CliRunner().invoke(funnelgate.app, [*ask, "--json"])
    assert run.exit_code == 0, run.output
    (one,) = json.loads(run.output)
    assert (one["verdict"], one["item"], one["shown_group"], one["right_group"]) == ("wrong", 1, "boot", "shoe")
    assert CliRunner().invoke(funnelgate.app, [*ask, "--to", "2026-11-22"]).output == "0 in all\n"
