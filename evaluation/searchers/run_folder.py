"""A saved system: its answers in every view and its facts, so that a run can be judged again without the system.

FOLDER/facts.json           name, set, facts, inputs, curve, and the sha256 of the other files
FOLDER/served.parquet, ...  one file a view, in the form that evaluation/searchers/run_file.py reads
FOLDER/stands_for.parquet   which picture is returned under another's name, where there are any
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.answers import Answers
from evaluation.evalset import EvalSet
from evaluation.searchers.run_table import RunTable, answers_from
from evaluation.system import Fact, System, View
from reporting.errors import DataError

FACTS = "facts.json"
STANDS_FOR = "stands_for.parquet"


class SavedFacts(BaseModel):
    """facts.json.

    Attributes:
        schema_: `run/1`.
        name: Of the system.
        set_id: The set that it answered; "" unknown.
        facts: As the system's.
        inputs: As the system's.
        curve: As the system's.
        files: sha256 of the folder's other files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["run/1"] = Field(default="run/1", alias="schema")
    name: str
    set_id: str = ""
    facts: tuple[Fact, ...] = ()
    inputs: Mapping[str, str] = Field(default_factory=dict)
    curve: Mapping[int, float] = Field(default_factory=dict)
    files: Mapping[str, str]


def write_system(system: System, folder: Path, *, set_id: str = "") -> None:
    """Save a system's answers and facts as a new folder, whole or not at all.

    Args:
        system: What was asked.
        folder: Must not be there yet, or be empty.
        set_id: The set that it answered: reading it back with another set is refused then.

    Raises:
        DataError: The folder is there, cannot be written, or a fact is not a finite number.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: is there already; a saved run is never overwritten: choose another folder")
    files = {f"{view.value}.parquet": _view_bytes(answers, set_id) for view, answers in system.views.items()}
    if any(answers.stands_for for answers in system.views.values()):
        files[STANDS_FOR] = _stands_for_bytes(system.views)
    facts = SavedFacts(
        name=system.name,
        set_id=set_id,
        facts=system.facts,
        inputs=dict(sorted(system.inputs.items())),
        curve=dict(sorted(system.curve.items())),
        files={name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    )
    numbers = [number for fact in facts.facts for number in (fact.value, *fact.samples)] + list(facts.curve.values())
    if not all(math.isfinite(number) for number in numbers):
        bad = [fact.metric for fact in facts.facts if not all(map(math.isfinite, (fact.value, *fact.samples)))]
        raise DataError(f"{folder}: {', '.join(bad) or 'curve'} is not a finite number and cannot be saved")
    text = json.dumps(facts.model_dump(mode="json", by_alias=True), ensure_ascii=False, indent=1, sort_keys=True)
    files[FACTS] = f"{text}\n".encode()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
            fresh = Path(place) / "run"
            fresh.mkdir()
            for name, data in files.items():
                (fresh / name).write_bytes(data)
            fresh.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error


def _view_bytes(answers: Answers, set_id: str) -> bytes:
    """Write one row a hit, by query, and one row without a picture for each query without a hit."""
    import pyarrow as pa

    n, h = len(answers.query_ids), len(answers.row)
    silent = np.setdiff1d(np.arange(n), answers.row)
    row = np.concatenate([answers.row, silent]).astype(np.int64)
    order = np.argsort(row, kind="stable")
    row = row[order]
    is_hit = np.concatenate([np.ones(h, np.bool_), np.zeros(len(silent), np.bool_)])[order]

    def hits_only(values: Any, kind: pa.DataType) -> pa.Array:
        padded = np.concatenate([np.asarray(values, np.object_), np.full(len(silent), None, np.object_)])
        return pa.array(padded[order].tolist(), kind)

    statuses = np.array([status.value for status in answers.statuses], np.object_)
    messages = np.array([answers.errors.get(query) for query in answers.query_ids], np.object_)
    distance = np.concatenate([answers.distance, np.full(len(silent), np.nan)])[order]
    columns = {
        "query_id": pa.array(np.array(answers.query_ids, np.object_)[row].tolist(), pa.string()),
        "image_id": hits_only(answers.image_id, pa.string()),
        "distance": pa.array(distance, pa.float64(), mask=~is_hit),
        "status": pa.array(statuses[row].tolist(), pa.string()),
        "error": pa.array(messages[row].tolist(), pa.string()),
    }
    if answers.group_id is not None:
        columns["group_id"] = hits_only(answers.group_id, pa.string())
    if answers.seconds is not None:
        seconds = np.asarray(answers.seconds, np.float64)[row]
        columns["seconds"] = pa.array(seconds, pa.float64(), mask=np.isnan(seconds))
    return _parquet(pa.table(columns).replace_schema_metadata({"set_id": set_id} if set_id else None))


def _stands_for_bytes(views: Mapping[View, Answers]) -> bytes:
    import pyarrow as pa

    rows = [
        (view.value, *pair) for view, answers in sorted(views.items()) for pair in sorted(answers.stands_for.items())
    ]
    names = ("view", "image_id", "shown_as")
    return _parquet(
        pa.table({name: pa.array(list(column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
    )


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    stream = BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def read_folder(folder: Path, evalset: EvalSet, *, read_table: Callable[[bytes, str, EvalSet], RunTable]) -> System:
    """Read back what `write_system` wrote.

    Args:
        folder: The saved run.
        evalset: The set that it answered.
        read_table: Reads a run in Parquet form.

    Raises:
        DataError: No saved run, of another set, or a file that is not the one that was written.
    """
    try:
        text = (folder / FACTS).read_bytes()
        saved = SavedFacts.model_validate_json(text)
    except OSError as error:
        raise DataError(
            f"{folder / FACTS}: cannot be read ({error.strerror}); expected a folder of a saved run"
        ) from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{folder / FACTS}: {where}: {fault['msg']}; save the run again") from None
    if saved.set_id not in ("", evalset.set_id):
        raise DataError(
            f"{folder}: a run of eval set {saved.set_id}, not of {evalset.set_id}; ask the system again on this version"
        )
    known = {f"{view.value}.parquet": view for view in View}
    if strange := sorted(set(saved.files) - {*known, STANDS_FOR}):
        raise DataError(f"{folder / FACTS}: unknown file {strange[0]!r}; save the run again")
    data = {name: _intact(folder / name, sha256) for name, sha256 in saved.files.items()}
    stands_for = _stands_for(data.get(STANDS_FOR), folder)
    views, facts = {}, list(saved.facts)
    for name in [name for name in known if name in data]:
        answers, found = answers_from(read_table(data[name], str(folder / name), evalset), evalset)
        views[known[name]] = replace(answers, stands_for=stands_for.get(known[name].value, {}))
        if known[name] is View.SERVED:
            facts = [fact for fact in facts if fact.metric not in {one.metric for one in found}] + list(found)
    inputs = {**saved.inputs, "run": hashlib.sha256(text).hexdigest()}
    return System(name=saved.name, views=views, facts=tuple(facts), inputs=inputs, curve=saved.curve)


def _intact(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); save the run again") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path}: is not the file that was saved (its sha256 differs); save the run again")
    return data


def _stands_for(data: bytes | None, folder: Path) -> dict[str, dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, dict[str, str]] = {}
    if data is None:
        return found
    try:
        columns = pq.read_table(BytesIO(data)).select(["view", "image_id", "shown_as"]).to_pydict()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{folder / STANDS_FOR}: not what was saved ({error}); save the run again") from error
    for view, image_id, shown_as in zip(*columns.values(), strict=True):
        found.setdefault(view, {})[image_id] = shown_as
    return found
