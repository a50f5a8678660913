"""Clicks and quality: from the rows of a file to each picture, as loops over the library add them up."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.evict.places import Places
from pipeline.evict.policy import EvictPolicy, ValueWeights, load_policy
from pipeline.evict.signals import checked_signals, signals_of
from pipeline.evict.stored_of import Facts, stored_of
from pipeline.library_value import signalled
from pipeline.signals_file import newest_signals
from reporting.errors import DataError
from tests.pipeline.evict.live_rows import DAY, Row, live_table

SHA = [hashlib.sha256(bytes([number])).hexdigest() for number in range(8)]
FIGURES = st.one_of(st.none(), st.floats(0, 1))
ROWS = st.lists(st.lists(st.sampled_from("abc"), max_size=3), min_size=1, max_size=6)


def library(groups: list[list[str]]) -> Any:
    """Return pictures whose offers are of these groups; the offer at place k of a picture is (m, k)."""
    return live_table([Row(SHA[number], of, group="own") for number, of in enumerate(groups)])


def table(**columns: list[Any]) -> Any:
    return checked_signals(pa.table(columns), "signals.csv")


def as_dict(found: Any) -> dict[str, float]:
    return dict(zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True))


def naive(reached: dict[str, list[tuple[float | None, float | None]]]) -> tuple[dict[str, float], dict[str, float]]:
    """Return sums of clicks and means of qualities by picture, of those that anything is known of."""
    clicks, quality = {}, {}
    for picture, rows in reached.items():
        counts = [one for one, _ in rows if one is not None]
        scores = [one for _, one in rows if one is not None]
        if counts:
            clicks[picture] = math.fsum(counts)
        if scores:
            quality[picture] = math.fsum(scores) / len(scores)
    return clicks, quality


def same(found: Any, expected: tuple[dict[str, float], dict[str, float]]) -> None:
    for one, wanted in zip(found, expected, strict=True):
        assert as_dict(one) == pytest.approx(wanted)


@settings(max_examples=60)
@given(ROWS, st.dictionaries(st.sampled_from(["a", "b", "c", "own", "elsewhere"]), st.tuples(FIGURES, FIGURES)))
def test_what_is_said_of_a_product_counts_once_for_each_of_its_pictures(
    groups: list[list[str]], said: dict[str, tuple[float | None, float | None]]
) -> None:
    names = list(said)
    found = signals_of(
        table(group=names, clicks=[said[n][0] for n in names], quality=[said[n][1] for n in names]), library(groups)
    )
    reached = defaultdict(list)
    for number, of in enumerate(groups):
        for name in sorted(set(of) or {"own"}):  # a picture without offers is of its own group
            if name in said:
                reached[SHA[number]].append(said[name])
    same(found, naive(reached))


@settings(max_examples=60)
@given(ROWS, st.dictionaries(st.tuples(st.sampled_from("mn"), st.sampled_from("0123")), st.tuples(FIGURES, FIGURES)))
def test_what_is_said_of_an_offer_counts_for_the_picture_that_carries_it(
    groups: list[list[str]], said: dict[tuple[str, str], tuple[float | None, float | None]]
) -> None:
    keys = list(said)
    rows = table(
        merchant=[key[0] for key in keys],
        sku=[key[1] for key in keys],
        clicks=[said[key][0] for key in keys],
        quality=[said[key][1] for key in keys],
    )
    reached = defaultdict(list)
    for number, of in enumerate(groups):
        for place in range(len(of)):
            if ("m", str(place)) in said:
                reached[SHA[number]].append(said["m", str(place)])
    same(signals_of(rows, library(groups)), naive(reached))


def test_what_is_said_of_a_picture_is_taken_as_it_is_and_a_missing_column_says_nothing() -> None:
    found = signals_of(table(picture=SHA[:2], clicks=[7, None]), library([["a"], ["a"]]))
    assert as_dict(found.clicks) == {SHA[0]: 7.0}
    assert found.quality is None
    only = signals_of(table(group=["a"], quality=[0.5]), library([["a"]]))
    assert (only.clicks, as_dict(only.quality)) == (None, {SHA[0]: 0.5})


def test_a_product_named_like_a_picture_of_its_own_is_found_by_the_name_that_the_source_gave_it() -> None:
    found = signals_of(table(group=["picture:x"], clicks=[3]), library([["picture:x"], ["b"]]))
    assert as_dict(found.clicks) == {SHA[0]: 3.0}


def test_no_rows_are_no_clicks_of_anything_and_not_nothing_known() -> None:
    found = signals_of(table(group=pa.array([], pa.string()), clicks=pa.array([], pa.int64())), library([["a"]]))
    assert as_dict(found.clicks) == {}


def test_clicks_order_pictures_of_equal_standing_as_the_value_says() -> None:
    live = library([["a"], ["b"], ["c"]])
    said = signals_of(table(group=["b", "c"], clicks=[1, 7]), live)
    policy = EvictPolicy(value=ValueWeights(freshness=0, clicks=1, quality=0, uniqueness=0))
    stored, _ = stored_of(live, policy, DAY, Facts(clicks=said.clicks))
    by_picture = dict(zip(sorted(SHA[:3]), stored.value.tolist(), strict=True))
    # log(1 + clicks) over that of the most clicked one: log 1, log 2 and log 8 over log 8
    assert [by_picture[sha] for sha in SHA[:3]] == pytest.approx([0, 1 / 3, 1])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"group": ["a", "b"], "clicks": ["3", "-1"]}, r"row 2: clicks is -1.0; expected a number from 0, or an empty"),
        ({"group": ["a"], "clicks": ["many"]}, r"row 1: clicks is 'many'; expected a number from 0"),
        ({"group": ["a"], "clicks": [math.inf]}, "row 1: clicks is inf"),
        ({"group": ["a"], "clicks": ["1e400"]}, "row 1: clicks is inf"),
        ({"group": ["a", "b"], "quality": [0.5, math.nan]}, "row 2: quality is nan; expected a number from 0 to 1"),
        ({"group": ["a"], "quality": ["1.01"]}, "row 1: quality is 1.01; expected a number from 0 to 1"),
        ({"group": ["a"], "quality": [True]}, "column 'quality' is bool; expected numbers"),
        ({"group": ["a", " "], "clicks": [1, 2]}, "row 2: group is ''; expected a name in each row"),
        ({"group": ["a", None], "clicks": [1, 2]}, "row 2: group is None; expected a name"),
        ({"picture": ["ab"], "clicks": [1]}, "row 1: picture is 'ab'; expected the sha256 of a picture"),
        ({"group": ["a", "b", " a"], "clicks": [1, 2, 3]}, "row 3: group 'a' is also in row 1; expected one row"),
        (
            {"merchant": ["m", "m"], "sku": ["1", "1"], "clicks": [1, 2]},
            "row 2: merchant 'm', sku '1' is also in row 1",
        ),
        (
            {"group": ["a"], "sku": ["1"], "clicks": [1]},
            "named by group, sku; expected one of: picture; group; merchant",
        ),
        ({"clicks": [1]}, "named by nothing"),
        ({"merchant": ["m"], "clicks": [1]}, "named by merchant"),
        ({"group": ["a"]}, "neither clicks nor quality"),
        ({"group": ["a"], "click": [1]}, "unknown column 'click'.*clicks"),
    ],
)
def test_a_wrong_value_is_refused_with_file_row_and_column(columns: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(DataError, match=f"signals.csv.*{said}"):
        table(**columns)


def write(folder: Path, name: str, rows: Any) -> bytes:
    path = folder / name
    if path.suffix == ".csv":
        path.write_text(rows, encoding="utf-8")
    else:
        pq.write_table(rows, path)
    return path.read_bytes()


def test_csv_and_parquet_say_the_same_and_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    text = 'merchant,sku,clicks,quality\n"a, b",007,3,0.25\nc,8,,1\n'
    as_text = write(tmp_path, f"{DAY}.csv", text)
    columns = {"merchant": ["a, b", "c"], "sku": ["007", "8"], "clicks": [3, None], "quality": [0.25, 1.0]}
    as_columns = write(tmp_path, f"{DAY}.parquet", pa.table(columns))
    one, other = (newest_signals(tmp_path / f"{{date}}.{kind}", DAY, 0) for kind in ("csv", "parquet"))
    assert one is not None
    assert other is not None
    assert one.table.to_pylist() == other.table.to_pylist()
    assert [found.sha256 for found in (one, other)] == [hashlib.sha256(d).hexdigest() for d in (as_text, as_columns)]


@pytest.mark.parametrize("age", [0, 1, 30])
def test_the_newest_file_counts_and_one_that_is_too_old_or_of_tomorrow_does_not(tmp_path: Path, age: int) -> None:
    for back in (-1, age, age + 3):
        write(tmp_path, f"{DAY - timedelta(days=back)}.csv", f"group,clicks\na,{back + 5}\n")
    found = newest_signals(tmp_path / "{date}.csv", DAY, 30)
    assert found is not None
    assert (found.date, found.table["clicks"].to_pylist()) == (DAY - timedelta(days=age), [age + 5])
    if age:
        assert newest_signals(tmp_path / "{date}.csv", DAY, age - 1) is None


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "0 bytes"),
        ("a.csv", b"group,clicks\na,1,2\n", "cannot be read as .csv"),
        ("a.csv", b"group,clicks\n\xff,1\n", "a.csv"),
        ("a.csv", b"group,clicks\na,x\n", "row 1: clicks is 'x'"),
        ("a.csv", b"group,clicks,clicks\na,1,2\n", "column 'clicks' is there twice"),
        ("a.parquet", b"PAR1 no", "cannot be read as .parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_name(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name.replace("a", str(DAY), 1)
    path.write_bytes(data)
    with pytest.raises(DataError, match=said.replace("a.csv", path.name)):
        newest_signals(tmp_path / f"{{date}}{path.suffix}", DAY, 0)


def test_a_header_alone_says_that_nothing_was_clicked(tmp_path: Path) -> None:
    write(tmp_path, f"{DAY}.csv", "group,clicks\n")
    found = signalled(EvictPolicy(signals=tmp_path / "{date}.csv"), library([["a"]]), DAY)
    assert found is not None
    assert as_dict(found.said.clicks) == {}


def test_what_decided_is_told_with_what_it_knew_of_the_library(tmp_path: Path) -> None:
    data = write(tmp_path, f"{DAY}.csv", f"picture,clicks,quality\n{SHA[0]},3,\n{SHA[7]},4,1\n{SHA[1]},,0.5\n")
    live = library([["a"], ["a"], ["b"]])
    found = signalled(EvictPolicy(signals=tmp_path / "{date}.csv"), live, DAY)
    assert found is not None
    used = found.used(Places(live["picture"]))
    assert (used.with_clicks, used.with_quality) == (1, 1)  # the other picture is not stored
    assert used.version == f"{DAY} {hashlib.sha256(data).hexdigest()[:12]}"
    facts = found.joined(Facts(quality={SHA[2]: 1.0}))
    assert as_dict(facts.quality) == {SHA[7]: 1.0, SHA[1]: 0.5}, "where the file judges, it alone does"


def test_without_a_file_nobody_says_anything(tmp_path: Path) -> None:
    assert signalled(EvictPolicy(), library([["a"]]), DAY) is None
    assert signalled(EvictPolicy(signals=tmp_path / "{date}.csv"), library([["a"]]), DAY) is None


def test_a_policy_file_names_signals_from_its_own_folder(tmp_path: Path) -> None:
    path = tmp_path / "evict.yaml"
    path.write_text("signals: clicks/{date}.parquet\nsignals_max_age_days: 3\n", encoding="utf-8")
    assert load_policy(path).signals == tmp_path / "clicks" / "{date}.parquet"


@pytest.mark.parametrize("pattern", ["clicks.csv", "{date}/clicks.csv", "{date}.jsonl", "{date}"])
def test_a_pattern_without_a_day_or_of_another_kind_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"expected a path with \{date\} in the file's name"):
        EvictPolicy(signals=pattern)  # type: ignore[arg-type]
