"""The study: recall by an independent count, every kind of index measured, refusals as facts, a page by itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import cli_index
from pipeline.index.study import Contender, Point, StudySettings, Truth, default_codecs, findings, hold_out, run_study
from pipeline.index.study_page import plot_of, rows_of, write_page
from reporting.errors import DataError, UsageError

VOID = {"meta", "path"}


def unit(rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """700 vectors, 20 queries; pq2x4 can be trained on that, pq2 cannot."""
    chosen = StudySettings(codecs=("flat", "sq8", "pq2x4", "pq2"), nlist=8, hnsw_m=8, seconds=0.001)
    folder = tmp_path_factory.mktemp("study")
    ids = np.random.default_rng(1).permutation(700).astype(np.int64) * 10
    found = run_study(ids, unit(700), unit(20, seed=9), chosen, folder=folder, vectors_sha256="a" * 64)
    assert list(folder.iterdir()) == []
    return found


@settings(max_examples=50)
@given(st.data())
def test_recall_is_what_a_count_by_hand_over_exact_scores_gives(data):
    rows, k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    # small whole numbers: many exact ties, and float32 inner products without rounding
    vectors = np.array(data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=rows, max_size=rows)), "f4")
    queries = np.array(data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=3)), "f4")
    ids = np.array(data.draw(st.permutations(range(50, 50 + rows))), np.int64)
    at_most = min(k, rows)
    drawn = st.lists(st.sampled_from([-1, 7, *ids.tolist()]), min_size=k, max_size=k)
    found = np.array([data.draw(drawn) for _ in queries], np.int64)
    shares = []
    for query, row in zip(queries, found.tolist(), strict=True):
        scores = {int(one): float(vector @ query) for one, vector in zip(ids, vectors, strict=True)}
        least = sorted(scores.values(), reverse=True)[at_most - 1]
        shares.append(sum(scores.get(one, -99) >= least for one in set(row[:at_most])) / at_most)
    assert Truth(ids, vectors, queries, k).recall_of(found) == pytest.approx(np.mean(shares))


def test_ten_copies_of_the_nearest_are_one_found_of_ten():
    ids, vectors = np.arange(100), unit(100)
    truth = Truth(ids, vectors, vectors[:1], 10)
    assert truth.recall_of(np.zeros((1, 10), np.int64)) == 0.1


def test_what_is_held_out_is_no_longer_among_the_vectors():
    ids, vectors = np.arange(50), unit(50)
    left, base, queries = hold_out(ids, vectors, 10, seed=3)
    assert (len(left), len(queries)) == (40, 10)
    np.testing.assert_array_equal(base, vectors[left])
    assert {row.tobytes() for row in base} | {row.tobytes() for row in queries} == {row.tobytes() for row in vectors}
    for count in (0, 26):
        with pytest.raises(UsageError, match="cannot be held out"):
            hold_out(ids, vectors, count, seed=3)


def test_every_kind_is_measured_and_what_cannot_be_is_told(study):
    names = {one.name: one for one in study.contenders}
    assert list(names) == ["Flat (exact)", "IVF8 flat", "IVF8 sq8", "IVF8 pq2x4", "IVF8 pq2", "HNSW8 flat"]
    assert names["Flat (exact)"].points[0].recall == 1.0
    assert names["IVF8 flat"].points[-1] == names["IVF8 flat"].points[-1].model_copy(update={"recall": 1.0})
    assert [point.setting for point in names["IVF8 sq8"].points][:2] == [1, 2]
    assert "too few for codec pq2, which asks for 9984" in str(names["IVF8 pq2"].skipped)
    sizes = [names[name].bytes_per_vector for name in ("HNSW8 flat", "IVF8 flat", "IVF8 sq8", "IVF8 pq2x4")]
    assert sizes == sorted(sizes, reverse=True)
    assert 8 * 4 + 8 < names["IVF8 flat"].bytes_per_vector < 8 * 4 + 8 + 3
    for one in study.contenders:
        measured = not one.skipped
        assert (one.build_seconds is not None) is measured
        assert all(0 <= point.recall <= 1 and point.queries_per_second > 0 for point in one.points)
        assert (one.merge_seconds is None) is (one.delete_seconds is None) is (one.family == "hnsw" or not measured)


def test_hnsw_refuses_to_merge_and_delete_in_faiss_own_words(study):
    graph = study.contenders[-1]
    assert graph.no_merge == "check_compatible_for_merge() not implemented"
    assert graph.no_delete == "remove_ids not implemented for this type of index"
    assert any(line.startswith("HNSW8 flat: no merge and no delete; a new day means") for line in findings(study))


def test_the_findings_name_the_fastest_and_the_smallest_that_reach_the_target(study):
    def one(name: str, size: float, *points: tuple[float, float]) -> Contender:
        made = tuple(Point(setting=at, recall=r, queries_per_second=q) for at, (r, q) in enumerate(points, 1))
        return Contender(name=name, family="ivf", codec="flat", bytes_per_vector=size, points=made)

    told = study.model_copy(
        update={
            "contenders": (
                one("A", 500, (0.5, 9000), (0.96, 3000), (0.99, 100)),
                one("B", 20, (0.9, 8000), (0.95, 1000)),
                one("C", 10, (0.8, 9999)),
            )
        }
    )
    assert findings(told) == [
        "At recall@10 of at least 0.95, A is the fastest: 3,000 queries a second and core, 500 bytes a vector.",
        "B is the smallest: 20 bytes a vector, 1,000 queries a second and core.",
        "C does not get there: at most 0.800.",
    ]
    none = told.model_copy(update={"contenders": told.contenders[2:]})
    assert findings(none) == ["None reaches recall@10 0.95; C comes nearest with 0.800."]


def test_the_plot_puts_more_recall_to_the_right_and_more_speed_up(study):
    plot = plot_of(study)
    for line, one in zip(plot.lines, (one for one in study.contenders if one.points), strict=True):
        for dot, point in zip(line.dots, one.points, strict=True):
            assert 0 <= dot.x <= 100
            assert 0 <= dot.y <= 100
            assert f"{point.recall:.4f}" in dot.said
        pairs = sorted(zip((point.recall for point in one.points), line.dots, strict=True))
        assert [dot.x for _, dot in pairs] == sorted(dot.x for dot in line.dots)
    assert [at for at, _ in plot.y_ticks] == sorted((at for at, _ in plot.y_ticks), reverse=True)
    assert [at for at, *_ in plot.x_ticks] == sorted(at for at, *_ in plot.x_ticks)
    assert [row.name for row in rows_of(study)] == [line.name for line in plot.lines]


class Tags(HTMLParser):
    """Every tag is closed by its own, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_needs_no_other_file_and_a_name_is_no_markup(study, tmp_path):
    write_page(study, "<script>alert(1)</script>.npy", tmp_path / "deep" / "study.html")
    text = (tmp_path / "deep" / "study.html").read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    assert parser.loads == []
    assert "<script" not in text
    assert not re.search(r"https?://|@import|url\(", text)
    for one in study.contenders:
        assert one.name in text
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "study.html"]


def test_the_default_codecs_fit_the_dimensions():
    for dim in (1, 7, 96, 128, 512, 1280):
        parts = int(default_codecs(dim)[2][2:])
        assert dim % parts == 0
        assert parts == 1 or (dim // parts >= 4 and parts <= 64)


def test_too_few_vectors_and_queries_of_another_dimension_are_refused(tmp_path):
    chosen = StudySettings(codecs=("flat",))
    for rows, queries in ((3, unit(1)), (9, unit(1, dim=5)), (9, unit(0))):
        with pytest.raises(DataError, match="expected at least 4 vectors"):
            run_study(np.arange(rows), unit(rows), queries, chosen, folder=tmp_path, vectors_sha256="a" * 64)


def test_the_command_prints_the_table_and_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", unit(300) * 3)
    command = typer.main.get_command(cli_index.app)
    base = ["study", "v.npy", "--normalise", "--held-out", "20", "--codecs", "sq8", "--nlist", "4", "--hnsw", "0"]
    command([*base, "--html", "s.html"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "280 vectors of 8 dimensions, 20 queries, in 4 parts" in printed
    assert re.search(r"^IVF4 sq8 +\d\.\d{3}", printed, re.MULTILINE)
    assert "HNSW" not in printed
    assert Path("s.html").is_file()
    command([*base, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["contenders"]] == ["Flat (exact)", "IVF4 sq8"]
