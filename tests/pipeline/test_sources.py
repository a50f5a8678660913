"""The source manifest: three formats read alike, every fault named with its line, duplicates kept out."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline import source_rows
from pipeline.sources import SOURCE_SCHEMA, DuplicateRow, item_id, read_source
from reporting.errors import DataError, StoreError

COLUMNS = ["path", "sku", "merchant", "category", "title", "listed"]
HEADER = ",".join(COLUMNS)


def row(number: int, **changes: str) -> dict[str, str]:
    return {
        "path": f"pictures/{number}.jpg",
        "sku": f"s{number}",
        "merchant": "acme",
        "category": "shoes",
        "title": f"Shoe {number}",
        "listed": "true",
        **changes,
    }


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def write_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[Path, list[dict[str, str]]], None]] = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}
# The line the first row stands on: after a header in CSV.
FIRST_LINE = {".csv": 2, ".jsonl": 1, ".parquet": 1}
each_format = pytest.mark.parametrize("ending", list(WRITERS))


def written(folder: Path, ending: str, rows: list[dict[str, str]]) -> Path:
    path = folder / f"day{ending}"
    WRITERS[ending](path, rows)
    return path


def text_file(folder: Path, text: str | bytes, name: str = "day.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path) -> str:
    """Return the message of the refusal, with the folder cut off."""
    with pytest.raises(DataError) as caught:
        read_source(path)
    return str(caught.value).replace(f"{path.parent}/", "")


# Accepting


@each_format
def test_each_format_gives_the_same_rows_with_their_own_lines(tmp_path, ending):
    rows = [row(1, listed="yes"), row(2, listed="0", title='A, "quoted"\ntitle'), row(3, listed="False")]
    source = read_source(written(tmp_path, ending, rows))
    assert source.rows.schema == SOURCE_SCHEMA
    lines = [2, 3, 5] if ending == ".csv" else [1, 2, 3]
    assert source.rows.to_pylist() == [
        {
            "item": item_id("acme", f"s{n}", f"pictures/{n}.jpg"),
            "location": f"{tmp_path}/pictures/{n}.jpg",
            "kind": "path",
            "sku": f"s{n}",
            "merchant": "acme",
            "category": "shoes",
            "title": rows[n - 1]["title"],
            "listed": n == 1,
            "strategy": "directed",
            "group": f"acme/s{n}",
            "line": lines[n - 1],
        }
        for n in (1, 2, 3)
    ]
    assert source.duplicates == ()
    assert [one.line for one in source.iter_rows()] == lines


@each_format
def test_the_digest_is_the_sha256_of_the_file(tmp_path, ending):
    path = written(tmp_path, ending, [row(n) for n in range(100)])
    assert read_source(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


@each_format
def test_optional_columns_are_taken_and_empty_ones_have_their_defaults(tmp_path, ending):
    rows = [row(1, strategy="replay", group="g1"), row(2, strategy="", group="")]
    table = read_source(written(tmp_path, ending, rows)).rows
    assert table.select(["strategy", "group"]).to_pylist() == [
        {"strategy": "replay", "group": "g1"},
        {"strategy": "directed", "group": "acme/s2"},
    ]


@given(st.text(), st.text(), st.text())
@example("m", "s", "l")
def test_the_item_id_is_xxh128_of_the_parts_joined_by_a_unit_separator(merchant, sku, location):
    streamed = xxhash.xxh3_128()
    for number, part in enumerate((merchant, sku, location)):
        streamed.update(b"\x1f" if number else b"")
        streamed.update(part.encode())
    found = item_id(merchant, sku, location)
    assert (found, len(found)) == (streamed.hexdigest(), 32)


def test_the_item_id_is_of_the_location_as_written_so_that_it_is_equal_on_every_machine(tmp_path):
    found = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        found.add(read_source(written(tmp_path / name, ".csv", [row(1)])).rows["item"][0].as_py())
    assert found == {item_id("acme", "s1", "pictures/1.jpg")}


def test_absolute_paths_and_urls_stay_as_written(tmp_path):
    path = read_source(written(tmp_path, ".csv", [row(1, path="/srv/a.jpg")]))
    assert path.rows["location"].to_pylist() == ["/srv/a.jpg"]
    one = row(1)
    del one["path"]
    url = read_source(written(tmp_path, ".jsonl", [{"url": "https://a.example/b c.jpg", **one}]))
    assert url.rows.select(["location", "kind"]).to_pylist() == [
        {"location": "https://a.example/b c.jpg", "kind": "url"}
    ]


def test_byte_order_mark_blank_lines_windows_line_ends_and_padding_are_tolerated(tmp_path):
    text = f'\ufeff{HEADER}\r\n\r\n a.jpg , s1,acme ,shoes,"two\r\nlines",TRUE\r\nb.jpg,s2,acme,,,no'
    table = read_source(text_file(tmp_path, text)).rows
    assert table.select(["sku", "merchant", "category", "title", "listed", "line"]).to_pylist() == [
        {"sku": "s1", "merchant": "acme", "category": "shoes", "title": "two\r\nlines", "listed": True, "line": 3},
        {"sku": "s2", "merchant": "acme", "category": "", "title": "", "listed": False, "line": 5},
    ]
    assert table["location"][0].as_py() == f"{tmp_path}/a.jpg"


def test_json_and_parquet_may_hold_whole_numbers_booleans_and_nulls(tmp_path):
    one = {**row(1), "sku": 17, "listed": True, "title": None}
    text_file(tmp_path, json.dumps(one) + "\n", "day.jsonl")
    pq.write_table(pa.Table.from_pylist([one]), tmp_path / "day.parquet")
    for name in ("day.jsonl", "day.parquet"):
        (found,) = read_source(tmp_path / name).iter_rows()
        assert (found.sku, found.listed, found.title) == ("17", True, ""), name


@pytest.mark.parametrize(("name", "text"), [("day.csv", HEADER), ("day.csv", HEADER + "\n"), ("day.jsonl", "\n")])
def test_a_file_without_rows_is_an_empty_day(tmp_path, name, text):
    source = read_source(text_file(tmp_path, text, name))
    assert (source.rows.num_rows, source.rows.schema, source.duplicates) == (0, SOURCE_SCHEMA, ())


def test_a_parquet_file_without_rows_is_an_empty_day(tmp_path):
    pq.write_table(pa.Table.from_pylist([row(1)]).slice(0, 0), tmp_path / "day.parquet")
    assert read_source(tmp_path / "day.parquet").rows.num_rows == 0


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12")), max_size=30), st.integers(1, 7))
def test_rows_and_duplicates_together_are_the_file_whatever_the_batches(tmp_path, keys, batch_rows):
    """Oracle: a dictionary over the lines."""
    first: dict[tuple[str, str], int] = {}
    repeated = []
    for line, key in enumerate(keys, start=2):
        if key in first:
            repeated.append(DuplicateRow(item_id("m", *key), line, first[key]))
        first.setdefault(key, line)
    buffer = io.StringIO()
    csv.writer(buffer).writerows([COLUMNS, *([path, sku, "m", "c", "t", "1"] for sku, path in keys)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_rows, "BATCH_ROWS", batch_rows)
        source = read_source(text_file(tmp_path, buffer.getvalue()))
    assert source.rows["line"].to_pylist() == list(first.values())
    assert list(source.duplicates) == repeated


# Refusing


@each_format
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"listed": "maybe"}, "listed is 'maybe'; expected true, false, 1, 0, yes or no"),
        ({"listed": ""}, "listed is ''; expected true"),
        ({"sku": " "}, "sku is empty; expected a value"),
        ({"merchant": ""}, "merchant is empty; expected a value"),
        ({"path": ""}, "path is empty; expected a value"),
        ({"strategy": "directd"}, "unknown strategy 'directd'; did you mean directed?"),
        ({"sku": "a\x1fb"}, "sku is 'a\\x1fb'; expected no control characters"),
        ({"path": "a\x00b"}, "path is 'a\\x00b'; expected no control characters"),
        ({"merchant": "a/b"}, "merchant is 'a/b' and group is empty; expected no '/' in it then"),
    ],
)
def test_a_bad_value_is_refused_with_its_line_and_the_remedy(tmp_path, ending, changes, message):
    rows = [row(n, strategy="", group="") for n in range(5)]
    rows[3].update(changes)
    expected = f"day{ending}:{FIRST_LINE[ending] + 3}: {message}"
    assert refusal(written(tmp_path, ending, rows)).startswith(expected)


def test_of_several_bad_lines_the_first_is_named(tmp_path):
    rows = [row(1), row(2, listed="x"), row(3, sku="")]
    assert refusal(written(tmp_path, ".csv", rows)).startswith("day.csv:3: listed")


@each_format
@pytest.mark.parametrize("name", ["category", "group"])
def test_an_offer_in_two_categories_or_groups_is_refused_with_both_lines(tmp_path, ending, name):
    rows = [row(n, group="g") for n in range(4)]
    rows[3].update(row(1, path="other.jpg", group="g"))
    rows[3][name] = "boots"
    first = FIRST_LINE[ending]
    message = refusal(written(tmp_path, ending, rows))
    assert message.startswith(f"day{ending}:{first + 3}: sku 's1' of merchant 'acme' has {name} 'boots', but ")
    assert f"at line {first + 1};" in message


def test_one_sku_at_two_merchants_may_differ_in_all(tmp_path):
    rows = [row(1), row(1, merchant="other", category="boots")]
    assert read_source(written(tmp_path, ".csv", rows)).rows.num_rows == 2


@each_format
def test_unknown_and_missing_columns_are_refused_with_the_nearest_name(tmp_path, ending):
    unknown = [{("catgory" if key == "category" else key): value for key, value in row(1).items()}]
    assert "unknown column 'catgory'; did you mean category?" in refusal(written(tmp_path, ending, unknown))
    missing = [{key: value for key, value in row(1).items() if key != "listed"}]
    assert "missing column listed; expected path, sku" in refusal(written(tmp_path, ending, missing))
    neither = [{key: value for key, value in row(1).items() if key != "path"}]
    assert "neither url nor path found; expected exactly one" in refusal(written(tmp_path, ending, neither))
    both = [{"url": "http://a.example", **row(1)}]
    assert "both url and path found; expected exactly one" in refusal(written(tmp_path, ending, both))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "day.csv:1: the file is empty (0 bytes); expected a header"),
        ("\n\n", "day.csv:1: no header found"),
        (f"{HEADER},sku\n", "day.csv:1: column 'sku' appears twice"),
        (f"{HEADER}\na,b,c\n", "day.csv:2: 3 cells found; expected 6 as in the header"),
        (f'{HEADER}\na,s,m,c,x,1\nb,s,m,c,"x"y,1\n', "day.csv:3: malformed CSV"),
        (f'{HEADER}\na,s,m,c,x,1\nb,s,m,c,"never closed,1\nc,s,m,c,x,1\n', "day.csv:3: malformed CSV"),
        (f"{HEADER}\na,s,m,c,{'x' * 200_000},1\n", "day.csv:2: malformed CSV: field larger than"),
        (f"{HEADER}\na,s,m,c,{'x' * (1 << 20)},1\n", "day.csv:2: the line is longer than 1 MiB"),
        (f"{HEADER}\na,s,m,c,caf\xe9,1\n".encode("latin-1"), "day.csv:2: byte 0xe9 at position 12 is not UTF-8"),
        (HEADER.encode("utf-16"), "day.csv:1: byte 0xff at position 1 is not UTF-8"),
    ],
)
def test_malformed_csv_is_refused_at_the_line_where_it_begins(tmp_path, text, message):
    assert refusal(text_file(tmp_path, text)).startswith(message)


GOOD = json.dumps(row(1))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sku": ', "malformed JSON"),
        ("[1, 2]", "found a JSON list; expected one object a line"),
        ('{"sku": "a", "sku": "b"}', "malformed JSON: a key appears twice"),
        ("[" * 100_000, "malformed JSON"),
        ('{"a": ' + "9" * 5000 + "}", "malformed JSON"),
        (GOOD.replace('"s1"', "1.5"), "sku is 1.5; expected text or a whole number"),
        (GOOD.replace('"s1"', "true"), "sku is True; expected text or a whole number"),
        (GOOD.replace('"s1"', '["x"]'), "sku is ['x']; expected text or a whole number"),
        (GOOD.replace("s1", "\\ud800"), "sku has half a surrogate pair"),
        (GOOD.replace('"path"', '"url"'), "url found; expected path as in the rows before"),
        (GOOD.replace('"sku"', '"skus"'), "unknown column 'skus'; did you mean sku?"),
    ],
)
def test_malformed_json_lines_are_refused_with_their_number(tmp_path, line, message):
    text = f"{GOOD}\n\n{line}\n"
    assert refusal(text_file(tmp_path, text, "day.jsonl")).startswith(f"day.jsonl:3: {message}")


def test_malformed_parquet_is_refused(tmp_path):
    assert "not a readable Parquet file" in refusal(text_file(tmp_path, "PAR1 not really", "day.parquet"))
    whole = written(tmp_path, ".parquet", [row(n) for n in range(1000)]).read_bytes()
    assert "not a readable Parquet file" in refusal(text_file(tmp_path, whole[: len(whole) // 2], "day.parquet"))
    pq.write_table(pa.Table.from_pylist([{**row(1), "title": 1.5}]), tmp_path / "day.parquet")
    assert "column 'title' is double; expected string" in refusal(tmp_path / "day.parquet")
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    table = pa.Table.from_pylist([row(1)])
    pq.write_table(table.set_column(4, "title", broken), tmp_path / "day.parquet")
    assert "expected Parquet with UTF-8 strings" in refusal(tmp_path / "day.parquet")


def test_a_parquet_file_that_grows_while_it_is_read_is_refused(tmp_path):
    path = written(tmp_path, ".parquet", [row(1)])

    def append(batch: source_rows.CellBatch) -> None:
        with path.open("ab") as stream:
            stream.write(b"more")

    with pytest.raises(DataError, match="changed while it was read"):
        source_rows.read_cells(path, append)


def test_what_is_no_manifest_is_refused_with_a_remedy(tmp_path):
    text_file(tmp_path, HEADER)
    assert refusal(tmp_path / "dya.csv").endswith("expected a source manifest; did you mean day.csv?")
    assert "no such file" in refusal(tmp_path / "none" / "day.csv")
    assert "expected .csv, .jsonl or .parquet" in refusal(text_file(tmp_path, HEADER, "day.xlsx"))
    (tmp_path / "folder.csv").mkdir()
    assert "not a regular file" in refusal(tmp_path / "folder.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    assert "not a regular file" in refusal(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert "expected a regular file" in refusal(tmp_path / "loop.csv")


def test_wrong_permissions_are_bad_input_and_a_failing_disk_is_infrastructure(tmp_path, monkeypatch):
    path = text_file(tmp_path, HEADER)

    def failing(number: int) -> Callable[..., int]:
        def fail(*args: object, **options: object) -> int:
            raise OSError(number, os.strerror(number))

        return fail

    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    assert refusal(path) == "day.csv: no permission to read it; expected a readable file; chmod +r day.csv"
    monkeypatch.setattr(os, "open", failing(errno.EIO))
    with pytest.raises(StoreError, match="check the disk"):
        read_source(path)


def test_two_rows_of_one_id_that_differ_are_refused_and_not_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(xxhash, "xxh128_hexdigest", lambda data: "0" * 32)
    message = refusal(written(tmp_path, ".csv", [row(1), row(2)]))
    assert message.startswith("day.csv:3: the item id equals that of line 2 though sku differs")
