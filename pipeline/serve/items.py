"""An item table that stays in columns: a row is made into Python objects when somebody asks for it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from datetime import date as Date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.serve.columns import Column, column_of
from reporting.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 4096  # rows made into Python objects at a time


class ItemTable(Mapping[int, dict[str, Any]]):
    """Item rows by id, read-only; a million rows take their columns' bytes and little more.

    A mapping, in rising order of id; an id that is not there raises KeyError.
    """

    def __init__(self, table: pa.Table, where: str) -> None:
        """Take a table with a unique column `id` (int64), in any order.

        Raises:
            DataError: An id is missing or there twice; the message names `where`.
        """
        table = table.combine_chunks()
        if table["id"].null_count:
            raise DataError(f"{where}: {table['id'].null_count} rows have no id; merge that day again and release it")
        ids = table["id"].to_numpy().astype(np.int64, copy=False)
        if np.any(ids[1:] < ids[:-1]):
            table = table.take(np.argsort(ids, kind="stable"))
            ids = np.sort(ids)
        twice = ids[1:][ids[1:] == ids[:-1]]
        if twice.size:
            raise DataError(f"{where}: id {twice[0]} is there twice; merge that day again and release it")
        self._ids: NDArray[np.int64] = np.ascontiguousarray(ids)
        self._table = table
        self._columns = {name: column_of(table[name].combine_chunks()) for name in table.column_names}
        # Ids are given out in blocks, so that a table has few runs of consecutive ones. To look an id up among their
        # starts touches few lines of memory; a search through all ids misses the cache at nearly every step.
        starts = np.flatnonzero(np.diff(self._ids, prepend=self._ids[:1] - 2) != 1)
        self._run_ids = array("q", self._ids[starts].tobytes())
        # before the first run lies one that holds nothing; an id less its run's shift is its row
        self._run_shifts = array("q", [0, *(self._ids[starts] - starts).tolist()])
        self._run_ends = array("q", [-1, *starts[1:].tolist(), len(self._ids)])

    @property
    def ids(self) -> NDArray[np.int64]:
        """Every id, (n,) int64, strictly rising."""
        return self._ids

    @property
    def size_bytes(self) -> int:
        """Bytes that the columns take, and the runs of ids: 24 for each."""
        runs = (self._run_ids, self._run_shifts, self._run_ends)
        return int(self._table.nbytes + self._ids.nbytes + sum(len(one) * one.itemsize for one in runs))

    def places(self, ids: Iterable[int]) -> list[int]:
        """Return the row of each id >= 0, in their order; -1 for one that is not there."""
        starts, shifts, ends = self._run_ids, self._run_shifts, self._run_ends
        places = []
        for number in ids:
            run = bisect_right(starts, number)
            place = number - shifts[run]
            places.append(place if place < ends[run] else -1)
        return places

    def rows(self, ids: Sequence[int]) -> list[Mapping[str, Any]]:
        """Return the rows of these ids, in their order; of each only the values that are asked for are read.

        Raises:
            KeyError: One of them is not there.
        """
        columns = self._columns
        return [_Row(columns, place) for place in self._known(ids)]

    def groups(self, ids: Sequence[int]) -> list[str]:
        """Return the product group of each id, in their order; the error is that of `rows`."""
        return self._columns["group"].all_at(self._known(ids))

    def _known(self, ids: Sequence[int]) -> list[int]:
        places = self.places(ids)
        if -1 in places:
            raise KeyError(ids[places.index(-1)])
        return places

    def ids_of_days(self, days: Sequence[Date]) -> NDArray[np.int64]:
        """Return the ids whose `first_day` is one of some days, (n,) int64, rising."""
        import pyarrow as pa
        import pyarrow.compute as pc

        mask = pc.is_in(self._table["first_day"], value_set=pa.array(days, pa.date32()))
        ids: NDArray[np.int64] = self._ids[mask.to_numpy()]
        return ids

    def __getitem__(self, number: int) -> dict[str, Any]:
        return dict(self.rows([number])[0])

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number >= 0 and self.places([number]) != [-1]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)

    def values(self) -> ValuesView[dict[str, Any]]:
        """Return all rows by id; walking through them makes some thousand at a time."""
        return _Rows(self, self._table)


class _Row(Mapping[str, Any]):
    """One row; a value is read when it is asked for."""

    __slots__ = ("_columns", "_place")

    def __init__(self, columns: Mapping[str, Column], place: int) -> None:
        self._columns = columns
        self._place = place

    def __getitem__(self, name: str) -> Any:
        return self._columns[name].at(self._place)

    def get(self, name: str, default: Any = None) -> Any:  # Mapping's own raises and catches a KeyError
        column = self._columns.get(name)
        return default if column is None else column.at(self._place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class _Rows(ValuesView[dict[str, Any]]):
    def __init__(self, items: ItemTable, table: pa.Table) -> None:
        super().__init__(items)
        self._table = table

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, self._table.num_rows, _BLOCK):
            yield from self._table.slice(start, _BLOCK).to_pylist()
