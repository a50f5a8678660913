"""A run file as a system: answers that were given elsewhere, by any retrieval system, written down.

TREC      `query Q0 image rank score run_id`, blanks between; a higher score is nearer. `.trec`, `.run`, `.txt`, each
          also `.gz`. The rank is not looked at: lists are ranked canonically (evaluation/ranking.py).
Parquet   columns query_id, image_id, and exactly one of distance (lower is nearer) and score; optional group_id,
          status, seconds, error, rank. A row whose image_id is null is no hit: it tells what became of its query
          (status `answered` with an empty list, `missing`, `timeout`, `error`). The file's metadata may name its set
          under the key `set_id`; then another set is refused.
A folder  as `write_system` writes it: every view of a system, and its facts (evaluation/searchers/run_folder.py).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.evalset import EvalSet
from evaluation.measured import Floats
from evaluation.searchers.run_folder import FACTS, read_folder, write_system
from evaluation.searchers.run_table import RunTable, answers_from
from evaluation.system import System, View
from reporting.errors import DataError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SUFFIXES", "is_run", "read_system", "write_system"]

TREC_SUFFIXES = (".trec", ".run", ".txt")
SUFFIXES = (".parquet", *TREC_SUFFIXES, *(f"{suffix}.gz" for suffix in TREC_SUFFIXES))
MAX_BYTES = 4 << 30
"""Most that a gzipped run may unpack to: a small file must not fill the memory."""
COLUMNS = ("query_id", "image_id", "distance", "score", "group_id", "status", "seconds", "error", "rank")


def is_run(path: Path) -> bool:
    """Say whether a path is a run by its name: a file with one of `SUFFIXES`, or a folder with facts of a run."""
    return (path / FACTS).is_file() if path.is_dir() else path.name.lower().endswith(SUFFIXES)


def read_system(path: Path, evalset: EvalSet) -> System:
    """Read a run as a system to be judged on a set.

    What is wrong with single queries is counted and not dropped (`answers_from`); its `inputs` hold the file's sha256
    under `run`, and of a folder also those of the system that was saved.

    Raises:
        DataError: No such file, an unknown kind of file, a malformed line (file:line) or table, a run of another set,
            or no row at all.
    """
    if path.is_dir():
        return read_folder(path, evalset, read_table=read_parquet)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: not a run by its name; {nearest(path.suffix, SUFFIXES)}, or a folder of a saved run")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a run file") from error
    table = read_parquet(data, str(path), evalset) if name.endswith(".parquet") else read_trec(data, path)
    answers, facts = answers_from(table, evalset)
    return System(
        name=path.name,
        views={View.SERVED: answers},
        facts=facts,
        inputs={"run": hashlib.sha256(data).hexdigest()},
    )


def read_trec(data: bytes, path: Path) -> RunTable:
    """Read the lines of a TREC run, gzipped or not; a score that is not a finite number is kept as NaN.

    Raises:
        DataError: With file:line: fewer than six columns, or text that is not UTF-8.
    """
    import pyarrow as pa

    text = _text(data, path)
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), 1)]
    rows = [(number, fields) for number, fields in lines if fields and not fields[0].startswith("#")]
    for number, fields in rows:
        if len(fields) != 6:
            raise DataError(f"{path}:{number}: {len(fields)} columns; expected 6: query Q0 image rank score run_id")
    return RunTable(
        source=str(path),
        query_id=pa.array([fields[0] for _, fields in rows], pa.string()),
        image_id=pa.array([fields[2] for _, fields in rows], pa.string()),
        distance=-np.array([_score(fields[4], path, number) for number, fields in rows], np.float64),
    )


def _text(data: bytes, path: Path) -> str:
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.open(BytesIO(data)) as stream:
                data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DataError(f"{path}: more than {MAX_BYTES >> 30} GiB of text; write the run as Parquet")
        return data.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip is damaged ({error}); copy or write the file again") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 ({error.reason}); convert the file") from error


def _score(field: str, path: Path, line: int) -> float:
    try:
        return float(field)
    except ValueError:
        raise DataError(f"{path}:{line}: score {field!r}; expected a number") from None


def read_parquet(data: bytes, source: str, evalset: EvalSet) -> RunTable:
    """Read a run in Parquet form.

    Raises:
        DataError: Not Parquet, a column that is missing, unknown or of the wrong type, both or neither of distance and
            score, or metadata that name another set.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(data))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{source}: not a Parquet file ({error}); write the run again") from error
    set_id = (table.schema.metadata or {}).get(b"set_id", b"").decode("utf-8", "replace")
    if set_id not in ("", evalset.set_id):
        raise DataError(
            f"{source}: a run of eval set {set_id}, not of {evalset.set_id}; ask the system again on this version"
        )
    names = table.column_names
    for name in names:
        if name not in COLUMNS or names.count(name) > 1:
            raise DataError(f"{source}: unknown or repeated column {name!r}; {nearest(name, COLUMNS)}")
    if missing := [name for name in ("query_id", "image_id") if name not in names]:
        raise DataError(f"{source}: no column {missing[0]}; it has {', '.join(names)}")
    if ("distance" in names) == ("score" in names):
        raise DataError(f"{source}: columns {', '.join(names)}; expected exactly one of distance and score")
    nearness = "distance" if "distance" in names else "score"
    numbers = _numbers(table, nearness, source)
    return RunTable(
        source=source,
        query_id=_strings(table, "query_id", source),
        image_id=_strings(table, "image_id", source),
        distance=numbers if nearness == "distance" else -numbers,
        group_id=_strings(table, "group_id", source) if "group_id" in names else None,
        status=_strings(table, "status", source) if "status" in names else None,
        seconds=_numbers(table, "seconds", source) if "seconds" in names else None,
        error=_strings(table, "error", source) if "error" in names else None,
    )


def _strings(table: pa.Table, name: str, source: str) -> Any:
    """Return a column of names; whole numbers are written out, anything else is refused."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name).combine_chunks()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise DataError(f"{source}: column {name} is {column.type}; expected text or whole numbers")
    return pc.cast(pc.cast(column, kind), pa.string())


def _numbers(table: pa.Table, name: str, source: str) -> Floats:
    """Return a column of numbers, null as NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name).combine_chunks()
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise DataError(f"{source}: column {name} is {kind}; expected numbers")
    floats = pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan"))
    return np.asarray(floats.to_numpy(zero_copy_only=False), np.float64)
