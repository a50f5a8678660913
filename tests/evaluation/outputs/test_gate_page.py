"""report.html needs no other file and no network, runs nothing that a name holds, and says what it leaves out."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from evaluation.measured import Measured
from evaluation.outputs import page
from evaluation.outputs.folder import Evidence
from evaluation.outputs.page import page_bytes
from evaluation.outputs.thumbnails import SIDE, Album, thumbnail
from evaluation.system import View
from reporting.errors import DataError
from tests.evaluation.report_world import HOSTILE, bad_candidate, small_set, system, verdict_of

VOID = {"meta", "br", "img", "link", "input", "hr"}
LINKS = {"href", "src", "srcset", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """A page taken apart: tags with their attributes, texts, and whether everything that opens is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def of_class(self, name: str) -> list[dict[str, str]]:
        return [attrs for _, attrs in self.tags if name in attrs.get("class", "").split()]


def release_of(evalset) -> Measured:
    return system(evalset, {View.SERVED: {}}, name="old")


def evidence(evalset, candidate: Measured | None = None, release: bool = True) -> Evidence:
    judged = candidate or bad_candidate(evalset)
    old = release_of(evalset)
    given = {"release": old} if release else {}
    return Evidence(verdict_of(evalset, judged, old if release else None), evalset, judged, given)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a picture for each query and catalogue picture of the set, of unlike colours."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(8):
        Image.new("RGB", (300, 200), (30 * number, 90, 120)).save(folder / f"q{number}.png")
        for copy in range(2):
            Image.new("RGB", (90, 200), (30 * number, 200, 99 * copy)).save(folder / f"{number}-{copy}.png")
    return folder


@pytest.fixture(scope="module")
def hostile(pictures) -> Page:
    return Page(page_bytes(evidence(small_set(root=pictures, hostile=True))).decode())


def test_nothing_is_fetched_and_nothing_runs(hostile):
    links = [value for _, attrs in hostile.tags for name, value in attrs.items() if name in LINKS]
    assert links
    assert all(value.startswith("#") for value in links)
    urls = re.findall(r"url\(([^)]*)\)", hostile.style)
    assert urls
    assert all(re.fullmatch(r'"data:image/jpeg;base64,[A-Za-z0-9+/=]+"', url) for url in urls)
    assert "@import" not in hostile.style
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in hostile.tags}
    assert not [name for _, attrs in hostile.tags for name in attrs if name.startswith("on")]
    policy = [attrs["content"] for tag, attrs in hostile.tags if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_a_hostile_name_is_shown_as_the_text_that_it_is(hostile):
    assert f"q0{HOSTILE}" in hostile.text
    assert f"g{HOSTILE}" in hostile.text
    assert f"new-{HOSTILE}" in hostile.text


def test_the_verdict_stands_first_with_its_reason(hostile):
    assert hostile.text.split("FAIL", 2)[2].startswith(": failed: hit-floor")  # [1] is the title


def test_every_lost_query_is_shown_with_its_cause_and_both_lists(hostile):
    assert len(hostile.of_class("query")) == 4  # three in hit@3, one in recall@3 only
    assert "4 queries lost: 3 in hit@3, the others in recall@3 only; 0 gained. All are shown" in hostile.text
    assert len(hostile.of_class("why")) == 3
    assert [attrs["class"] for attrs in hostile.of_class("side")] == ["side release", "side candidate"] * 4
    assert "Not answered: timeout" in hostile.text
    assert "it is at rank 4, the cut is 3" in hostile.text


def test_a_picture_is_held_once_and_small(hostile):
    images = re.findall(r'\.t(\d+) \{ background-image: url\("data:image/jpeg;base64,([^"]+)"', hostile.style)
    assert [int(number) for number, _ in images] == list(range(len(images)))
    for _, data in images:
        with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
            assert max(opened.size) <= SIDE
    used = {name for attrs in hostile.of_class("thumb") for name in attrs["class"].split() if name != "thumb"}
    assert used - {"none"} == {f"t{number}" for number, _ in images}


@pytest.mark.parametrize("address", ["../../page/gate.html#verdict-1", "https://pages.example/gate.html#a%20b"])
def test_the_page_leads_to_that_of_the_gate_where_it_is_known(address):
    made = dataclasses.replace(evidence(small_set()), page=address)
    found = [attrs["href"] for tag, attrs in Page(page_bytes(made).decode()).tags if tag == "a"]
    assert [one for one in found if not one.startswith("#")] == [address]


def test_the_page_says_how_many_it_leaves_out(monkeypatch):
    monkeypatch.setattr(page, "MOST_LOST", 2)
    found = Page(page_bytes(evidence(small_set())).decode())
    assert len(found.of_class("query")) == 2
    assert "The first 2 of 4 are shown" in found.text


def test_a_first_release_shows_what_finds_nothing():
    found = Page(page_bytes(evidence(small_set(), release=False)).decode())
    assert "Queries that find nothing" in found.text
    assert len(found.of_class("query")) == 3
    assert {attrs["class"] for attrs in found.of_class("side")} == {"side candidate"}


def test_an_a_a_run_has_no_lost_query():
    evalset = small_set()
    found = Page(page_bytes(evidence(evalset, release_of(evalset))).decode())
    assert "None: no query is worse than with the release." in found.text
    assert found.of_class("query") == []


def test_what_was_gained_is_shown_apart():
    evalset = small_set()
    bad, good = bad_candidate(evalset), release_of(evalset)
    one = Evidence(verdict_of(evalset, good, bad), evalset, good, {"release": bad})
    text = Page(page_bytes(one).decode()).text
    assert "Gained" in text
    assert "hit@3 0 → 1" in text


def test_the_curve_and_the_slices_are_drawn_where_the_numbers_are(hostile):
    lines = [attrs["points"] for tag, attrs in hostile.tags if tag == "polyline"]
    assert len(lines) == 2  # candidate and release
    xs = [float(point.split(",")[0]) for point in lines[0].split()]
    ys = [float(point.split(",")[1]) for point in lines[0].split()]
    assert (xs[0], xs[-1]) == (38.0, 310.0)  # the ends of the axis
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)  # 1, 4, 16 by their logarithm
    assert (ys[0] - ys[1]) / (ys[1] - ys[2]) == pytest.approx(3, abs=0.1)  # 0.6, 0.9, 1.0
    labels = [attrs["aria-label"] for tag, attrs in hostile.tags if tag == "svg" and "aria-label" in attrs]
    assert any(label.startswith("hit@3 of all: candidate: 62.50 % (") for label in labels)


def test_waivers_counts_inputs_and_the_command_are_there(hostile):
    for said in (
        "known since OPS-1. Approved by anna, until 2026-12-01",
        "expired on 2026-11-01: self, approved by bert",
        "timeout 1",
        "c" * 64,
        "funnelgate gate --set small@",
    ):
        assert said in hostile.text, said


def test_a_picture_that_is_gone_or_changed_is_named_and_the_page_is_made_all_the_same(pictures, tmp_path):
    for path in pictures.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "q0.png").unlink()
    (tmp_path / "0-0.png").write_bytes(b"not a picture at all")
    text = Page(page_bytes(evidence(small_set(root=tmp_path))).decode()).text
    assert "2 pictures cannot be shown" in text
    assert "cannot be decoded" in text


def test_an_album_stops_at_its_bytes_and_counts_what_it_left_out(pictures):
    evalset = small_set(root=pictures)
    album = Album(lambda shown: (pictures / shown.path).read_bytes(), most_bytes=1)
    numbers = [album.number(query) for query in evalset.queries]
    assert numbers == [0, *[None] * 7]
    assert (len(album.thumbnails), album.left_out) == (1, 7)
    assert album.number(evalset.queries[0]) == 0


def test_a_thumbnail_is_upright_with_white_behind_what_is_transparent():
    data = io.BytesIO()
    turned = Image.new("RGB", (400, 100), "red")
    exif = turned.getexif()
    exif[274] = 6  # turn by 90 degrees
    turned.save(data, "JPEG", exif=exif)
    with Image.open(io.BytesIO(base64.b64decode(thumbnail(data.getvalue()).partition(",")[2]))) as opened:
        assert opened.size == (32, 128)
    clear = io.BytesIO()
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(clear, "PNG")
    with Image.open(io.BytesIO(base64.b64decode(thumbnail(clear.getvalue()).partition(",")[2]))) as opened:
        assert opened.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_a_bomb_is_refused_by_its_header():
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    with pytest.raises(DataError, match="9000 x 9000 pixels"):
        thumbnail(bomb.getvalue())
