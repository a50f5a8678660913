"""The library before a day's decisions, as it lies in the lake: read by the column, by the row group, by the row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.partitions import Partition
    from pipeline.window.table_batches import Batch

_DECIDING: Final = (
    "group",
    "first_day",
    "last_seen",
    *(f"offers.list.element.{name}" for name in ("group", "merchant", "sku", "category")),
)
THUMB_BYTES: Final = 8 * 8 * 3


class LibraryRows:
    """The rows of one or several files of `LIVE_SCHEMA`, numbered through.

    Args:
        lake: Holds them.
        parts: Partitions of dedup, at least one.
    """

    def __init__(self, lake: Lake, parts: Sequence[Partition]):
        self._lake = lake
        self._files = [f"{part.folder}/live.parquet" for part in parts]

    @cached_property
    def pictures(self) -> Any:
        """The sha256 of each row's picture, Arrow `string` (n,); read once."""
        return self.columns(["picture"])["picture"]

    @property
    def schema(self) -> Any:
        """The Arrow schema of the files."""
        from pipeline.window.table_batches import read_schema

        return read_schema(self._lake, self._files[0])

    def deciding(self) -> Any:
        """Return what decisions are made of: of `LIVE_SCHEMA` picture, group, first_day, last_seen, some of offers."""
        return self.columns(_DECIDING).add_column(0, "picture", self.pictures)

    def columns(self, names: Sequence[str]) -> Any:
        """Return some columns of all rows as an Arrow table."""
        import pyarrow as pa

        return pa.concat_tables([self._lake.read_table(file, names) for file in self._files])

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield all rows, some at a time."""
        from pipeline.window.table_batches import Batch, read_batches

        start = 0
        for file in self._files:
            for batch in read_batches(self._lake, file, columns):
                yield Batch(start, batch.table)
                start += batch.table.num_rows

    def rows(self, chosen: NDArray[np.int64], columns: Sequence[str]) -> Any:
        """Return some rows as an Arrow table; only their row groups are read.

        Args:
            chosen: Numbers of rows, rising, no two alike, (k,) int64, at least one.
            columns: Of them.
        """
        import pyarrow as pa

        return pa.concat_tables(list(self._chosen(chosen, columns)))

    def thumbs(self, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the colour thumbnails of some rows, (k, 192) uint8, zeros where there is none.

        Args:
            chosen: Numbers of rows, rising, no two alike, (k,) int64.
        """
        found = np.zeros((len(chosen), THUMB_BYTES), np.uint8)
        at = 0
        for table in self._chosen(chosen, ["thumb"]):
            for chunk in table["thumb"].chunks:
                there = np.flatnonzero(np.asarray(chunk.is_valid(), np.bool_))
                found[at + there] = _bytes_of(chunk.drop_null())
                at += len(chunk)
        return found

    def _chosen(self, chosen: NDArray[np.int64], columns: Sequence[str]) -> Iterator[Any]:
        """Yield the chosen rows of each row group that has some."""
        import pyarrow as pa

        from pipeline.window.table_batches import count_rows, read_batches

        first = 0
        for file in self._files:
            rows = count_rows(self._lake, file)
            low, high = np.searchsorted(chosen, [first, first + rows])
            mine = chosen[low:high] - first

            def among(start: int, stop: int, mine: NDArray[np.int64] = mine) -> NDArray[np.int64]:
                low, high = np.searchsorted(mine, [start, stop])
                return mine[low:high] - start

            for start, table in read_batches(self._lake, file, columns, is_wanted=lambda *of: len(among(*of)) > 0):
                yield table.take(pa.array(among(start, start + table.num_rows)))
            first += rows


def _bytes_of(thumbs: Any) -> NDArray[np.uint8]:
    """Return an Arrow array of thumbnails, without nulls, as (k, 192) uint8."""
    data = np.frombuffer(thumbs.buffers()[1] or b"", np.uint8)
    return data[thumbs.offset * THUMB_BYTES : (thumbs.offset + len(thumbs)) * THUMB_BYTES].reshape(-1, THUMB_BYTES)


class LookDistance:
    """The distance of pictures by their colour thumbnails, between rows of `stored_of`.

    The mean absolute difference of 8 x 8 x 3 values, in [0, 1]. Thumbnails and not embeddings: they are at hand for
    every stored picture whatever model embeds its category, and stay when features are deleted. Only those that are
    asked for are read: all of 20 million pictures are 3.8 GB.

    Args:
        library: Of whose pictures.
        live_rows: The row there of each stored row, (n,) int64; None: the same.
    """

    def __init__(self, library: LibraryRows, live_rows: NDArray[np.int64] | None = None):
        self._library = library
        self._live_rows = live_rows
        self._rows = np.empty(0, np.int64)
        self._thumbs = np.empty((0, THUMB_BYTES), np.uint8)

    def read_ahead(self, rows: NDArray[np.int64]) -> None:
        """Hold the thumbnails of these stored rows, and no others any longer."""
        wanted = np.unique(rows if self._live_rows is None else self._live_rows[rows])
        if len(self._places(wanted)) < len(wanted):
            self._thumbs = self._library.thumbs(wanted)
            self._rows = wanted

    def __call__(self, some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the distances of some stored rows, (k,) int64, to others, (l,) int64: (k, l) float32."""
        asked = np.concatenate([some, others])
        live = asked if self._live_rows is None else self._live_rows[asked]
        places = self._places(live)
        if len(places) < len(live):
            self.read_ahead(asked)
            places = self._places(live)
        thumbs = self._thumbs[places].astype(np.float32)
        a, b = thumbs[: len(some)], thumbs[len(some) :]
        found: NDArray[np.float32] = np.abs(a[:, None, :] - b[None, :, :]).mean(axis=2, dtype=np.float32) / 255
        return found

    def _places(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where these rows of the library are held; without those that are not."""
        places = np.searchsorted(self._rows, live)
        there = places < len(self._rows)
        inside = places[there]
        found: NDArray[np.int64] = inside[self._rows[inside] == live[there]]
        return found
