"""The lake: Parquet and pack files in attempt directories, through fsspec.

Layout: `task/date/category/subinstance/planid/attempt=<n>-<token>/<file>`. A directory is visible
only through the pointer that is committed with the instance's state; a killed attempt leaves an
unpointed directory that nobody reads. Files are flushed to disk before the pointer is.
"""

from __future__ import annotations

import os
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
        vectors = {field.name for field in table.schema if pa.types.is_fixed_size_list(field.type)}
        plain = [field.name for field in table.schema if field.name not in vectors]
        compression = dict.fromkeys(plain, "zstd") | {f"{name}.list.element": "none" for name in vectors}
        with self.create(path) as file:
            pq.write_table(table, file, compression=compression, use_dictionary=plain, row_group_size=64 * 1024)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file of bytes."""
        with self.create(path) as file:
            file.write(data)

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


class Pack:
    """A file of pictures one after another; close it, or use it in a `with` block."""

    def __init__(self, path: str, file: Any):
        self._path = path
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`.

        Raises:
            DataError: the pack is shorter than its index says.
        """
        self._file.seek(offset)
        data = cast(bytes, self._file.read(size))
        if len(data) != size:
            raise DataError(f"{self._path}: {size} bytes expected at {offset}, found {len(data)}; re-run the download")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
