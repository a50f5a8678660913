"""The lake: Parquet and pack files in attempt directories, through fsspec.

Layout: `task/date/category/subinstance/planid/attempt=<n>-<token>/<file>`. A directory is visible
only through the pointer that is committed with the instance's state; a killed attempt leaves an
unpointed directory that nobody reads. Files are flushed to disk before the pointer is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.release.durable import flush_folder, make_folder, temporary_beside, write_temporary
from reporting.errors import ConfigError, DataError, StoreError
from reporting.key import RunKey


class LetGo(DataError):
    """What was asked for has been let go: its row is still there, its bytes are not (`pipeline.tasks.reclaim`)."""


class Lake:
    """Files under one root URL (`file:///…`, a plain path, or any fsspec URL)."""

    def __init__(self, root: str):
        self.root = root.rstrip("/")
        self._fs, self._base = fsspec.core.url_to_fs(self.root)
        self._local = self._fs.protocol in ("file", ("file", "local"))

    def attempt_folder(self, key: RunKey, attempt: int, token: str) -> str:
        """Return the folder of one attempt, relative to the root."""
        return "/".join(
            (
                key.task,
                key.date.isoformat(),
                key.category,
                key.subinstance,
                key.planid,
                f"attempt={attempt:03d}-{token[:12]}",
            )
        )

    def full(self, path: str) -> str:
        """Return the absolute location of a path relative to the root."""
        return f"{self._base}/{path}"

    def local(self, path: str) -> Path | None:
        """Return where a file lies in this machine's file system, mounted or its own; None in a lake reached by URL."""
        return Path(self.full(path)) if self._local else None

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine, its own or mounted."""
        return bool(self._local)

    def folder(self) -> Path:
        """Return the root as a folder, for what needs hard links, atomic renames and mapped files.

        Raises:
            ConfigError: the lake is reached by URL.
        """
        if not self._local:
            raise ConfigError(
                f"{self.root}: shards and releases need a lake that is a folder, local or mounted; mount it, or set "
                "lake.root to one"
            )
        return Path(self._base)

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open a new file for writing; it is on disk when the block ends.

        Raises:
            StoreError: the disk is full, read-only or gone. Nothing points at the half-written file.
        """
        full = self.full(path)
        try:
            self._fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
            with self._fs.open(full, "wb") as file:
                yield cast(BinaryIO, file)
                file.flush()
                if self._local:
                    os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"{full}: cannot be written: {error.strerror or error}; free or mount the disk and run again, "
                "nothing of this attempt is visible"
            ) from error

    def seal_folder(self, path: str) -> None:
        """Flush a folder's own entries to disk (local lakes), after its last file."""
        if not self._local:
            return
        folder = Path(self.full(path))
        while str(folder).startswith(self._base) and folder.exists():
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            folder = folder.parent

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write a Parquet file; fixed-size lists (vectors) as they are, for floats neither repeat nor compress."""
        with self.create(path) as file:
            _write_parquet(table, file)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file of bytes."""
        with self.create(path) as file:
            file.write(data)

    @contextmanager
    def replace(self, path: str) -> Iterator[BinaryIO]:
        """Open a file that takes the place of a committed one when the block ends, by one rename (folders only).

        Who has the old one open goes on reading it; whoever is killed leaves the old one or the new one, whole. Writers
        of one path must exclude each other.

        Raises:
            ConfigError: the lake is no folder.
            StoreError: the disk is full, read-only or gone; the old file stays.
        """
        file = self.folder() / path
        aside = file.with_name(f".{file.name}.new")
        try:
            with aside.open("wb") as stream:
                os.fchmod(stream.fileno(), stat.S_IMODE(file.stat().st_mode))  # whoever could read it still can
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(file)
            flush_folder(file.parent)
        except OSError as error:
            raise StoreError(
                f"{file}: cannot be replaced: {error.strerror or error}; the file that is there stays; free or mount "
                "the disk and run again"
            ) from error
        finally:
            aside.unlink(missing_ok=True)

    def replace_table(self, path: str, table: pa.Table) -> None:
        """Put a table in the place of a committed one, written as `write_table` does; errors as `replace`."""
        with self.replace(path) as file:
            _write_parquet(table, file)

    def put_once(self, path: str, data: bytes) -> None:
        """Write a file that is named by its content: whole or not at all, and never again, so that it may be mapped.

        Raises:
            StoreError: what is there has another size, or the disk refuses.
        """
        if not self._local:  # an object store shows a file only when it is whole
            if not self.exists(path):
                self.write_bytes(path, data)
            return
        file = Path(self.full(path))
        try:
            make_folder(file.parent)
            written = write_temporary(temporary_beside(file), data)
            try:
                written.chmod(0o444)
                os.link(written, file)
            except FileExistsError:
                os.utime(file)  # a sweep's grace counts from the last who wanted it
            finally:
                written.unlink()
            found = file.stat().st_size
            flush_folder(file.parent)
        except OSError as error:
            raise StoreError(
                f"{file}: cannot be written: {error.strerror or error}; free or mount the disk and run again"
            ) from error
        if found != len(data):
            raise StoreError(
                f"{file}: holds {found} bytes, expected {len(data)}: it is damaged, and is never overwritten; "
                "move it away and run again"
            )

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a Parquet file.

        Raises:
            StoreError: the file a committed pointer names is gone or damaged.
        """
        return self._reading(path, lambda full: self._read_parquet(full, columns))

    def read_schema(self, path: str) -> pa.Schema:
        """Return the schema of a Parquet file of a lake that is a folder; errors as `read_table`."""
        return self._reading(path, pq.read_schema)

    def _read_parquet(self, full: str, columns: Sequence[str] | None) -> pa.Table:
        if self._local:
            return pq.ParquetFile(full).read(columns=list(columns) if columns is not None else None)
        with self._fs.open(full, "rb") as file:
            return pq.read_table(BytesIO(file.read()), columns=list(columns) if columns is not None else None)

    def read_bytes(self, path: str) -> bytes:
        """Read a whole file."""
        return cast(bytes, self._reading(path, self._fs.cat_file))

    def _reading(self, path: str, read: Callable[[str], Any]) -> Any:
        full = self.full(path)
        try:
            return read(full)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{full}: a committed partition cannot be read: {error}; restore it or re-run the leaf that wrote it"
            ) from error

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        return bool(self._fs.exists(self.full(path)))

    def open_pack(self, path: str) -> Pack:
        """Open a pack file for reading by range."""
        return cast("Pack", self._reading(path, lambda full: Pack(full, self._fs.open(full, "rb"))))


def _write_parquet(table: pa.Table, file: BinaryIO) -> None:
    vectors = {field.name for field in table.schema if pa.types.is_fixed_size_list(field.type)}
    plain = [field.name for field in table.schema if field.name not in vectors]
    compression = dict.fromkeys(plain, "zstd") | {f"{name}.list.element": "none" for name in vectors}
    pq.write_table(table, file, compression=compression, use_dictionary=plain, row_group_size=64 * 1024)


def is_blank(data: bytes) -> bool:
    """Tell whether there is nothing but zeros in some bytes: no picture is that, but a hole in a pack reads so.

    Example:
        >>> is_blank(bytes(3)), is_blank(b"P"), is_blank(b"")
        (True, False, False)
    """
    return data[:1] == b"\0" and data == bytes(len(data))


class Pack:
    """A file of pictures one after another; close it, or use it in a `with` block."""

    def __init__(self, path: str, file: Any):
        self._path = path
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`.

        Raises:
            LetGo: the bytes are gone, because nothing that is stored needs them any more.
            DataError: the pack is shorter than its index says.
        """
        self._file.seek(offset)
        data = cast(bytes, self._file.read(size))
        if len(data) != size:
            raise DataError(f"{self._path}: {size} bytes expected at {offset}, found {len(data)}; re-run the download")
        if is_blank(data):
            raise LetGo(
                f"{self._path}: the picture at {offset} was let go: nothing that is stored needed it (docs/evict.md, "
                f"Storage); crawl it again, or run download for {self._day()}"
            )
        return data

    def _day(self) -> str:
        named = re.search(r"/(\d{4}-\d\d-\d\d)/", self._path)
        return "its day" if named is None else named[1]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
