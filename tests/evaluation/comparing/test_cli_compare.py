"""`funnelgate evaluate compare` and `compare-boxes`, and the three files of --out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from evaluation.cli_compare import register
from evaluation.compare import compare
from evaluation.comparing.columns import Columns, SystemColumns
from evaluation.comparing.page import page
from evaluation.comparing.plot import scale_of
from evaluation.set_files import write_set
from reporting.errors import UsageError
from tests.evaluation.small_set import small_set
from tests.pipeline.test_contact_sheet import chromium

GOOD = "q1 Q0 i1 1 0.9 r\nq2 Q0 i2 1 0.9 r\nq2 Q0 d1 2 0.8 r\n"
POOR = "q1 Q0 i1 1 0.9 r\nq2 Q0 d1 1 0.9 r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of two queries, with two run files of one name beside it."""
    for name, text in (("new", GOOD), ("old", POOR)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.run").write_text(text)
    return write_set(small_set(), tmp_path / "sets")


def evaluate(*arguments: object) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "120", "NO_COLOR": "1"})


class Addresses(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [tag] if tag in ("script", "link", "iframe", "img", "object") else []
        self.found += [f"{name}={value}" for name, value in attributes if name in ("src", "href") or name[:2] == "on"]


def drawn_page(names):
    draw = np.random.default_rng(5)
    systems = [
        SystemColumns(name, {"hit@1": (draw.random(60) < 0.7).astype(np.float64)}, np.ones(60, np.bool_))
        for name in names
    ]
    slices = {"all": np.ones(60, np.bool_), "category=shoes": np.arange(60) < 30}
    ids = tuple(f"q{number}" for number in range(60))
    return page(
        compare(Columns("drawn", ids, ids, slices, frozenset(["hit@1"]), tuple(systems), ("hit@1",), ("here", "there")))
    )


def test_two_runs_of_one_name_are_told_apart_and_json_is_what_the_file_holds(folder: Path, tmp_path: Path):
    runs = [tmp_path / name / "mine.run" for name in ("new", "old")]
    done = evaluate("compare", *runs, "--set", folder, "--k", "1,2", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert [side["name"] for side in found["systems"]] == [str(run) for run in runs]
    assert (found["about"], found["questions"], found["headline"]) == (folder.name, 2, "hit@2")
    assert [side["metrics"]["hit@1"]["value"] for side in found["systems"]] == [1.0, 0.5]
    assert [(one["won"], one["lost"]) for one in found["flips"]] == [(1, 0)]
    assert (tmp_path / "out" / "comparison.json").read_text() == done.stdout
    again = evaluate("compare", *runs, "--set", folder, "--k", "1,2", "--json")
    assert again.stdout == done.stdout


def test_sql_over_the_parquet_file_gives_the_means(folder: Path, tmp_path: Path):
    runs = [tmp_path / name / "mine.run" for name in ("new", "old")]
    done = evaluate("compare", *runs, "--set", folder, "--out", tmp_path / "out", "--json")
    sides = json.loads(done.stdout)["systems"]
    table = tmp_path / "out" / "per_query.parquet"
    rows = duckdb.execute(
        f"""select system, avg("hit@1"), avg("recall@10"), count(*), sum(answered::int),
        sum(case when list_contains(slices, 'category=hats') then "hit@1" end)
        from '{table}' group by system"""
    ).fetchall()
    assert {row[0]: row[1:5] for row in rows} == {
        side["name"]: (side["metrics"]["hit@1"]["value"], side["metrics"]["recall@10"]["value"], 2, side["answered"])
        for side in sides
    }
    assert {row[0]: row[5] for row in rows} == dict(zip(map(str, runs), (1.0, 0.0), strict=True))


def test_tables_name_the_systems_by_letters(folder: Path, tmp_path: Path):
    runs = [tmp_path / name / "mine.run" for name in ("new", "old")]
    done = evaluate("compare", *runs, "--set", folder)
    assert done.exit_code == 0, done.exception
    assert f"A {runs[0]}: 2 answered" in done.stdout
    assert re.search(r"hit@10 +A - B +\+50\.00 .* 1:0", done.stdout)
    assert "better in A: q2" in done.stdout


def test_boxes_are_compared_by_their_own_command(tmp_path: Path):
    truth, *files = (tmp_path / f"{name}.jsonl" for name in ("truth", "ours", "theirs"))
    truth.write_text('{"image_id": "a", "main_box": [0, 0, 9, 9], "category": "cup"}\n')
    for file, category in zip(files, ("cup", "hat"), strict=True):
        file.write_text(f'{{"image_id": "a", "top1_box": [0, 0, 9, 9], "category": "{category}", "score": 1}}\n')
    done = evaluate("compare-boxes", truth, *files, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    values = [{name: one["value"] for name, one in side["metrics"].items()} for side in found["comparison"]["systems"]]
    assert values == [
        {"main_object_hit": 1, "category": 1, "main_object_and_category": 1},
        {"main_object_hit": 1, "category": 0, "main_object_and_category": 0},
    ]
    assert found["categories"]["voters"][1]["confusion"] == {"cup": {"hat": 1}}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.json", "per_query.parquet", "report.html",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.run", "b.run"], "either --set .* or --qrels"),
        (["a.run", "b.run", "--set", "s", "--qrels", "q"], "either --set .* or --qrels"),
        (["a.run", "--qrels", "q"], "a.run alone"),
        (["a.run", "b.run", "--qrels", "q", "--k", "5"], "--k is for evaluation sets"),
        (["a.run", "b.run", "--set", "s", "--level", "2"], "--level is for TREC"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(arguments: list[str], message: str):
    done = evaluate("compare", *arguments)
    assert isinstance(done.exception, UsageError)
    assert re.search(message, str(done.exception))


def test_the_page_loads_nothing_and_escapes_what_comes_from_data():
    text = drawn_page(["<script>alert(1)</script>", "b & c"])
    addresses = Addresses()
    addresses.feed(text)
    assert addresses.found == []
    assert "url(" not in text
    assert "b &amp; c" in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(
    ("values", "low", "high", "expected"),
    [([0.31, 0.72], 0, 1, (0.3, 0.8)), ([0.0, 1.0], 0, 1, (0, 1)), ([0.5], 0, 1, (0.5, 0.501)), ([], -1, 1, (-1, 1))],
)
def test_a_scale_has_round_ends_and_holds_every_value(values, low, high, expected):
    scale = scale_of(values, low, high)
    assert (scale.low, scale.high) == pytest.approx(expected)
    assert scale.ticks[0][0] == 0
    assert scale.ticks[-1][0] == 100
    assert all(0 <= scale.at(value) <= 100 for value in values)


def test_differences_are_told_in_points_about_a_zero_in_the_middle():
    scale = scale_of([-0.1, 0.07], -1, 1, points=True)
    assert [text for _, text in scale.ticks] == ["-10", "-5", "0", "+5", "+10"]


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_a_phone_shows_the_page_without_scrolling_sideways_in_the_readers_colours(
    tmp_path: Path, scheme: int, dark: bool
):
    path = tmp_path / "report.html"
    path.write_text(drawn_page(["a-run-with-a-rather-long-name-" * 4, "old"]))
    probe = """onload = () => {
      const shown = document.querySelector("iframe").contentDocument;
      const colour = shown.defaultView.getComputedStyle(shown.body).backgroundColor;
      document.body.textContent = (shown.documentElement.scrollWidth - 360) + " " + colour;
    }"""
    frame = tmp_path / "frame.html"
    # srcdoc, as Chromium's own window is never as narrow as a phone
    document = path.read_text().replace("&", "&amp;").replace('"', "&quot;")
    frame.write_text(
        f'<body style="margin:0"><iframe style="width:360px;height:800px;border:0" srcdoc="{document}"></iframe>'
        f"<script>{probe}</script></body>"
    )
    dom = chromium(frame, "--dump-dom", "--window-size=700,900", f"--blink-settings=preferredColorScheme={scheme}")
    told = re.search(r">(-?\d+) rgb\((\d+),", dom)
    assert told is not None, dom[-500:]
    assert int(told[1]) <= 0
    assert (int(told[2]) < 60) == dark
