"""One category's index and items as they lie in a lake, opened and verified on first use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.index.opened import OpenIndex, open_bytes, open_file
from pipeline.lake import Lake
from pipeline.release.manifest import CategoryIndex
from pipeline.release.objects import inside, require_content
from pipeline.serve.items import ItemTable
from reporting.errors import ContractViolation, DataError, StoreError

_OPENED = ("index", "items")


class _Seen(NamedTuple):
    """How a file looked when its content was the one of this hash."""

    sha256: str
    node: int
    size: int
    changed: int

    @classmethod
    def of(cls, file: Path, sha256: str) -> _Seen:
        found = file.stat()
        return cls(sha256, found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, eq=False)
class Shelf:
    """One category of a generation.

    The index is the file of the manifest, mapped; where that does not lie there yet (a candidate before its PASS) it
    is a virtual one over the day shards, with the rows of the item table.
    """

    lake: Lake
    category: str
    entry: CategoryIndex
    _checked: dict[Path, _Seen] = field(default_factory=dict, init=False, repr=False)
    """Files that were read whole and found to be the published ones, as they looked then."""

    @cached_property
    def index(self) -> OpenIndex:
        """The index.

        Raises:
            StoreError: A file cannot be read.
            ContractViolation: Its bytes are not those of the manifest, or a path leads out of the lake.
        """
        where = self.entry.index_path
        file = self._local(where)
        if file is not None and file.is_file():
            self._check(file, self.entry.index_sha256)
            return open_file(file)
        if self.entry.days and self.entry.quantizer_path is not None and not self.lake.exists(where):
            return self._virtual(self.entry.quantizer_path)
        data = self.lake.read_bytes(where)
        _verify(hashlib.sha256(data).hexdigest(), self.entry.index_sha256, self.lake.full(where))
        return open_bytes(data, where=where)

    @cached_property
    def items(self) -> ItemTable:
        """The item table by id.

        Raises:
            StoreError: It cannot be read.
            ContractViolation: Its bytes are not those of the manifest.
        """
        path = self.entry.items_path
        file = self._local(path)
        if file is not None:
            self._check(file, self.entry.items_sha256)
        else:
            _verify(
                hashlib.sha256(self.lake.read_bytes(path)).hexdigest(), self.entry.items_sha256, self.lake.full(path)
            )
        return ItemTable(self.lake.read_table(path), path)

    @property
    def is_loaded(self) -> bool:
        """Whether index and items are in memory."""
        return all(name in self.__dict__ for name in _OPENED)

    @property
    def size_bytes(self) -> int:
        """Bytes of the files that it is opened from."""
        paths = [self.entry.index_path, self.entry.items_path]
        if not self.lake.exists(self.entry.index_path):
            shards = dict.fromkeys(day.shard_path for day in self.entry.days.values())  # a tail gave several days
            paths[:1] = [f"{folder}/index.faiss" for folder in shards]
        files = [self._local(path) for path in paths]
        return sum(file.stat().st_size for file in files if file is not None)

    def verify(self) -> None:
        """Make sure that the released files are the published ones; each is read once as long as it does not change.

        Raises:
            StoreError: One is not there: of a release the index itself must be, not only its shards.
            ContractViolation: One is another than the manifest says.
        """
        for path, sha256 in (
            (self.entry.index_path, self.entry.index_sha256),
            (self.entry.items_path, self.entry.items_sha256),
        ):
            self._check(inside(Path(self.lake.full("")), path), sha256)

    def load(self) -> None:
        """Open both now; the errors are those of `index` and `items`."""
        _ = (self.index, self.items)

    def has_content_of(self, other: Shelf) -> bool:
        """Say whether both are of the same bytes."""
        return (self.entry.index_sha256, self.entry.items_sha256) == (
            other.entry.index_sha256,
            other.entry.items_sha256,
        )

    def with_entry(self, entry: CategoryIndex) -> Shelf:
        """Return the same loaded content under another release's entry of it, which may probe more lists."""
        twin = replace(self, entry=entry)
        twin._checked.update(self._checked)
        for name in _OPENED:
            twin.__dict__[name] = getattr(self, name)
        return twin

    def item(self, number: int) -> dict[str, Any]:
        """Return one item row.

        Raises:
            DataError: The index holds an id that the item table does not have: they do not belong together.
        """
        row = self.items.get(number)
        if row is None:
            raise self._foreign(number)
        return row

    def groups(self, numbers: Sequence[int]) -> list[str]:
        """Return the product group of each id; the error is that of `item`."""
        try:
            return self.items.groups(numbers)
        except KeyError as error:
            raise self._foreign(error.args[0]) from None

    def _foreign(self, number: int) -> DataError:
        return DataError(
            f"{self.entry.items_path}: has no item {number}, which the index of {self.category!r} holds; the two "
            "do not belong together: merge that day again and release it"
        )

    def _local(self, path: str) -> Path | None:
        """Return where a file of the manifest lies, None in a lake without files; never outside of the lake."""
        place = inside(Path(self.lake.full("")), path)
        return None if self.lake.local(path) is None else place

    def _check(self, file: Path, sha256: str) -> None:
        try:
            seen = _Seen.of(file, sha256)
        except OSError as error:
            raise StoreError(f"{file}: cannot be read: {error.strerror}; restore it or publish it again") from error
        if self._checked.get(file) != seen:
            require_content(file, sha256)
            self._checked[file] = seen

    def _virtual(self, quantizer_path: str) -> OpenIndex:
        """Open the shards side by side; of each the rows that the item table says its days gave."""
        from pipeline.index.part import ShardPart
        from pipeline.index.shard import ShardManifest
        from pipeline.index.virtual import open_virtual
        from pipeline.shards import days_by_shard

        parts = []
        for folder, days in days_by_shard(self.entry).items():
            manifest = ShardManifest.model_validate_json(self.lake.read_bytes(f"{folder}/shard.json"))
            named = self.entry.days[days[0]].shard_sha256
            if manifest.sha256 != named:
                raise ContractViolation(
                    f"{folder}: is shard {manifest.sha256[:16]}, the manifest of {self.category!r} names "
                    f"{named[:16]}; build that day again"
                )
            where = f"{folder}/index.faiss"
            rows = sum(self.entry.days[day].rows for day in days)
            keep = None if rows == manifest.rows else self.items.ids_of_days(days)
            parts.append(ShardPart(manifest, self._local(where) or self.lake.read_bytes(where), keep))
        return open_virtual(self.lake.read_bytes(quantizer_path), parts)


def _verify(found: str, sha256: str, where: str) -> None:
    if found != sha256:
        raise ContractViolation(
            f"{where}: sha256 {found[:16]} is not the published {sha256[:16]}; restore or publish it again"
        )
