"""The demo's arrivals on disk: equal bytes twice, and what the pipeline's own functions say equals the truth."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pipeline.demo.arrivals import Arrivals, write_arrivals
from pipeline.demo.rows import LOOKS, SPECIAL_ENCODINGS
from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb, probe
from pipeline.images.dhash import dhash64
from pipeline.images.near import DEFAULT_DISTANCE, confirm
from pipeline.images.quality import WORK_SIDE, QualityLimits, judge, measure
from pipeline.sources import SourceRow, read_source
from reporting.errors import ConfigError, DataError
from samples import samples_dir

pytestmark = pytest.mark.slow  # a week of pictures takes seconds to draw; test_schedule holds the default suite

FIRST = date(2026, 3, 2)
LIMITS = DecodeLimits()


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Arrivals:
    return write_arrivals(samples_dir(), tmp_path_factory.mktemp("week"), first_day=FIRST)


@pytest.fixture(scope="module")
def truth(week: Arrivals) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(week.truth.read_text(encoding="utf-8"))
    return loaded


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def small_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sample pack of every eighth item."""
    pack = tmp_path_factory.mktemp("pack") / "samples"
    items = (samples_dir() / "items.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (pack / "pictures").mkdir(parents=True)
    (pack / "items.csv").write_text("".join([items[0], *items[1::8]]), encoding="utf-8")
    for look in LOOKS:
        (pack / "pictures" / look).symlink_to(samples_dir() / "pictures" / look)
    return pack


def test_two_writes_give_equal_bytes_and_two_days_begin_as_seven_do(small_pack: Path, tmp_path: Path) -> None:
    week = write_arrivals(small_pack, tmp_path / "week", first_day=FIRST)
    # Another process and hash seed: nothing may hang on the order of a set.
    code = (
        "import sys; from datetime import date; from pathlib import Path;"
        "from pipeline.demo.arrivals import write_arrivals;"
        f"write_arrivals(Path(sys.argv[1]), Path(sys.argv[2]), first_day=date.fromisoformat('{FIRST}'), days=2)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    root, two = samples_dir().parent, tmp_path / "two"
    subprocess.run([sys.executable, "-c", code, str(small_pack), str(two)], check=True, cwd=root, env=environment)
    files = [path for path in two.rglob("*.*") if path.is_file() and path.parent != two]
    assert len(files) > 32 + 2 * 40
    for path in files:
        assert path.read_bytes() == (week.folder / path.relative_to(two)).read_bytes(), path
    for name in ("queries.csv", "query_boxes.csv"):
        assert (two / name).read_bytes() == (week.folder / name).read_bytes()
    for name in ("fates.csv", "objects.csv"):
        assert (week.folder / name).read_bytes().startswith((two / name).read_bytes())


def test_the_counts_of_the_result_are_those_on_disk(week: Arrivals) -> None:
    assert list(week.manifests) == [FIRST + timedelta(days=n) for n in range(7)]
    assert week.rows == sum(len(csv_rows(path)) for path in week.manifests.values()) == len(csv_rows(week.fates))
    assert week.pictures == sum(path.is_file() for path in (week.folder / "pictures").rglob("*"))
    assert week.photos == len(csv_rows(week.queries)) == 252


def test_truth_equals_the_fates_line_by_line(week: Arrivals, truth: dict[str, Any]) -> None:
    drops: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for fate in csv_rows(week.fates):
        if fate["task"]:
            drops[fate["day"], fate["task"]][fate["reason"]] += 1
    for day, booked in truth["days"].items():
        for task, numbers in booked["tasks"].items():
            assert numbers.get("dropped", {}) == drops[day, task], (day, task)


def test_only_dead_links_point_nowhere(week: Arrivals) -> None:
    for fate in csv_rows(week.fates):
        exists = (week.folder / "source" / fate["path"]).is_file()
        assert exists == (fate["fault"] != "dead_link"), fate


def test_each_special_encoding_is_served_every_day_as_a_sound_picture(week: Arrivals) -> None:
    sound = {f["path"]: f["day"] for f in csv_rows(week.fates) if f["fault"] == "none"}
    found: dict[str, set[str]] = defaultdict(set)
    for path, day in sound.items():
        with Image.open(week.folder / "source" / path) as picture:
            assert isinstance(picture, ImageFile.ImageFile)
            turned = ",turned" if picture.getexif().get(0x0112, 1) != 1 else ""
            found[day].add(f"{picture.format},{picture.mode}{turned},{getattr(picture, 'n_frames', 1)}")
    wanted = {"GIF,P,3", "PNG,P,1", "PNG,RGBA,1", "JPEG,CMYK,1", "JPEG,RGB,turned,1", "WEBP,RGB,1"}
    assert len(wanted) == len(SPECIAL_ENCODINGS)
    for day, kinds in found.items():
        assert kinds == wanted | {"JPEG,RGB,1", "PNG,RGB,1"}, day


def test_queries_are_one_sound_photo_an_item_on_a_background(week: Arrivals) -> None:
    groups: Counter[str] = Counter()
    for row in csv_rows(week.queries):
        groups[row["group"]] += 1
        data = (week.folder / row["path"]).read_bytes()
        info = probe(data, LIMITS)
        assert info.format == "JPEG"
        assert info.width == info.height
        assert 272 <= info.width <= 352
        rgb = decode_rgb(data, min_side=WORK_SIDE, limits=LIMITS)
        assert judge(measure(info, rgb), QualityLimits()) is None, row
        assert float(np.asarray(rgb[0]).mean()) < 245, row  # the first line of a catalogue picture is near white
    with (samples_dir() / "items.csv").open(encoding="utf-8") as lines:
        assert groups == {item["item"]: 1 for item in csv.DictReader(lines)}


@functools.cache
def examined(data: bytes) -> tuple[str, str] | None:
    """Return the task and reason that drop a picture by itself."""
    try:
        info = probe(data, LIMITS)
        reason = judge(measure(info, decode_rgb(data, min_side=WORK_SIDE, limits=LIMITS)), QualityLimits())
    except PictureError as error:
        return ("download" if error.reason == "not_an_image" else "quality"), error.reason
    return None if reason is None else ("quality", reason)


hashed_once = functools.cache(dhash64)


@dataclass
class Survivor:
    seen: date
    value: int
    thumbnail: NDArray[np.uint8]
    group: str


@dataclass
class Funnel:
    """The tasks up to listing, in plain Python around the pipeline's own decoders, limits and hashes."""

    window: int
    live: dict[str, Survivor] = field(default_factory=dict)
    false_merges: list[tuple[str, str]] = field(default_factory=list)

    def day(self, day: date, manifest: Path) -> dict[str, Counter[str]]:
        """Return the drops by task and reason."""
        self.live = {key: one for key, one in self.live.items() if (day - one.seen).days < self.window}
        source = read_source(manifest)
        drops: dict[str, Counter[str]] = defaultdict(Counter)
        if source.duplicates:
            drops["collect"]["duplicate_row"] = len(source.duplicates)
        listed = []
        for row, data in self._sound(source.iter_rows(), drops):
            if row.listed:
                listed.append((row, data))
            else:
                drops["listing"]["off_shelf"] += 1
        late = [row for row in sorted(listed, key=lambda one: one[0].item) if not self._is_exact(day, row[1], drops)]
        for row, data in late:
            self._near(day, row, data, drops)
        return drops

    def _sound(self, rows: Iterator[SourceRow], drops: dict[str, Counter[str]]) -> Iterator[tuple[SourceRow, bytes]]:
        for row in rows:
            if not Path(row.location).exists():
                drops["download"]["dead_link"] += 1
                continue
            data = Path(row.location).read_bytes()
            fault = examined(data)
            if fault is None:
                yield row, data
            else:
                drops[fault[0]][fault[1]] += 1

    def _is_exact(self, day: date, data: bytes, drops: dict[str, Counter[str]]) -> bool:
        one = self.live.get(hashlib.sha256(data).hexdigest())
        if one is None:
            return False
        one.seen = day
        drops["dedup"]["exact_duplicate"] += 1
        return True

    def _near(self, day: date, row: SourceRow, data: bytes, drops: dict[str, Counter[str]]) -> None:
        key = hashlib.sha256(data).hexdigest()
        if self._is_exact(day, data, drops):
            return
        hashed = hashed_once(data)
        assert hashed.value is not None, row.location
        for one in self.live.values():
            if (one.value ^ hashed.value).bit_count() <= DEFAULT_DISTANCE and confirm(one.thumbnail, hashed.thumbnail):
                if one.group != row.group:
                    self.false_merges.append((one.group, row.group))
                one.seen = day
                drops["dedup"]["near_duplicate"] += 1
                return
        self.live[key] = Survivor(day, hashed.value, hashed.thumbnail, row.group)


@pytest.mark.parametrize("window", [5, 7])
def test_the_pipeline_s_own_functions_find_exactly_the_injected_faults(
    week: Arrivals, truth: dict[str, Any], window: int
) -> None:
    funnel = Funnel(window)
    for day, manifest in week.manifests.items():
        drops = funnel.day(day, manifest)
        for task, booked in truth["days"][day.isoformat()]["tasks"].items():
            assert booked.get("dropped", {}) == drops[task], (day, task)
    assert funnel.false_merges == []
    sound = sum(booked["tasks"]["detect"]["input"] for booked in truth["days"].values())
    sets = sum(booked["sets"] for booked in truth["days"].values())
    if window == 7:
        assert len(funnel.live) == sound == 504 + sets


def test_too_few_days_and_a_negative_seed_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"0 days and seed 7 found; expected days >= 1"):
        write_arrivals(samples_dir(), tmp_path, first_day=FIRST, days=0)
    with pytest.raises(ConfigError, match="seed -1"):
        write_arrivals(samples_dir(), tmp_path, first_day=FIRST, seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_pack_is_named_with_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.csv: no such file"):
        write_arrivals(tmp_path, tmp_path / "out", first_day=FIRST)
    (tmp_path / "items.csv").write_text("item,name\n")
    with pytest.raises(DataError, match=r"items\.csv:1: columns are"):
        write_arrivals(tmp_path, tmp_path / "out", first_day=FIRST)
    (tmp_path / "items.csv").write_text("item,name,category\n")
    with pytest.raises(DataError, match="no items"):
        write_arrivals(tmp_path, tmp_path / "out", first_day=FIRST)
    (tmp_path / "items.csv").write_text("item,name,category\n1f405,tiger,animals\n")
    with pytest.raises(DataError, match="0 PNG or WebP pictures of 1f405"):
        write_arrivals(tmp_path, tmp_path / "out", first_day=FIRST)
