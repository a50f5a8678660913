"""The contact sheet: one file with everything in it, the boxes drawn where the objects are, and why it was so."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.lake import Lake
from pipeline.serve.answer import Answer, answer
from pipeline.serve.contact_sheet import write_contact_sheet
from reporting.errors import UsageError
from tests.conftest import skip_for_want_of
from tests.pipeline.searchable import (
    MAIN,
    SECOND,
    SIZE,
    Item,
    Library,
    box_of,
    encoded,
    make_library,
    release,
    scene,
    shelve,
)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    return make_library(tmp_path, monkeypatch)


@pytest.fixture
def answers(library: Library) -> list[tuple[Path, Answer]]:
    """Three queries: one like a library picture, one of an unknown object, one where nothing is found."""
    queries = [
        library.picture("known <b>.png", library.items[1].data),
        library.picture("unknown.png", encoded(scene((90, 60, 40, 100)))),
        library.picture("blank.png", encoded(Image.new("RGB", SIZE, "white"))),
    ]
    return [(query, answer(library.lake, query, 3)) for query in queries]


@pytest.fixture
def page(library: Library, answers: list[tuple[Path, Answer]]) -> Path:
    path = library.folder / "sheets" / "page.html"
    write_contact_sheet(path, library.lake, answers, "Three & more")
    return path


def test_the_page_needs_nothing_else_and_runs_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|@import|<link|url\(", text)
    assert set(re.findall(r'(?:src|href)="(.{15})', text)) == {"data:image/jpeg"}
    # Each query and hit has its picture, and its object where that is not the whole picture.
    assert text.count("data:image/jpeg;base64,") == (2 + 6) + (2 + 6) + (1 + 6)


def test_what_comes_from_data_is_shown_as_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "known &lt;b&gt;.png: even" in text
    assert "<title>Three &amp; more</title>" in text
    assert "Thing &lt;1&gt;" in text
    assert "Thing <" not in text


def test_the_page_says_why_and_what_to_know(page: Path) -> None:
    text = html.unescape(page.read_text(encoding="utf-8"))
    for said in (
        "it looks like even.",
        "no category is sure enough: every category was searched",
        "no object was found, so the whole picture was searched",
        "another: --box 200,60,260,120, score 0.18 even",
        "box 20,30,130,140, score 0.60",
    ):
        assert said in text, said
    assert re.findall(r"<span>(\w+)</span>.*?width: ([\d.]+)%", text) == [("even", "75.0"), ("zebra", "25.0")]


def test_items_of_before_there_were_boxes_are_shown_whole(library: Library, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "old"))
    release(lake, shelve(lake, [Item(1, "even", library.items[1].data, None)], library.models), None)
    query = library.picture("query.png", library.items[1].data)
    write_contact_sheet(tmp_path / "old.html", lake, [(query, answer(lake, query, 3))], "Old")
    text = (tmp_path / "old.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert 'class="line"' not in text


def test_answers_of_another_release_are_refused(library: Library, tmp_path: Path) -> None:
    query = library.picture("query.png", library.items[1].data)
    found = answer(library.lake, query, 3).model_copy(update={"generation": 7})
    with pytest.raises(UsageError, match="answered by release 7, now it is 1; search again"):
        write_contact_sheet(tmp_path / "page.html", library.lake, [(query, found)], "Old")
    assert not (tmp_path / "page.html").exists()


_MEASURE = """
<script>
const widths = [];
const found = [...document.querySelectorAll("svg.picture")].map(svg => {
  const image = svg.querySelector("image").getBoundingClientRect();
  widths.push(image.width);
  return [...svg.querySelectorAll(".line")].map(line => {
    const box = line.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / image.width;
    return [box.left - image.left, box.top - image.top, box.right - image.left, box.bottom - image.top]
      .map(x => x * scale);
  });
});
const wide = document.documentElement.scrollWidth > window.innerWidth;
document.body.innerHTML = "<pre>" + JSON.stringify({found, widths, wide}) + "</pre>";
</script>
"""


def chromium(page: Path, *options: str) -> str:
    """Open a page in a real browser without a window; return what it printed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        skip_for_want_of("chromium", "no Chromium on the path")
    done = subprocess.run(
        [
            str(browser),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={page.parent / 'profile'}",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def measured(page: Path, width: int) -> Any:
    """Return where the browser draws the boxes, in pixels of the originals, and whether the page is too wide."""
    probe = page.with_name("probe.html")
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", _MEASURE + "</body>"), encoding="utf-8")
    dom = chromium(probe, "--dump-dom", f"--window-size={width},900")
    return json.loads(html.unescape(re.findall(r"<pre>(.*?)</pre>", dom, re.DOTALL)[0]))


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_draws_every_box_where_the_object_is(
    page: Path, answers: list[tuple[Path, Answer]], width: int
) -> None:
    expected: list[list[Any]] = []
    for _, found in answers:
        whole = found.object.box == (0, 0, *SIZE)
        expected.append([*(other.box for other in found.others), *([] if whole else [found.object.box])])
        expected += [[hit.box] for hit in found.results]
    assert expected[0] == [box_of(SECOND), box_of(MAIN)]
    assert expected[-4] == []
    seen = measured(page, width)
    assert not seen["wide"]
    assert min(seen["widths"]) >= 100
    assert seen["widths"][0] >= 300  # a query is larger than a hit
    assert [len(drawn) for drawn in seen["found"]] == [len(boxes) for boxes in expected]
    drawn = np.array([box for boxes in seen["found"] for box in boxes])
    np.testing.assert_allclose(drawn, [box for boxes in expected for box in boxes], atol=1)


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_the_page_follows_the_readers_colours(page: Path, scheme: int, dark: bool) -> None:
    shot = page.with_suffix(".png")
    chromium(page, f"--screenshot={shot}", "--window-size=1200,1500", f"--blink-settings=preferredColorScheme={scheme}")
    with Image.open(shot) as opened:
        pixels = np.asarray(opened.convert("L"), np.float64)
    background = np.median(pixels)
    text = pixels[20:60, 60:400]  # the heading
    assert (background < 60) == dark
    assert abs(np.percentile(text, 5 if not dark else 95) - background) > 120  # it can be read
