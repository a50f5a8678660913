"""`learn gallery`: from labelled pictures, and of the sample pack."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import samples
from pipeline.category.decision import decide
from pipeline.category.fit import fit_rules, measure
from pipeline.category.gallery import DEFAULT_GALLERY, LabelledRow, open_gallery, write_gallery
from pipeline.category.spec import FusionRules
from pipeline.demo.drawing import load_look
from pipeline.demo.photos import photo
from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE, crop_object
from pipeline.images.decode import DecodeLimits
from pipeline.learn import gallery_samples
from pipeline.learn.build_gallery import Built, Piece, Vectors, embed_all, probes_of, with_prefix
from pipeline.learn.cli_gallery import gallery
from pipeline.learn.gallery_samples import build_samples, sample_items
from pipeline.learn.labels import read_labels
from pipeline.learn.sprites import part_of
from pipeline.models.catalog import DEFAULT_DETECTOR, DEFAULT_EMBEDDER, open_detector, open_embedder
from pipeline.models.detections import Box, Detection, Found
from reporting.errors import DataError, FunnelgateError, UsageError
from tests.pipeline.squares import DETECTOR, box_of, squares

FEW = [item for item in sample_items() if item[0] in ("1f34e", "1f34a", "1f405", "1f40d")]
Labels = Callable[..., Path]


def run(*arguments: object, fails: type[FunnelgateError] | None = None) -> Any:
    """Run the command; return what it printed as JSON, or the message it failed with."""
    app = typer.Typer()
    app.command()(gallery)
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if fails is not None:
        assert type(done.exception) is fails, done.output
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_person_is_told_the_rules_the_accuracy_and_what_is_mistaken_for_what(tmp_path: Path, labels: Labels):
    rows = [(saved(tmp_path, f"{n}.png", squares(n, {9: 0.9})), ("red", "blue")[n % 2], f"g{n}") for n in range(4)]
    app = typer.Typer()
    app.command()(gallery)
    done = CliRunner().invoke(app, ["--labels", str(labels(rows)), "--out", str(tmp_path / "own"), "--no-detect"])
    assert done.exit_code == 0, done.output
    assert "4 rows of 4 groups in 2 categories: alpha 0.4, tau" in done.stdout
    assert "4 objects, their own group left out: vote_accuracy" in done.stdout
    assert re.search(r"  red: \d of 2 right; ", done.stdout)
    assert f"{tmp_path}/own: written; name it in pipeline.yaml: tasks.categorise.settings.gallery" in done.stdout


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    """Write a list of labelled pictures: (file, category, group) and more columns."""

    def write(rows: Sequence[Sequence[str]], header: Sequence[str] = ("path", "category", "group")) -> Path:
        path = tmp_path / "labels.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


def saved(folder: Path, name: str, picture: Image.Image) -> str:
    picture.save(folder / name)
    return name


def test_each_labelled_picture_becomes_a_row_of_its_main_object(tmp_path: Path, labels: Labels):
    """The detector finds the reddest cell; the row is the vector of that cell, cut out as the task crop does."""
    pictures = [saved(tmp_path, f"{number}.png", squares(number, {9: 0.8, 40: -0.6})) for number in range(3)]
    rows = [(name, "red", f"g{number}", "acme", f"s{number}") for number, name in enumerate(pictures)]
    facts = run(
        "--labels", labels(rows, ("path", "category", "group", "merchant", "sku")),
        "--out", tmp_path / "own", "--detector", DETECTOR, "--version", 3,
    )  # fmt: skip
    found = open_gallery(str(tmp_path / "own"))
    assert (facts["rows"], facts["groups"], facts["whole_pictures"], facts["skipped"]) == (3, 3, 0, [])
    assert (found.spec.name, found.spec.version, found.spec.sha256) == ("own", 3, facts["sha256"])
    assert found.spec.cut_by == open_detector(str(DETECTOR)).version
    data = (tmp_path / "0.png").read_bytes()
    picture = hashlib.sha256(data).hexdigest()
    assert found.labels[0] == LabelledRow("red", "g0", "acme", "s0", picture)
    pixels = crop_object(data, box_of(9), margin=DEFAULT_MARGIN, side=DEFAULT_SIDE, limits=DecodeLimits())
    vector = open_embedder(DEFAULT_EMBEDDER).embed([pixels])[0]
    np.testing.assert_allclose(found.vectors[0], vector, atol=1e-3)


def test_without_a_detector_the_whole_picture_is_the_object(tmp_path: Path, labels: Labels):
    names = [saved(tmp_path, f"{number}.png", squares(number, {9: 0.8})) for number in range(2)]
    path = labels([(name, "Red/Things", f"g{name}") for name in names])
    facts = run("--labels", path, "--out", tmp_path / "own", "--no-detect", "--name", "mine")
    assert facts["categories"] == ["Red-Things"]  # as the source's own categories are written
    found = open_gallery(str(tmp_path / "own"))
    whole = open_embedder(DEFAULT_EMBEDDER).embed([np.asarray(squares(0, {9: 0.8}).convert("RGB"))])[0]
    assert (found.vectors @ whole).max() == pytest.approx(1, abs=1e-3)
    assert facts["rules"]["alpha"] == 0.4  # there was no detector to weigh
    assert facts["single_group_categories"] == []


def test_pictures_that_cannot_be_used_are_left_out_and_named(tmp_path: Path, labels: Labels):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    good = saved(tmp_path, "good.png", squares(1, {9: 0.8}))
    empty = saved(tmp_path, "empty.png", squares(2, {}))
    path = labels([(good, "red", "g1"), ("gone.png", "red", "g2"), ("bad.png", "red", "g3"), (empty, "red", "g4")])
    facts = run("--labels", path, "--out", tmp_path / "own", "--detector", DETECTOR)
    assert (facts["rows"], facts["whole_pictures"]) == (2, 1)
    assert facts["single_group_categories"] == []
    reasons = {Path(one["path"]).name: one["reason"] for one in facts["skipped"]}
    assert reasons.keys() == {"gone.png", "bad.png"}
    assert reasons["gone.png"] == "cannot be read: No such file or directory"
    assert "not_an_image" in reasons["bad.png"]
    path = labels([(good, "red", "g1"), (empty, "blue", "g4")])
    alone = run("--labels", path, "--out", tmp_path / "own", "--no-detect")
    assert alone["single_group_categories"] == ["blue", "red"]
    path = labels([("gone.png", "red", "g2")])
    message = run("--labels", path, "--out", tmp_path / "none", "--no-detect", fails=DataError)
    assert "none of 1 pictures can be used" in message
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("path,category\na.png,red\n", "labels.csv:1: missing column group"),
        ("path,category,grup\n", r"labels.csv:1: unknown column 'grup'; did you mean group\?"),
        ("path,category,group\na.png,,g\n", "labels.csv:2: no category"),
        ("path,category,group\na.png,red,g\n,red,g\n", "labels.csv:3: no path"),
        ("path,category,group\na.png,...,g\n", "labels.csv:2: no category"),
        ("path,category,group\na.png,red,g,1,2,3\n", "labels.csv:2: more cells than columns"),
        ("path,category,group\n", "no rows; label at least two products"),
        (b"path,category,group\n\xff,red,g\n", "not a CSV in UTF-8"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str | bytes, fault: str):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=fault):
        read_labels(path)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ((), "give either --labels CSV, or --samples"),
        (("--samples", "--labels", "x.csv"), "give either --labels CSV, or --samples"),
        (("--samples", "--no-detect"), "--samples has exact boxes and a name"),
        (("--samples", "--name", "mine"), "--samples has exact boxes and a name"),
        (("--labels", "x.csv", "--detector", "whole", "--no-detect"), "give either --detector or --no-detect"),
    ],
)
def test_contradictions_are_refused_before_any_work(tmp_path: Path, options: tuple[str, ...], fault: str):
    assert fault in run(*options, "--out", tmp_path / "own", fails=UsageError)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "is there and no gallery" in run("--samples", "--out", tmp_path, fails=UsageError)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def build(items: list[tuple[str, str]], **options: Any) -> Built:
    embedder = open_embedder(DEFAULT_EMBEDDER)
    return build_samples(embedder=embedder, items=items, on_progress=lambda _done, _all: None, **options)


def test_the_sample_gallery_is_the_same_bytes_each_time(tmp_path: Path):
    assert len(FEW) == 4
    for number in range(2):
        write_gallery(build(FEW).gallery, tmp_path / str(number))
    for name in ("gallery.npz", "gallery.json"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_the_rows_of_an_item_do_not_depend_on_the_other_items():
    """So the shipped rows can be checked without building all of them."""
    shipped, few = open_gallery(DEFAULT_GALLERY), build(FEW).gallery
    known = [item for item, _ in FEW if not samples.held_out(item)]
    assert {label.group for label in few.labels} == set(known)
    of_them = shipped.vectors[[label.group in known for label in shipped.labels]]
    # Another processor sums in another order, which may turn the last bit of a float16.
    np.testing.assert_allclose(few.vectors, of_them, atol=2e-3)
    assert [label for label in shipped.labels if label.group in known] == list(few.labels)


class KnowsByHeart:
    """A detector that finds every object and is always sure; of the items it was not trained on it is half right."""

    version, ref = "heart-1", "heart@1"

    def __init__(self, items: list[tuple[str, str]]) -> None:
        self.classes = tuple(sorted({category for _, category in items}))
        self.asked: set[str] = set()
        self._drawn: dict[str, tuple[str, str, Box]] = {}
        for look in gallery_samples.ALL_LOOKS:
            for item, category in (one for one in items if part_of(one[0]) != "train"):  # of others it is not asked
                for number in range(gallery_samples._DRAWINGS):
                    names = ("photo", look, item, *([str(number)] if number else []))
                    drawn = photo(load_look(samples.samples_dir(), look, item), gallery_samples._rng(*names))
                    self._drawn[hashlib.sha256(drawn.data).hexdigest()] = (item, category, drawn.box)

    def detect(self, pictures: Sequence[bytes], _limits: DecodeLimits) -> list[Found]:
        return [self._found(hashlib.sha256(data).hexdigest()) for data in pictures]

    def _found(self, picture: str) -> Found:
        item, category, box = self._drawn[picture]
        self.asked.add(item)
        right = part_of(item) == "train" or int(picture, 16) % 2 == 0
        others = [name for name in self.classes if name != category]
        said = category if right else others[int(picture, 16) % len(others)]
        scores = tuple(0.9 if name == said else 0.1 / (len(self.classes) - 1) for name in self.classes)
        elsewhere = Detection(Box(0, 0, 5, 5), 0.9, category, scores[::-1])
        return Found((elsewhere, Detection(box, 0.8, said, scores)), 0.0)


@pytest.mark.slow
def test_a_detector_is_weighed_on_items_it_was_not_trained_on(monkeypatch: pytest.MonkeyPatch):
    """One in eight of the items that are not held out: what it knows by heart would make it look infallible."""
    monkeypatch.setattr(gallery_samples, "_DRAWINGS", 2)
    parts = {part: [item for item in sample_items() if part_of(item[0]) == part] for part in ("train", "tune", "test")}
    items = [*parts["train"][::16], *parts["tune"][::8], *parts["test"][::12]]
    detector = KnowsByHeart(items)
    built = build(items, detector=detector)
    metrics = built.gallery.spec.metrics
    assert detector.asked == {item for item, _ in items if part_of(item) != "train"}
    tuned = len(parts["tune"][::8])
    assert metrics["tune_n"] == tuned * len(gallery_samples.ALL_LOOKS) * gallery_samples._DRAWINGS > 20
    assert 0.25 < metrics["tune_detector_accuracy"] < 0.75
    assert metrics["tune_fusion_accuracy"] > 0
    assert built.gallery.spec.alpha != FusionRules().alpha
    assert built.gallery.spec.source.endswith("weighed: heart@1")
    assert "detector_accuracy" in (built.held_out or built.left_out).metrics
    assert build(items[:12], detector=detector, alpha=0.7).gallery.spec.alpha == 0.7


@pytest.mark.slow
def test_the_rules_of_the_shipped_gallery_s_vote_are_those_that_are_fitted_again():
    """Rows are looked at above; here the photos are drawn again, and the rules chosen by them."""
    shipped = open_gallery(DEFAULT_GALLERY)
    known = [item for item in sample_items() if not samples.held_out(item[0])]
    probes = probes_of(*embedded(known, gallery_samples.CATALOGUE_LOOKS))
    of_the_vote = {"tau", "prior_power", "min_similarity", "neighbours"}
    assert fit_rules(shipped, probes).model_dump(include=of_the_vote) == shipped.spec.model_dump(include=of_the_vote)
    measured = with_prefix("left_out", measure(shipped, probes))
    assert measured == pytest.approx({name: shipped.spec.metrics[name] for name in measured}, abs=0.01)


@pytest.mark.slow
def test_what_the_shipped_gallery_is_worth_as_floors():
    """Items that nobody was taught, in all looks: the fusion is not below the better of its two voters."""
    shipped, detector = open_gallery(DEFAULT_GALLERY), open_detector(DEFAULT_DETECTOR)
    unknown = [item for item in sample_items() if samples.held_out(item[0])]
    probes = probes_of(*embedded(unknown, gallery_samples.ALL_LOOKS, detector, gallery_samples._DRAWINGS))
    metrics = measure(shipped, probes).metrics
    assert metrics["vote_accuracy"] >= 0.45
    assert metrics["fusion_accuracy"] >= max(0.5, metrics["vote_accuracy"], metrics["detector_accuracy"])
    assert metrics == pytest.approx({name: shipped.spec.metrics[f"held_out_{name}"] for name in metrics}, abs=0.02)


@pytest.mark.slow
def test_the_users_photo_of_a_known_item_finds_its_category_by_the_vote_alone():
    shipped = open_gallery(DEFAULT_GALLERY)
    known = [item for item in sample_items() if not samples.held_out(item[0])][::6]
    vectors, pieces = embedded(known, ["fluent"])
    free = shipped.with_rules(shipped.spec.model_copy(update={"min_score": 0.0, "min_similarity": -1.0}))
    nobody: list[dict[str, float]] = [{} for _ in pieces]
    allowed = shipped.spec.categories
    decisions = decide(free, vectors, nobody, excluding=[None] * len(pieces), known=allowed, fallback="other")
    right = [one.category == piece.label.category for one, piece in zip(decisions, pieces, strict=True)]
    assert np.mean(right) >= 0.70


def embedded(items: list[tuple[str, str]], looks: Sequence[str], *drawn: Any) -> tuple[Vectors, list[Piece]]:
    pieces = gallery_samples._photos(items, looks, *drawn)
    return embed_all(pieces, open_embedder(DEFAULT_EMBEDDER), lambda _done: None)
