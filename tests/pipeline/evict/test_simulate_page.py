"""The simulation's page and command: its numbers are those of the JSON, it loads nothing, and a phone can show it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline import cli_evict_simulate
from pipeline.evict.looks import draw_looks
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.simulate import simulate
from pipeline.evict.simulate_page import plots_of, write_page
from pipeline.evict.simulate_result import SLICES, TITLES, Simulation, reading
from pipeline.evict.world import WorldSettings, make_world
from reporting.errors import StoreError
from tests.pipeline.test_contact_sheet import chromium

VOID = {"meta", "path"}


@pytest.fixture(scope="module")
def found() -> Simulation:
    world = make_world(WorldSettings(days=60, groups=80, sightings=12))
    return simulate(world, draw_looks(world), EvictPolicy(window_days=14), sample_every=14, queries_each=20)


@pytest.fixture(scope="module")
def page(found: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "deep" / "page.html"
    write_page(found, path)
    return path


class Tags(HTMLParser):
    """Every tag is closed by its own; what the page would load, and the numbers that it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.numbers: list[tuple[float, str]] = []
        self._value: float | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self._value = float(dict(attrs)["value"] or "nan")

    def handle_data(self, data: str) -> None:
        if self._value is not None:
            self.numbers.append((self._value, data))
            self._value = None

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def parsed(path: Path) -> Tags:
    tags = Tags()
    tags.feed(path.read_text(encoding="utf-8"))
    return tags


def test_the_page_needs_no_other_file(page: Path):
    text, tags = page.read_text(encoding="utf-8"), parsed(page)
    assert tags.open == []
    assert tags.loads == []
    assert "<script" not in text
    assert not re.search(r"https?://|@import|url\(", text)
    assert list(page.parent.iterdir()) == [page]


def test_words_from_outside_are_no_markup(found: Simulation, tmp_path: Path):
    evil = "<script>alert(1)</script>"
    write_page(found.model_copy(update={"dropped": {evil: 3}}), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert evil not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; 3" in text


def test_the_numbers_of_the_page_are_those_of_the_json(found: Simulation, page: Path):
    said = json.loads(found.model_dump_json())
    kept = [said["policies"][name] for name in TITLES]
    expected = [
        value
        for one in kept
        for value in (
            one["rows"][-1], max(one["rows"]), one["coverage"][-1], min(one["coverage"]), one["lost"]
        )
    ]  # fmt: skip
    expected += [one[metric][part] for part in SLICES for one in kept for metric in ("hit_at_1", "hit_at_k", "recall")]
    shown = parsed(page).numbers
    assert [value for value, _ in shown] == expected
    for value, text in shown:
        if text.endswith("%"):
            assert float(text.removesuffix(" %")) == pytest.approx(100 * value, abs=0.0501)
        else:
            assert int(text.replace(",", "")) == value


def test_the_curves_are_those_of_the_json(found: Simulation):
    rows, coverage, recall, hit = plots_of(found)
    for plot, name in ((rows, "rows"), (coverage, "coverage")):
        low, high = (read(plot.y_ticks[at].text) for at in (0, -1))
        for line in plot.lines:
            drawn = [high - float(point.split()[1]) / 100 * (high - low) for point in re.split("[ML]", line.path)[1:]]
            assert drawn == pytest.approx(getattr(found.policies[line.name], name), abs=(high - low) / 9_000)
    for plot, metric in ((recall, "recall"), (hit, "hit_at_1")):
        low, high = (read(plot.y_ticks[at].text) for at in (0, -1))
        for line in plot.lines:
            drawn = [high - y / 100 * (high - low) for _, y in line.dots]
            samples = [getattr(one, metric)["tail"] for one in found.policies[line.name].samples]
            assert drawn == pytest.approx(samples, abs=(high - low) / 9_000)
            assert line.dots[-1][0] == 100
    for plot in (rows, coverage, recall, hit):
        assert all(0 <= tick.at <= 100 for tick in (*plot.x_ticks, *plot.y_ticks))
        assert plot.y_ticks[0].at == 100
        assert plot.y_ticks[-1].at == 0
        assert len({tick.text for tick in plot.y_ticks}) == len(plot.y_ticks)


def read(text: str) -> float:
    if text.endswith("%"):
        return float(text.removesuffix(" %")) / 100
    return float(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)


def test_words_follow_the_numbers(found: Simulation):
    """The same sentences where the policies change places: nothing is claimed for ours."""
    kept = found.policies
    swapped = found.model_copy(update={"policies": {**kept, "ours": kept["window"], "window": kept["ours"]}})
    assert kept["ours"].lost < kept["window"].lost
    assert f"{kept['ours'].lost} (" in "".join(reading(found))
    tail = [next(line for line in reading(one) if "product of the tail" in line) for one in (found, swapped)]
    better = re.search(r"with the plain window \(ours is (\S+) points better\)", tail[0])
    assert better is not None
    assert f"with the plain window (ours is {better[1]} points worse)" in tail[1]
    same = found.model_copy(update={"policies": dict.fromkeys(TITLES, kept["window"])})
    assert all(line.count("no difference") == 2 for line in reading(same)[-3:])
    assert ": 1.00 times the window's, 100.0 % of everything." in reading(same)[0]


def test_a_year_of_one_day_has_a_page_too(tmp_path: Path):
    world = make_world(WorldSettings(days=1, groups=2, sightings=1))
    found = simulate(world, draw_looks(world), EvictPolicy())
    write_page(found, tmp_path / "page.html")
    assert parsed(tmp_path / "page.html").open == []
    assert "The run is too short to say how the policies grow." in reading(found)


def test_a_page_that_cannot_be_written_says_what_to_do(found: Simulation, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"page.html: cannot be written: .*; name another folder by --out"):
        write_page(found, tmp_path / "file" / "page.html")


def command(*options: str) -> str:
    app = typer.Typer()
    app.command()(cli_evict_simulate.simulate)
    ended = CliRunner().invoke(app, [*options], catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.output


def test_the_command_prints_json_and_writes_page_and_numbers(tmp_path: Path):
    (tmp_path / "evict.yaml").write_text("window_days: 9\n")
    options = ["--days", "20", "--groups", "30", "--policy", str(tmp_path / "evict.yaml")]
    said = json.loads(command(*options, "--json", "--out", str(tmp_path / "year")))
    assert said == json.loads((tmp_path / "year" / "simulation.json").read_text())
    assert said["days"] == 20
    assert said["policy"]["window_days"] == 9
    for name in ("window", "keep_all", "ours"):
        kept = said["policies"][name]
        assert len(kept["rows"]) == len(kept["coverage"]) == 20
        assert kept["recall"].keys() == {"head", "torso", "tail"}
    assert len(parsed(tmp_path / "year" / "page.html").numbers) == 42
    told = command(*options)
    assert "After 20 days ours stores" in told
    assert re.search(r"^plain window +\d+", told, re.MULTILINE)


@pytest.mark.slow
def test_real_pictures_end_in_labelled_hits_by_slice():
    said = json.loads(command("--pictures", "--days", "40", "--groups", "24", "--json"))
    assert said["source"] == "samples"
    assert said["pictures"] <= 24 * 6
    for name in ("window", "keep_all", "ours"):
        hits = [value for value in said["policies"][name]["hit_at_k"].values() if value is not None]
        assert len(hits) == 3
        # 24 products: ten drawn blindly hit in 4 of 10 cases.
        assert sum(hits) / 3 > 0.6


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_a_phone_shows_the_year_without_scrolling_sideways(page: Path, tmp_path: Path, scheme: int, dark: bool):
    probe = """onload = () => {
      const shown = document.querySelector("iframe").contentDocument;
      const colour = shown.defaultView.getComputedStyle(shown.body).backgroundColor;
      document.body.textContent = (shown.documentElement.scrollWidth - 360) + " " + colour;
    }"""
    document = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
    document = document.replace("&", "&amp;").replace('"', "&quot;")
    frame = tmp_path / "frame.html"
    # srcdoc, as Chromium's own window is never as narrow as a phone
    frame.write_text(
        f'<body style="margin:0"><iframe style="width:360px;height:800px;border:0" srcdoc="{document}"></iframe>'
        f"<script>{probe}</script></body>"
    )
    dom = chromium(frame, "--dump-dom", "--window-size=700,900", f"--blink-settings=preferredColorScheme={scheme}")
    told = re.search(r">(-?\d+) rgb\((\d+),", dom)
    assert told is not None, dom[-500:]
    assert int(told[1]) <= 0
    assert (int(told[2]) < 60) == dark
