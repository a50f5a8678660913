"""The reference gallery: labelled vectors over all categories. A folder with `gallery.npz` and `gallery.json`.

The rows are few (a cross-category index that is searched one by one), kept as float16, and in canonical order, so
that equal rows give equal bytes whatever order they came in.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.category.spec import About, FusionRules, GallerySpec, faults_of
from pipeline.models.registered import GALLERY, find_registered
from reporting.errors import ConfigError, DataError

SHIPPED = Path(__file__).parent / "galleries"
DEFAULT_GALLERY = "sample-pack"
ROWS_NAME = "gallery.npz"
SPEC_NAME = "gallery.json"
_MAX_BYTES = 1 << 30
"""Unpacked: some 400,000 rows of 1,280 numbers. More should be an index, not a gallery."""


class LabelledRow(NamedTuple):
    """What a vector is of."""

    category: str
    group: str
    """The product: all its rows together have one vote."""
    merchant: str = ""
    sku: str = ""
    """With the merchant the listing it comes from; both "" for none."""
    picture: str = ""
    """sha256 of the picture's bytes; "" for none."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Labelled rows and the rules by which they vote; made by `seal` or `open_gallery`.

    Attributes:
        spec: What is known of it, and the rules.
        stored: (rows, dim) float16, ordered by group, listing, picture, vector.
        vectors: (rows, dim) float32, the same brought to length 1.
        labels: Of each row.
        groups: Sorted names.
        starts: (groups,) int64: the first row of each group.
        categories: (groups,) int64: the place of each group's category in `spec.categories`.
    """

    spec: GallerySpec
    stored: NDArray[np.float16]
    vectors: NDArray[np.float32]
    labels: tuple[LabelledRow, ...]
    groups: tuple[str, ...]
    starts: NDArray[np.int64]
    categories: NDArray[np.int64]

    @cached_property
    def group_counts(self) -> NDArray[np.int64]:
        """(categories,) groups of each category, at least 1."""
        return np.bincount(self.categories, minlength=len(self.spec.categories))

    def with_rules(self, rules: FusionRules, metrics: dict[str, float] | None = None) -> Gallery:
        """Return the same rows under other rules."""
        changed = rules.model_dump(include=set(FusionRules.model_fields)) | {"metrics": metrics or {}}
        return replace(self, spec=GallerySpec.sealed(**self.spec.model_dump(exclude={"sha256"}) | changed))

    def rows_of(self, merchant: str, sku: str, picture: str) -> list[int]:
        """Return the rows of a listing and those of a picture; "" stands for none."""
        return [*self._by_listing.get((merchant, sku), []), *self._by_picture.get(picture, [])]

    @cached_property
    def _by_listing(self) -> dict[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, label in enumerate(self.labels):
            if label.merchant or label.sku:
                found[label.merchant, label.sku].append(place)
        return found

    @cached_property
    def _by_picture(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for place, label in enumerate(self.labels):
            if label.picture:
                found[label.picture].append(place)
        return found


def seal(
    vectors: NDArray[np.float32] | NDArray[np.float16],
    labels: Sequence[LabelledRow],
    about: About,
    rules: FusionRules | None = None,
) -> Gallery:
    """Return the gallery of some rows; their order does not matter.

    Args:
        vectors: (n, d) unit rows, n >= 1; kept as float16.
        labels: what each is of.
        about: where it comes from.
        rules: how the rows vote; default the unfitted ones.

    Raises:
        DataError: there are no rows, a vector is not of length 1, a group has two categories, or a name is not one.
    """
    if not labels or vectors.ndim != 2 or len(vectors) != len(labels):
        raise DataError(
            f"gallery {about.name}: vectors of shape {vectors.shape} for {len(labels)} labels; expected one row for"
            " each, and at least one"
        )
    stored, ordered = _ordered(vectors.astype(np.float16), labels)
    spec = GallerySpec.sealed(
        **(rules or FusionRules()).model_dump(include=set(FusionRules.model_fields)),
        **about._asdict(),
        categories=tuple(sorted({label.category for label in ordered})),
        dim=stored.shape[1],
        rows=len(ordered),
        groups=len({label.group for label in ordered}),
        rows_sha256=hashlib.sha256(_packed(stored, ordered)).hexdigest(),
    )
    return _gallery(spec, stored, ordered)


def _ordered(
    stored: NDArray[np.float16], labels: Sequence[LabelledRow]
) -> tuple[NDArray[np.float16], list[LabelledRow]]:
    order = sorted(range(len(labels)), key=lambda row: (labels[row][1:], labels[row][0], stored[row].tobytes()))
    return stored[order], [labels[row] for row in order]


def _gallery(spec: GallerySpec, stored: NDArray[np.float16], labels: Sequence[LabelledRow]) -> Gallery:
    of_group: dict[str, str] = {}
    starts = []
    for row, label in enumerate(labels):
        if label.group not in of_group:
            starts.append(row)
        if of_group.setdefault(label.group, label.category) != label.category:
            raise DataError(
                f"gallery {spec.name}: group {label.group!r} is labelled {of_group[label.group]!r} and"
                f" {label.category!r}; a product has one category: correct the labels"
            )
    exact = stored.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    # 0.01 is ten times what the rounding to float16 can do to a length of 1.
    if not (np.abs(lengths - 1) <= 0.01).all():
        raise DataError(f"gallery {spec.name}: a vector is not of length 1; build the gallery again")
    places = {name: place for place, name in enumerate(spec.categories)}
    return Gallery(
        spec=spec,
        stored=stored,
        vectors=(exact / lengths).astype(np.float32),
        labels=tuple(labels),
        groups=tuple(of_group),
        starts=np.array(starts, np.int64),
        categories=np.array([places[name] for name in of_group.values()], np.int64),
    )


def _packed(stored: NDArray[np.float16], labels: Sequence[LabelledRow]) -> bytes:
    """Return the bytes of `gallery.npz`, a function of the rows alone: neither compressed nor dated."""
    texts = {name: np.array([getattr(label, name) for label in labels], np.str_) for name in LabelledRow._fields}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, vectors=stored, **texts)
    return buffer.getvalue()


def write_gallery(gallery: Gallery, folder: Path) -> None:
    """Write a gallery into a folder, also over an earlier one: a reader meanwhile sees the old, the new or an error.

    Raises:
        DataError: the folder cannot be written.
    """
    spec = gallery.spec.model_dump_json(indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in ((ROWS_NAME, _packed(gallery.stored, gallery.labels)), (SPEC_NAME, spec.encode())):
            part = folder / f"{name}.part"
            part.write_bytes(data)
            part.replace(folder / name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; name another folder") from error


def gallery_names() -> list[str]:
    """Return the names of the shipped galleries, sorted."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{SPEC_NAME}"))


def spec_of(name: str) -> GallerySpec:
    """Return a gallery's spec; its rows are not read.

    Args:
        name: of a gallery: what the registry calls stable, else the shipped one; `name@number`: that version of the
            registry; or the path of a gallery's folder, absolute or with a slash in it.

    Raises:
        ConfigError: there is none of that name, or its spec is not valid.
    """
    return _spec(_folder(name))


def categories_of(name: str) -> tuple[str, ...]:
    """Return the categories a gallery votes for, sorted; see `spec_of`."""
    return spec_of(name).categories


def open_gallery(name: str) -> Gallery:
    """Return a gallery, verified; the same object in one process as long as its content stays the same.

    Args:
        name: as for `spec_of`.

    Raises:
        ConfigError: there is none of that name, or its spec is not valid.
        DataError: the rows are missing, or not those the spec describes.
    """
    folder = _folder(name)
    return _opened(folder, _spec(folder).sha256)


def _folder(name: str) -> Path:
    if "/" in name or Path(name).is_absolute():
        return Path(name).resolve()
    taken = find_registered(GALLERY, name)
    if taken is not None:
        return taken.folder
    known = gallery_names()
    if name not in known:
        raise ConfigError.unknown_name("gallery", name, known, f"{SHIPPED} (a path has a slash in it)")
    return SHIPPED / name


def _spec(folder: Path) -> GallerySpec:
    path = folder / SPEC_NAME
    try:
        spec = GallerySpec.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; `funnelgate learn gallery --out {folder}` builds a gallery"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not the spec of a gallery: {error}; build it again") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: not the spec of a gallery: {faults_of(error)}; build it again") from None
    if spec.sha256 != (found := spec.content_sha256()):
        raise ConfigError(
            f"{path}: sha256 is {spec.sha256[:12]}, the content gives {found[:12]}: it was changed by hand; build the"
            " gallery again (with --alpha, if its rules were meant to be others)"
        )
    return spec


@lru_cache(maxsize=8)
def _opened(folder: Path, sha256: str) -> Gallery:
    spec, path = _spec(folder), folder / ROWS_NAME
    again = f"restore the folder of {spec.name} version {spec.version}, or build it again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {again}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != spec.rows_sha256 or spec.sha256 != sha256:
        raise DataError(f"{path}: sha256 is {found}, {SPEC_NAME} says {spec.rows_sha256}; {again}")
    stored, labels = _ordered(*_unpacked(data, path))
    groups = len({label.group for label in labels})
    if (*stored.shape, groups) != (spec.rows, spec.dim, spec.groups):
        raise DataError(f"{path}: {stored.shape} vectors of {groups} groups do not fit {SPEC_NAME}; {again}")
    if {label.category for label in labels} != set(spec.categories):
        raise DataError(f"{path}: its categories are not those of {SPEC_NAME}; {again}")
    return _gallery(spec, stored, labels)


def _unpacked(data: bytes, path: Path) -> tuple[NDArray[np.float16], list[LabelledRow]]:
    fault = f"{path}: not the rows of a gallery"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(one.file_size for one in archive.infolist())
        if size > _MAX_BYTES:
            raise DataError(f"{fault}: {size} bytes unpacked, allowed are {_MAX_BYTES}; label fewer pictures")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            stored, *texts = [arrays[name] for name in ("vectors", *LabelledRow._fields)]
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise DataError(f"{fault}: {error}; build it again") from error
    if stored.dtype != np.float16 or stored.ndim != 2:
        raise DataError(f"{fault}: vectors are {stored.dtype} {stored.shape}, not float16 (n, d); build it again")
    if any(text.dtype.kind != "U" or text.shape != stored.shape[:1] for text in texts):
        raise DataError(f"{fault}: not one label for each vector; build it again")
    return stored, [LabelledRow(*row) for row in zip(*(text.tolist() for text in texts), strict=True)]
