"""Values of Arrow columns as Python objects, read straight from the buffers.

pyarrow makes a scalar object for each value on the way to Python, which costs several times the value. What an item
table consists of, text and lists of records of text, is read here without; any other type is left to pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Column(Protocol):
    """A column of a table."""

    def at(self, place: int) -> Any:
        """Return the value of one row, 0 <= place < length, as `as_py` would."""
        ...

    def all_at(self, places: Sequence[int]) -> list[Any]:
        """Return the values of some rows, in their order."""
        ...


def column_of(array: Any) -> Column:
    """Return a column that reads from an Arrow array (or chunked array), which it keeps alive."""
    import pyarrow as pa

    made = _fast(array) if isinstance(array, pa.Array) else None
    return made or _Scalars(array)


def _fast(array: pa.Array) -> Column | None:
    """Return a column that reads the buffers; None for a type, or missing values, that only pyarrow knows."""
    import pyarrow as pa

    if array.null_count:
        return None
    if pa.types.is_string(array.type):
        return _Texts(array)
    if pa.types.is_list(array.type) and pa.types.is_struct(array.type.value_type):
        records = array.values
        inner = [(field.name, _fast(records.field(place))) for place, field in enumerate(records.type)]
        named = [(name, column) for name, column in inner if isinstance(column, _Texts)]
        if not records.null_count and len(dict(named)) == len(inner) > 0:
            return _Records(array, named)
    return None


class _Scalars:
    """Any column, by pyarrow's scalars."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def at(self, place: int) -> Any:
        return self._array[place].as_py()

    def all_at(self, places: Sequence[int]) -> list[Any]:
        return [self._array[place].as_py() for place in places]


class _Texts:
    """Texts, none missing."""

    __slots__ = ("_data", "_ends", "at")

    def __init__(self, array: pa.Array) -> None:
        _, offsets, data = array.buffers()
        # a memory view holds its buffer, and gives plain ints and slices without numpy's scalars
        self._ends = _offsets(offsets, array)
        self._data = memoryview(b"" if data is None else data)
        self.at = self._reader()

    def _reader(self) -> Callable[[int], str]:
        ends, data = self._ends, self._data

        def at(place: int) -> str:
            return str(data[ends[place] : ends[place + 1]], "utf-8")

        return at

    def all_at(self, places: Sequence[int]) -> list[Any]:
        ends, data = self._ends, self._data
        return [str(data[ends[place] : ends[place + 1]], "utf-8") for place in places]


class _Records:
    """Lists of records of texts, nothing missing."""

    __slots__ = ("_ends", "_fields")

    def __init__(self, array: Any, fields: Sequence[tuple[str, _Texts]]) -> None:
        self._ends = _offsets(array.buffers()[1], array)
        self._fields = [(name, column.at) for name, column in fields]

    def at(self, place: int) -> list[dict[str, str]]:
        fields = self._fields
        return [{name: at(row) for name, at in fields} for row in range(self._ends[place], self._ends[place + 1])]

    def all_at(self, places: Sequence[int]) -> list[Any]:
        return [self.at(place) for place in places]


def _offsets(buffer: Any, array: pa.Array) -> memoryview[int]:
    """Return the offsets of an array of texts or lists: one more than it has rows."""
    if buffer is None or not len(array):
        return memoryview(bytes(4)).cast("i")
    return memoryview(buffer).cast("i")[array.offset : array.offset + len(array) + 1]
