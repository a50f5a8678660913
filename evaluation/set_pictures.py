"""Pictures of an evaluation set: found under a root that none may leave, and proven to be the ones labelled."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Query
from reporting.errors import DataError

NearHash = Callable[[bytes], str]
"""Perceptual hash of a picture's bytes: 16 hex digits, "" where it has too little detail. Handed in by the root."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was read once.

    Attributes:
        name: Its path from the root, `/` between folders and blanks as %20: an id where nothing else names it.
        path: Where it lies, absolute, links followed.
        sha256: Of its bytes, hex.
        near: Perceptual hash, "" if none was asked for.
    """

    name: str
    path: Path
    sha256: str
    near: str


@dataclass(frozen=True, slots=True)
class PictureRoot:
    """A folder that pictures are read from.

    Attributes:
        root: None may lie outside it, links followed.
        base: Relative paths start here; where nothing lies there, from `root`.
        near_hash: Makes the perceptual hash; None: none is made.
    """

    root: Path
    base: Path
    near_hash: NearHash | None = None
    _seen: dict[Path, tuple[str, str]] = field(default_factory=dict)

    def read(self, path: str, place: str) -> Picture:
        """Find and hash a picture; a file is read once.

        Raises:
            DataError: `place: ...`: it is missing, unreadable or outside the root.
        """
        lexical, target = self.locate(path, place)
        if target not in self._seen:
            data = _bytes_of(target, path, place)
            self._seen[target] = (
                hashlib.sha256(data).hexdigest(),
                "" if self.near_hash is None else self.near_hash(data),
            )
        return Picture(_named(lexical), target, *self._seen[target])

    def locate(self, path: str, place: str) -> tuple[Path, Path]:
        """Return where a picture lies: relative to the root as written, and absolute with links followed.

        Raises:
            DataError: `place: ...`: it is outside the root, or no name of a file.
        """
        root = self.root.resolve()
        try:
            start = self.base if (self.base / path).exists() else self.root
            lexical = Path(os.path.normpath(start.resolve() / path))
            target = lexical.resolve()
        # RuntimeError: a loop of symbolic links (before Python 3.13); ValueError: a NUL in the name
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{place}: picture {path!r} cannot be read: {error}; mend the path") from error
        if not (target.is_relative_to(root) and lexical.is_relative_to(root)):
            raise DataError(f"{place}: {path} lies outside {self.root}; give another --root or move the picture")
        return lexical.relative_to(root), target


def _bytes_of(target: Path, path: str, place: str) -> bytes:
    try:
        return target.read_bytes()
    except OSError as error:
        raise DataError(f"{place}: picture {path!r} cannot be read: {error}; mend the path or give --root") from error


def _named(path: Path) -> str:
    return re.sub(r"\s", lambda blank: quote(blank[0]), path.as_posix())


def read_picture(evalset: EvalSet, shown: Query | CatalogImage) -> bytes:
    """Return the bytes of a query's or catalogue picture.

    Raises:
        DataError: The set has no root or the picture no path, the file is gone or outside the root, or its bytes are
            not those that were labelled.
    """
    name = shown.query_id if isinstance(shown, Query) else shown.image_id
    if evalset.root is None or not shown.path:
        raise DataError(
            f"{evalset.set_id}: {name}: the set does not say where the picture lies; it serves run files only,"
            " or name its pictures' folder by --root"
        )
    place = f"{evalset.set_id}: {name}"
    _, target = PictureRoot(evalset.root, evalset.root).locate(shown.path, place)
    data = _bytes_of(target, shown.path, place)
    if shown.sha256 and hashlib.sha256(data).hexdigest() != shown.sha256:
        raise DataError(f"{place}: {target} has changed since the set was built; restore it or build a new set")
    return data
