"""Numbered, immutable manifests, and pointers that say which one counts.

Order of writes, each flushed to the disk before the next: `NNNNNN.json` under a name that nobody else can take (hard
link of a finished file: it exists whole or not at all), then the pointer by rename. Whatever dies in between,
`current` answers with the old or the new one. A lock serialises publishers, so that a pointer never goes back; the
kernel frees it when its holder dies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.release.durable import create_once, flush_folder, locked, make_folder, replace_by
from reporting.errors import StoreError

if TYPE_CHECKING:
    from pipeline.release.signing import Signer

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
LOCK = ".publishing"
_NUMBERED = re.compile(r"(\d{6,})\.json", re.ASCII)


class Numbered(BaseModel):
    """What every manifest has.

    Attributes:
        number: Rises by at least one from manifest to manifest, >= 1; never used twice. A crash between a
            manifest and its pointer can leave a gap.
        parent: Number that the pointer named before, None for the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    parent: int | None = Field(default=None, ge=1)


class Pointer(BaseModel):
    """Content of a pointer file.

    Attributes:
        number: The manifest that counts.
        sha256: Of the manifest's bytes.
        at: When it was signed, aware; None where it is not.
        expires_at: From when on a consumer that wants signatures refuses it (somebody may hold back a newer one);
            None: never.
        signature: Ed25519 over everything above and the pointer's scope, in hexadecimal; None where it is not signed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    sha256: Sha256
    at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    signature: Annotated[str, Field(pattern="^[0-9a-f]{128}$")] | None = None


M = TypeVar("M", bound=Numbered)


@dataclass(frozen=True)
class Series(Generic[M]):
    """One run of numbers: the releases of a lake, or the versions of one resource.

    Attributes:
        root: Folder of the lock and of the pointers.
        model: Class of the manifests.
        what: What a manifest is, for messages: `release`.
        folder: Folder of the manifests, relative to the root; empty: the root itself.
        scope: What a signature binds a pointer to, so that no other pointer can take its place.
    """

    root: Path
    model: type[M]
    what: str
    folder: str
    scope: str

    def current(self, pointer: str) -> M | None:
        """Return the manifest that a pointer names, None if it was never set.

        Raises:
            StoreError: Pointer or manifest are unreadable or do not match; the message names the file.
        """
        found = self.pointer(pointer)
        return None if found is None else self.read(found.number, found.sha256)

    def pointer(self, name: str) -> Pointer | None:
        """Return a pointer as it is written, None if it was never set; its signature is not looked at.

        Raises:
            StoreError: It is unreadable; the message names the file.
        """
        path = self.root / name
        try:
            return parse_pointer(path.read_bytes(), str(path), self.what)
        except FileNotFoundError:
            return None

    def read(self, number: int, sha256: str | None = None) -> M:
        """Return one manifest, verified by its number and, if given, the sha256 of its bytes.

        Raises:
            StoreError: It is not there, unreadable or another one; the message names the file.
        """
        path = self.manifest_path(number)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError(
                f"{path}: {self.what} {number} is not there; restore the file, or name another {self.what}"
            ) from error
        return self.parse(data, number, sha256, str(path))

    def parse(self, data: bytes, number: int, sha256: str | None, where: str) -> M:
        """Return a manifest from its bytes; errors as `read`."""
        try:
            manifest = self.model.model_validate_json(data)
        except ValidationError as error:
            raise StoreError(f"{where}: is no {self.what} manifest; restore it from a copy") from error
        found = hashlib.sha256(data).hexdigest()
        if manifest.number != number or sha256 not in (None, found):
            raise StoreError(
                f"{where}: holds {self.what} {manifest.number} with sha256 {found}, expected {number} with {sha256};"
                " manifests never change: restore it from a copy"
            )
        return manifest

    def numbers(self) -> list[int]:
        """Return every number taken, rising."""
        folder = self.root / self.folder
        if not folder.is_dir():
            return []
        names = (_NUMBERED.fullmatch(path.name) for path in folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def manifest_path(self, number: int) -> Path:
        """Return where a manifest lies, whether or not it is there."""
        return self.root / self.folder / f"{number:06d}.json"

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the publishers' lock: nothing is published and nothing swept by another meanwhile."""
        make_folder(self.root)
        with locked(self.root / LOCK):
            yield

    def publish(
        self,
        pointer: str,
        *,
        same: Callable[[M], bool],
        resumes: Callable[[M], bool],
        build: Callable[[int, int | None], M],
        check: Callable[[], None] = lambda: None,
        signer: Signer | None = None,
        after: int = 0,
    ) -> M:
        """Give content the next number, write its manifest and point to it. Hold `publishing`.

        Args:
            pointer: Name of the pointer.
            same: Whether a manifest has the content to be published: the one that counts is then answered, and nothing
                is written but, with a signer, its signature anew.
            resumes: Whether a manifest that an earlier attempt wrote without reaching the pointer is this very one;
                it is then taken up, so that a resumed task ends with the same number.
            build: Makes the manifest from its number and its parent.
            check: Called before anything is written; raises what is against it.
            signer: Signs the pointer; None: it is not signed.
            after: The number given is above this one.

        Raises:
            OSError: The disk refused a write; the pointer is then unchanged or already new, never broken.
            StoreError: What is published there cannot be read.
        """
        make_folder(self.root / self.folder)
        before = self.current(pointer)
        if before is not None and same(before):
            if signer is not None:
                self._point(pointer, before.number, signer)
            flush_folder((self.root / pointer).parent)  # whoever renamed may have died before its own flush
            return before
        check()
        served = None if before is None else before.number
        manifest = self._unfinished(served, resumes) or self._write(served, build, after)
        flush_folder(self.root / self.folder)
        self._point(pointer, manifest.number, signer)
        return manifest

    def point(self, pointer: str, number: int, signer: Signer | None = None) -> M:
        """Let a pointer name a manifest that is there, or sign it anew. Hold `publishing`.

        Raises:
            OSError: The disk refused.
            StoreError: There is no such manifest, or the pointer would go back, which no consumer follows.
        """
        before = self.current(pointer)
        if before is not None and before.number > number:
            raise StoreError(
                f"{self.root / pointer}: names {self.what} {before.number}, and cannot go back to {number}: numbers"
                " only rise; roll back, which gives old content a new number"
            )
        manifest = self.read(number)
        make_folder((self.root / pointer).parent)
        self._point(pointer, number, signer)
        return manifest

    def _unfinished(self, served: int | None, resumes: Callable[[M], bool]) -> M | None:
        """Return the last manifest if it is newer than the pointer and the one wanted, else None."""
        number = next(reversed(self.numbers()), 0)
        if number <= (served or 0):
            return None
        last = self.read(number)
        return last if last.parent == served and resumes(last) else None

    def _write(self, parent: int | None, build: Callable[[int, int | None], M], after: int) -> M:
        """Write the manifest under the next free number."""
        number = max(next(reversed(self.numbers()), 0), after) + 1
        while True:
            manifest = build(number, parent)
            if create_once(self.manifest_path(number), bytes_of(manifest)):
                return manifest
            number += 1  # a publisher on another machine, where our lock does not reach

    def _point(self, pointer: str, number: int, signer: Signer | None) -> None:
        sha256 = hashlib.sha256(self.manifest_path(number).read_bytes()).hexdigest()
        made = Pointer(number=number, sha256=sha256)
        if signer is not None:
            made = signer.sign(made, f"{self.scope} {pointer}")
        make_folder((self.root / pointer).parent)
        replace_by(self.root / pointer, bytes_of(made, exclude_none=True))


def parse_pointer(data: bytes, where: str, what: str = "release") -> Pointer:
    """Return a pointer from its bytes.

    Raises:
        StoreError: It is none; the message names the file.
    """
    try:
        return Pointer.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(f"{where}: is no {what} pointer; publish again or restore it") from error


def bytes_of(model: BaseModel, *, exclude_none: bool = False) -> bytes:
    """Return a model as the bytes of a file: JSON of one field a line."""
    return (model.model_dump_json(indent=1, exclude_none=exclude_none) + "\n").encode()
