"""The file with clicks and quality that counts on a day: the newest one that is not too old."""

from __future__ import annotations

import hashlib
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.evict.signals import checked_signals
from pipeline.source_files import open_manifest
from reporting.errors import DataError, StoreError


class SignalsFile(NamedTuple):
    """A file that was read and checked."""

    path: Path
    date: Date
    """The day in its name."""
    sha256: str
    """Of its bytes, the very ones that were read."""
    table: Any
    """See `checked_signals`."""


def newest_signals(template: Path, day: Date, max_age_days: int) -> SignalsFile | None:
    """Return the newest file of the day or of at most so many days before it; None: there is none.

    Args:
        template: Path with `{date}` for the day, ending in .csv (with a header) or .parquet.
        day: The day that is decided; files of later days do not count.
        max_age_days: How old it may be, >= 0.

    Raises:
        DataError: The file is no such table, or a value in it is wrong; with row and column.
        StoreError: The disk failed.
    """
    for age in range(max_age_days + 1):
        date = day - timedelta(days=age)
        path = Path(str(template).replace("{date}", date.isoformat()))
        if path.exists():
            return _read(path, date)
    return None


def _read(path: Path, date: Date) -> SignalsFile:
    import pyarrow as pa

    with open_manifest(path) as file:
        try:
            data = file.read()  # as a whole: what is digested is what is parsed, whoever writes it meanwhile
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error} while reading; check the disk, then retry") from error
    try:
        table = _parsed(data, path.suffix)
    except (pa.ArrowException, OSError) as error:  # damaged Parquet pages are an OSError of pyarrow's
        said = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as {path.suffix}: {said:.200}; write it again") from error
    return SignalsFile(path, date, hashlib.sha256(data).hexdigest(), checked_signals(table, str(path)))


def _parsed(data: bytes, suffix: str) -> Any:
    import pyarrow as pa

    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(pa.BufferReader(data))
    from pyarrow import csv

    # All as text: `checked_signals` then names the row of what is no number.
    header = csv.open_csv(pa.BufferReader(data)).schema.names
    options = csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    return csv.read_csv(pa.BufferReader(data), convert_options=options)
