"""What `--out` holds of a comparison: comparison.json, report.html, per_query.parquet."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from evaluation.compare import Comparison
from evaluation.comparing.columns import Columns
from evaluation.comparing.page import page
from reporting.errors import DataError

JSON, PAGE, PER_QUERY = "comparison.json", "report.html", "per_query.parquet"


def canonical_json(document: BaseModel) -> str:
    """Return JSON with sorted keys and a final newline: equal documents give equal bytes."""
    text = json.dumps(document.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n"


def write_comparison(document: BaseModel, found: Comparison, columns: Columns, folder: Path) -> tuple[Path, ...]:
    """Write the three files, each whole or not at all.

    Args:
        document: What comparison.json holds: the comparison, or more around it.
        found: The comparison.
        columns: What was compared, for the table of every question.
        folder: Made where it is not there yet; files of an earlier comparison are replaced.

    Raises:
        DataError: The folder cannot be written.
    """
    contents = {
        JSON: canonical_json(document).encode(),
        PAGE: page(found).encode(),
        PER_QUERY: per_query_bytes(columns),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial = folder / f".{name}.partial"
            partial.write_bytes(content)
            partial.replace(folder / name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error
    return tuple(folder / name for name in contents)


def per_query_bytes(columns: Columns) -> bytes:
    """Return a Parquet table with a row for each system and question.

    Columns: system, query_id, cluster, slices (list of names), answered, seconds (null unknown), first_rank (null
    unknown, 0 nothing relevant), and one for each metric; a metric that a system lacks is null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = len(columns.questions)
    names = list(columns.slices)
    inside = np.stack([columns.slices[name] for name in names], axis=1)
    slices = [[names[at] for at in np.flatnonzero(row)] for row in inside]
    metrics = dict.fromkeys(metric for system in columns.systems for metric in system.values)
    parts = []
    for system in columns.systems:
        seconds = np.full(n, np.nan) if system.seconds is None else np.asarray(system.seconds, np.float64)
        unknown = np.zeros(n, np.int64) if system.ranks is None else system.ranks
        known = {
            metric: pa.array(system.values[metric]) if metric in system.values else pa.nulls(n, pa.float64())
            for metric in metrics
        }
        parts.append(
            pa.table(
                {
                    "system": pa.array([system.name] * n),
                    "query_id": pa.array(columns.questions),
                    "cluster": pa.array(columns.clusters),
                    "slices": pa.array(slices, pa.list_(pa.string())),
                    "answered": pa.array(system.answered),
                    "seconds": pa.array(seconds, mask=np.isnan(seconds)),
                    "first_rank": pa.array(unknown, mask=np.full(n, system.ranks is None)),
                    **known,
                }
            )
        )
    stream = BytesIO()
    pq.write_table(pa.concat_tables(parts), stream, compression="zstd")
    return stream.getvalue()
