"""The three tables of a set as Parquet: column names and types of the format (evaluation-index-eviction.md, 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from evaluation.catalog import CatalogImage
from evaluation.evalset import Label, Query
from reporting.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Model = TypeVar("Model", bound=BaseModel)

_QUERY: Final = {
    "query_id": ("query_id", "text"),
    "image_ref": ("sha256", "text"),
    "path": ("path", "text"),
    "near": ("near", "text"),
    "true_category": ("category", "text"),
    "query_type": ("query_type", "text"),
    "captured_day": ("captured_day", "day"),
    "cluster_id": ("cluster", "text"),
    "tags": ("tags", "texts"),
    "source": ("source", "text"),
    "weight": ("weight", "real"),
}
_LABEL: Final = {
    "query_id": ("query_id", "text"),
    "group_id": ("group_id", "text"),
    "grade": ("grade", "small"),
    "labeller_n": ("labellers", "whole"),
    "agreed": ("agreed", "real"),
}
_IMAGE: Final = {
    "image_id": ("image_id", "text"),
    "group_id": ("group_id", "text"),
    "category": ("category", "text"),
    "role": ("role", "text"),
    "first_day": ("first_day", "day"),
    "last_day": ("last_day", "day"),
    "takedown_day": ("takedown_day", "day"),
    "value": ("value", "real"),
    "sha256": ("sha256", "text"),
    "near": ("near", "text"),
    "path": ("path", "text"),
}
COLUMNS: Final[Mapping[type[BaseModel], Mapping[str, tuple[str, str]]]] = {
    Query: _QUERY,
    Label: _LABEL,
    CatalogImage: _IMAGE,
}
"""Of each table: column -> (field of the typed row, kind of value)."""


def table_bytes(model: type[Model], rows: Sequence[Model]) -> bytes:
    """Return a table as the bytes of a Parquet file; equal rows give equal bytes under one version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = COLUMNS[model]
    values = [[_plain(getattr(row, field)) for row in rows] for field, _ in columns.values()]
    schema = pa.schema([pa.field(name, _types()[kind]) for name, (_, kind) in columns.items()])
    table = pa.table([pa.array(one, field.type) for one, field in zip(values, schema, strict=True)], schema=schema)
    stream = BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def rows_of(model: type[Model], data: bytes, place: str) -> tuple[Model, ...]:
    """Return the rows of a table.

    Raises:
        DataError: `place: ...`: it is no Parquet file, has other columns, or a row is wrong.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = COLUMNS[model]
    try:
        table = pq.read_table(BytesIO(data))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{place}: is no Parquet file: {error}; build the set again") from error
    if table.column_names != list(columns):
        raise DataError(f"{place}: has the columns {table.column_names}; expected {list(columns)}; build the set again")
    names = [field for field, _ in columns.values()]
    found: list[Model] = []
    for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
        try:
            found.append(model.model_validate(dict(zip(names, values, strict=True))))
        except ValidationError as error:
            fault = error.errors()[0]
            raise DataError(
                f"{place}: row {len(found) + 1}: {fault['loc']}: {fault['msg']}; build the set again"
            ) from None
    return tuple(found)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@cache
def _types() -> Mapping[str, pa.DataType]:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "day": pa.date32(),
        "real": pa.float64(),
        "small": pa.int8(),
        "whole": pa.int32(),
    }
