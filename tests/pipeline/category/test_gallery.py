"""A gallery is written and read back, and anything that is not the one that was sealed is refused."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.category import gallery as galleries
from pipeline.category.gallery import (
    DEFAULT_GALLERY,
    Gallery,
    LabelledRow,
    categories_of,
    gallery_names,
    open_gallery,
    seal,
    spec_of,
    write_gallery,
)
from pipeline.category.spec import FusionRules, GallerySpec
from pipeline.models.catalog import open_embedder
from reporting.errors import ConfigError, DataError
from tests.pipeline.category.voting import ABOUT, gallery_of, random_gallery, unit

LABELS = [LabelledRow("mugs", "m1", "acme", "1", "p1"), LabelledRow("hats", "h1"), LabelledRow("hats", "货/2")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gallery on the disk."""
    write_gallery(small(), tmp_path / "own")
    return tmp_path / "own"


def small(**rules: Any) -> Gallery:
    return gallery_of(unit([(1, 2, 3), (3, 2, 1), (0, 1, 0)]), LABELS, **rules)


def rewritten(folder: Path, **changes: Any) -> None:
    """Change the spec and seal it again, as a forger would."""
    fields = json.loads((folder / "gallery.json").read_text()) | changes
    fields.pop("sha256")
    (folder / "gallery.json").write_text(GallerySpec.sealed(**fields).model_dump_json())


def repacked(folder: Path, **arrays: Any) -> None:
    """Change the rows and their digest, as a forger would."""
    with np.load(folder / "gallery.npz") as found:
        kept = {name: found[name] for name in found.files if name not in arrays}
    buffer = io.BytesIO()
    np.savez(buffer, **kept, **{name: value for name, value in arrays.items() if value is not None})
    (folder / "gallery.npz").write_bytes(buffer.getvalue())
    rewritten(folder, rows_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())


def test_what_is_read_is_what_was_written(folder: Path):
    written, read = small(), open_gallery(str(folder))
    assert read.spec == written.spec
    assert (read.labels, read.groups) == (written.labels, written.groups)
    for name in ("stored", "vectors", "starts", "categories"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert categories_of(str(folder)) == ("hats", "mugs")
    assert read.group_counts.tolist() == [2, 1]
    assert open_gallery(str(folder)) is read


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_equal_rows_give_equal_bytes_in_whatever_order_they_came(seed: int):
    gallery, vectors, labels = random_gallery(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    other = gallery_of(vectors[order], [labels[row] for row in order])
    packed = galleries._packed
    assert packed(other.stored, other.labels) == packed(gallery.stored, gallery.labels)
    assert other.spec.model_dump_json() == gallery.spec.model_dump_json()


def test_rows_that_only_their_vectors_tell_apart_have_an_order_too():
    vectors, labels = unit([(1, 2), (2, 1)]), [LabelledRow("hats", "h")] * 2
    assert gallery_of(vectors, labels).spec == gallery_of(vectors[::-1], labels).spec


def test_another_gallery_in_the_same_folder_is_seen_by_a_process_that_has_the_old_one_open(folder: Path):
    before = open_gallery(str(folder))
    write_gallery(small(alpha=0.7), folder)
    assert open_gallery(str(folder)).spec.alpha == 0.7
    assert before.spec.alpha != 0.7
    assert sorted(path.name for path in folder.iterdir()) == ["gallery.json", "gallery.npz"]


def test_the_sha256_names_all_that_decides_and_nothing_else():
    first = small()
    assert first.with_rules(FusionRules(tau=0.06)).spec.sha256 != first.spec.sha256
    assert small().with_rules(first.spec, {"accuracy": 0.5}).spec.sha256 == first.spec.sha256
    moved = gallery_of(unit([(1, 2, 3), (3, 2, 1), (0, 1, 0.1)]), LABELS)
    assert moved.spec.sha256 != first.spec.sha256
    relabelled = gallery_of(unit([(1, 2, 3), (3, 2, 1), (0, 1, 0)]), [*LABELS[:2], LABELS[2]._replace(sku="x")])
    assert relabelled.spec.sha256 != first.spec.sha256


def test_the_vectors_are_unit_rows_of_the_float16_numbers(folder: Path):
    gallery = open_gallery(str(folder))
    np.testing.assert_allclose(np.linalg.norm(gallery.vectors.astype(np.float64), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(gallery.vectors, gallery.stored, atol=1e-3)


def cut(folder: Path) -> None:
    (folder / "gallery.npz").write_bytes((folder / "gallery.npz").read_bytes()[:-100])


def flipped(folder: Path) -> None:
    data = bytearray((folder / "gallery.npz").read_bytes())
    data[200] ^= 1
    (folder / "gallery.npz").write_bytes(data)


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (cut, "sha256 is"),
        (flipped, "sha256 is"),
        (lambda folder: (folder / "gallery.npz").unlink(), "cannot be read"),
        (lambda folder: repacked(folder, sku=None), "sku is not a file"),
        (lambda folder: repacked(folder, vectors=np.eye(3, dtype=np.float32)), "vectors are float32"),
        (lambda folder: repacked(folder, vectors=np.eye(3, dtype=np.float16) * 2), "not of length 1"),
        (lambda folder: repacked(folder, vectors=np.full((3, 3), np.nan, np.float16)), "not of length 1"),
        (lambda folder: repacked(folder, vectors=np.eye(4, dtype=np.float16)[:3]), "do not fit gallery.json"),
        (lambda folder: repacked(folder, group=np.array(["a", "b"])), "not one label for each vector"),
        (lambda folder: repacked(folder, group=np.arange(3)), "not one label for each vector"),
        (lambda folder: repacked(folder, group=np.array(["a", "b", "a"])), r"\b2 groups do not fit"),
        (lambda folder: repacked(folder, category=np.array(["hats", "hats", "hats"])), "its categories are not those"),
        (lambda folder: repacked(folder, sku=np.array([{}] * 3, object)), "allow_pickle=False"),
    ],
)
def test_rows_that_are_not_those_of_the_spec_are_refused_and_say_what_to_do(folder: Path, damage: Damage, fault: str):
    damage(folder)
    with pytest.raises(DataError, match=fault) as caught:
        open_gallery(str(folder))
    assert str(folder) in str(caught.value) or "gallery test" in str(caught.value)
    assert "again" in str(caught.value)


def test_an_archive_that_would_unpack_to_too_much_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(galleries, "_MAX_BYTES", 500)
    with pytest.raises(DataError, match="bytes unpacked, allowed are 500"):
        open_gallery(str(folder))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{}", "name: Field required"),
        ("[", "the file: Invalid JSON"),
        (b"\xff\xfe", "codec can't decode"),
        ('{"alpha": 2}', "alpha: Input should be less than or equal to 1"),
    ],
)
def test_a_spec_that_is_none_is_refused(folder: Path, text: str | bytes, fault: str):
    (folder / "gallery.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=fault):
        spec_of(str(folder))


def test_a_rule_that_was_changed_by_hand_is_refused(folder: Path):
    path = folder / "gallery.json"
    path.write_text(path.read_text().replace('"alpha": 0.4', '"alpha": 0.6'))
    with pytest.raises(ConfigError, match=r"changed by hand; build the gallery again \(with --alpha"):
        open_gallery(str(folder))


def test_a_gallery_that_is_not_there_is_refused_with_the_names_of_those_that_are(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"unknown gallery 'sample-pak'; did you mean sample-pack\?"):
        open_gallery("sample-pak")
    with pytest.raises(ConfigError, match=r"gallery\.json: cannot be read: .*funnelgate learn gallery"):
        open_gallery(f"{tmp_path}/none")


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ([LabelledRow("hats", "g"), LabelledRow("mugs", "g")], "group 'g' is labelled 'hats' and 'mugs'"),
        ([LabelledRow("hats", "g")], "vectors of shape"),
        ([], "expected one row for each, and at least one"),
        ([LabelledRow("all", "g"), LabelledRow("hats", "h")], "categories must be sorted, distinct and not 'all'"),
        ([LabelledRow("a/b", "g"), LabelledRow("hats", "h")], "contains '/'"),
    ],
)
def test_labels_that_contradict_each_other_are_refused(labels: list[LabelledRow], fault: str):
    with pytest.raises(DataError, match=fault):
        seal(unit([(1, 0), (0, 1)]), labels, ABOUT)


def test_the_shipped_gallery_opens_fits_its_model_and_names_its_licence():
    assert gallery_names() == [DEFAULT_GALLERY]
    gallery = open_gallery(DEFAULT_GALLERY)
    assert gallery.spec.space_id == open_embedder(gallery.spec.embedder).space_id
    folder = galleries.SHIPPED / DEFAULT_GALLERY
    assert all(name in (folder / "LICENSE").read_text() for name in ("Apache", "CC-BY-4.0"))
    assert gallery.spec.licence == "Apache-2.0 AND CC-BY-4.0"
    assert (folder / "gallery.npz").stat().st_size < 1.5e6


def test_no_item_that_is_held_out_is_in_the_shipped_gallery():
    import samples

    groups = set(open_gallery(DEFAULT_GALLERY).groups)
    assert len(groups) == 216
    assert not any(samples.held_out(group) for group in groups)
