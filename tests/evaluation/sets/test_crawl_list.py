"""The crawl list: exactly the queries that found nothing, each with its reason, in every file form."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from evaluation.answers import Hit, Status, answers_of
from evaluation.crawl_list import Wanted, crawl_list, write_crawl_list
from evaluation.evalset import EvalSet, Label
from evaluation.measure import measure
from evaluation.system import System, View
from reporting.errors import DataError, StoreError
from tests.evaluation.small_set import image, query, small_set


@pytest.fixture(scope="module")
def evalset() -> EvalSet:
    names = ("found", "late", "missed", "empty", "silent", "gone")
    return small_set(
        queries=tuple(query(name, path=f"{name}.jpg", cluster=f"g-{name}") for name in names),
        labels=(*(Label(query_id=name, group_id=f"g-{name}") for name in names), Label(query_id="gone", group_id="g2")),
        catalog=(
            *(image(f"i-{name}", f"g-{name}") for name in names if name != "gone"),
            image("i-gone", "g-gone", takedown_day=date(2026, 1, 1)),
            image("i2", "g2", takedown_day=date(2026, 1, 1)),
            image("d1", "x", role="noise"),
        ),
    )


@pytest.fixture(scope="module")
def rows(evalset: EvalSet) -> list[Wanted]:
    others = [Hit("d1", 0.25)]
    hits = {
        "found": [Hit("i-found", 0.1)],
        "late": [Hit(f"orphan-{n}", 0.01 * n) for n in range(40)] + [Hit("i-late", 0.9)],
        "missed": [*others, Hit("i-found", 0.5)],
        "empty": [],
        "gone": others,
    }
    asked = [one.query_id for one in evalset.queries]
    answers = answers_of(asked, hits, statuses={"silent": Status.TIMEOUT}, errors={"silent": "10 s"})
    return crawl_list(evalset, measure(System("one", {View.SERVED: answers}), evalset))


def test_the_list_holds_what_found_nothing_with_the_reason_and_what_came_instead(rows):
    assert [(row.query_id, row.reason.value, row.findable, row.returned, row.nearest) for row in rows] == [
        ("empty", "empty", 1, 0, ""),
        ("gone", "nothing_live", 0, 1, "d1"),
        ("missed", "not_found", 1, 2, "d1"),
        ("silent", "unanswered", 1, 0, ""),
    ]
    assert (rows[1].groups, rows[1].path, rows[1].category) == (("g-gone", "g2"), "gone.jpg", "shoes")
    assert [row.distance for row in rows] == [None, 0.25, 0.25, None]


def test_csv_and_parquet_hold_the_same_rows_for_a_crawler(rows, tmp_path):
    import pyarrow.parquet as pq

    table = pq.read_table(write_crawl_list(rows, tmp_path / "new" / "wanted.parquet"))
    with write_crawl_list(rows, tmp_path / "wanted.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert (
        [row["groups"] for row in read]
        == table["groups"].to_pylist()
        == ["g-empty", "g-gone;g2", "g-missed", "g-silent"]
    )
    assert [row["distance"] for row in read] == ["", "0.25", "0.25", ""]
    assert table["distance"].to_pylist() == [None, 0.25, 0.25, None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "wanted.csv"]


def test_an_empty_list_is_a_file_with_a_header(tmp_path):
    assert write_crawl_list([], tmp_path / "wanted.csv").read_text().splitlines() == [
        ",".join(f'"{name}"' for name in Wanted.model_fields)
    ]


def test_another_sets_measurement_and_an_unwritable_place_are_refused(evalset, tmp_path: Path):
    other = small_set()
    answers = answers_of(["q1", "q2"], {"q1": [Hit("i1", 0.1)]})
    with pytest.raises(DataError, match=r"one: was measured on small@.*, not on small@"):
        crawl_list(evalset, measure(System("one", {View.SERVED: answers}), other))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot be written"):
        write_crawl_list([], tmp_path / "file" / "wanted.csv")
