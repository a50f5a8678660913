"""The page about a trained detector: what it says, what it shows first, and that a browser can show it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.detection import ClassPrecision, DetectionResult
from evaluation.result import MetricValue
from pipeline.learn.config import DetectorConfig
from pipeline.learn.examine import Seen
from pipeline.learn.report import write_report
from pipeline.learn.training import Losses
from tests.pipeline.learn.seen import Side, seen
from tests.pipeline.models.blobs import detector_spec
from tests.pipeline.test_contact_sheet import chromium

CONFIG = DetectorConfig.model_validate(
    {
        "name": "blobs",
        "version": 1,
        "source": {"kind": "scenes", "train": 8, "test": 8},
        "training": {"epochs": 3},
    }
)
HISTORY = [Losses(0, 4.0, 1.0, 2.5), Losses(1, 2.0, 0.75, 2.0), Losses(2, 1.0, 0.5, 1.875)]
BOX: Side = (8, 8, 40, 40)
FAR: Side = (44, 44, 62, 62)


def result(**changes: Any) -> DetectionResult:
    hit = MetricValue(name="hit", value=0.75, n=4, ci_low=0.301, ci_high=0.954, interval="wilson")
    whole = DetectionResult(
        picture_count=4,
        truth_count=7,
        found_count=9,
        ap50=0.8125,
        ap50_95=0.5,
        mean_ap50=0.25,
        mean_ap50_95=0.125,
        classes=(ClassPrecision(label="<red & green>", truth_count=7, found_count=9, ap50=0.4375, ap50_95=0.0625),),
        main_object_hit=hit,
        main_object_and_category_hit=hit,
        recall_at_20=hit,
    )
    return whole.model_copy(update=changes)


def page(folder: Path, pictures: Sequence[Seen], history: Sequence[Losses] = tuple(HISTORY), **changes: Any) -> Path:
    """Write the report; the threshold is .3."""
    path = folder / "sub" / "report.html"
    written = write_report(
        path, config=CONFIG, spec=detector_spec(), result=result(**changes), seen=pictures, history=history
    )
    assert written == path
    return path


class Read(HTMLParser):
    """Every tag must be closed in turn; collects figures and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.captions: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "figcaption":
            self.captions.append("")
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open[-1:] == ["figcaption"]:
            self.captions[-1] += data


def shown(source: str) -> Image.Image:
    head, _, body = source.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(BytesIO(base64.b64decode(body)))


def test_the_page_gives_every_figure_and_needs_no_other_file(tmp_path: Path) -> None:
    read = Read(page(tmp_path, [seen([BOX], [(BOX, 0.9)])]).read_text(encoding="utf-8"))
    words = " ".join(read.text.split())
    for figure in ("0.812", "0.500", "0.250", "0.125", "0.750", "0.301 to 0.954 (n = 4)", "4.000 → 1.000", "epoch 3"):
        assert figure in words
    assert "<red & green>" in words  # escaped in the file: the parser would have taken it for a tag
    assert '"epochs": 3' in words
    assert all(source.startswith("data:image/jpeg") for source in read.sources)


def test_a_test_without_objects_has_dashes_and_no_pictures_are_no_fault(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("ap50", "ap50_95", "mean_ap50", "mean_ap50_95"))
    read = Read(page(tmp_path, [], [], classes=(), **nothing).read_text(encoding="utf-8"))
    assert read.text.count("–") == 4
    assert read.captions == []


def test_the_worst_pictures_come_first_and_what_is_below_the_threshold_does_not_count(tmp_path: Path) -> None:
    pictures = [
        seen([BOX], [(BOX, 0.9)], name="fine"),
        seen([BOX], [(BOX, 0.29)], name="too-unsure"),
        seen([BOX, FAR], [(FAR, 0.9), ((0, 0, 5, 5), 0.31)], name="one-missed-one-wrong"),
        seen([BOX], [((0, 0, 5, 5), 0.9), ((0, 50, 9, 60), 0.9), (FAR, 0.8)], name="all-wrong"),
        seen([], [((0, 0, 5, 5), 0.299)], name="nothing-there"),
    ]
    captions = Read(page(tmp_path, pictures).read_text(encoding="utf-8")).captions
    assert captions[:5] == [
        "all-wrong: 0 of 1 found, 3 wrong",
        "one-missed-one-wrong: 1 of 2 found, 1 wrong",
        "too-unsure: 0 of 1 found",
        "fine: 1 of 1 found",
        "nothing-there: 0 of 0 found",
    ]
    assert [text.partition(":")[0] for text in captions[5:]] == [one.scene.name for one in pictures]


def test_at_most_twelve_pictures_a_section_are_shown_and_they_spread_over_the_test(tmp_path: Path) -> None:
    pictures = [seen([BOX], [], name=f"p{number}") for number in range(60)]
    captions = Read(page(tmp_path, pictures).read_text(encoding="utf-8")).captions
    assert [text.partition(":")[0] for text in captions] == [
        *(f"p{number}" for number in range(12)),
        *(f"p{number}" for number in range(0, 60, 5)),
    ]


def test_boxes_are_drawn_where_they_are_each_in_the_colour_of_what_it_is(tmp_path: Path) -> None:
    one = seen([BOX, FAR], [((8, 8, 40, 38), 0.9), ((2, 45, 30, 62), 0.9)])
    grey = one._replace(scene=one.scene._replace(image=np.full((64, 64, 3), 128, np.uint8)))
    picture = shown(Read(page(tmp_path, [grey]).read_text(encoding="utf-8")).sources[0])
    assert picture.size == (448, 448)  # seven times as large
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    for (x, y), colour in {
        (44 * 7 + 2, 53 * 7): (0, 114, 178),
        (8 * 7 + 1, 20 * 7): (0, 138, 103),
        (2 * 7 + 1, 55 * 7): (213, 94, 0),
        (60, 440): (128, 128, 128),
    }.items():
        assert np.abs(pixels[y, x] - colour).max() < 60, (x, y)


def test_a_wide_picture_keeps_its_shape_and_names_may_be_of_any_script(tmp_path: Path) -> None:
    one = seen([BOX], [(BOX, 0.9)], names=["货号"], name="图片")
    wide = one._replace(scene=one.scene._replace(image=np.full((64, 128, 3), 128, np.uint8)))
    read = Read(page(tmp_path, [wide]).read_text(encoding="utf-8"))
    assert shown(read.sources[0]).size == (448, 224)
    assert read.captions[0] == "图片: 1 of 1 found"


def test_the_curves_fall_as_the_losses_do_and_one_epoch_is_a_point(tmp_path: Path) -> None:
    text = page(tmp_path, [], HISTORY).read_text(encoding="utf-8")
    lines = [line.split() for line in re.findall(r'<polyline points="(.*?)"', text)]
    assert lines == [
        ["0.0,0.0", "280.0,80.0", "560.0,120.0"],
        ["0.0,0.0", "280.0,40.0", "560.0,80.0"],
        ["0.0,0.0", "280.0,32.0", "560.0,40.0"],
    ]
    without_classes = page(tmp_path, [], [Losses(0, 4.0, 1.0, 0.0)]).read_text(encoding="utf-8")
    assert without_classes.count("<polyline") == without_classes.count("<circle") == 2
    assert "epoch 1<" in without_classes


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_the_page_follows_the_readers_colours(tmp_path: Path, scheme: int, dark: bool) -> None:
    path = page(tmp_path, [seen([BOX], [(BOX, 0.9)])])
    shot = path.with_suffix(".png")
    chromium(path, f"--screenshot={shot}", "--window-size=1200,900", f"--blink-settings=preferredColorScheme={scheme}")
    with Image.open(shot) as opened:
        pixels = np.asarray(opened.convert("L"), np.float64)
    assert (np.median(pixels) < 60) == dark
    assert abs(np.percentile(pixels[20:60, 10:200], 95 if dark else 5) - np.median(pixels)) > 120  # the heading


@pytest.mark.slow
@pytest.mark.chromium
def test_a_narrow_window_has_nothing_to_scroll_sideways(tmp_path: Path) -> None:
    path = page(tmp_path, [seen([BOX], [(BOX, 0.9)], name="a-picture-with-a-rather-long-name" * 3)] * 3)
    probe = "<script>document.body.innerHTML = document.documentElement.scrollWidth - window.innerWidth</script></body>"
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    dom = chromium(path, "--dump-dom", "--window-size=500,900")
    over = re.search(r"<body>(-?\d+)", dom)
    assert over is not None
    assert int(over[1]) <= 0
