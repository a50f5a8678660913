"""OpenLineage run events (spec 2-0-2) as records: runs, counts and drops where the facets carry them.

    job.name                                           -> task, made a valid name
    nominalTime.nominalStartTime, else the last event  -> date
    parent facet (its root run, else its run)          -> planid, where none is given
    START ... COMPLETE | FAIL | ABORT                  -> started_at, finished_at, state
    inputs[]: inputStatistics, else dataQualityMetrics -> input, summed
    outputs[]: outputStatistics                        -> produced, summed; output where the unit is the same
    run facet `funnelgate_drops`                       -> dropped, failed, output

The last one is ours: `{"dropped": {"blurred": 7}, "failed": {"OSError": 3}, "output": 90}`, each part optional. Nothing
is made up: a run whose facets do not close its books gives no record, and what is missing is named.
https://openlineage.io/docs/spec/facets
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reporting.errors import DataError
from reporting.key import Name, RunKey
from reporting.record import MAX_ERROR_CLASSES, Count, State, TaskFailure, TaskRecord, version_of

DROPS_FACET = "funnelgate_drops"
EVENT_TYPES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
_ENDS = {"COMPLETE": State.SUCCEEDED, "FAIL": State.FAILED, "ABORT": State.FAILED}
_FACETS = ("nominalTime", "errorMessage", "parent", "processing_engine", DROPS_FACET)
_COUNTS = ("inputStatistics", "dataQualityMetrics", "outputStatistics")
_ERROR_CLASS = re.compile(r"[A-Za-z_][\w.$]*(?=:|$)")
_MAX_MESSAGE = 2000

Json = Mapping[str, Any]
_Facets = dict[str, tuple[datetime, Any]]


class Event(NamedTuple):
    """One event and the line it begins in."""

    line: int
    data: Json


class Unfinished(BaseModel):
    """A run that gives no record, and what it would need."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    job: str
    missing: list[str]


class Imported(BaseModel):
    """What was made of a file of events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: int
    """Runs with at least one event."""
    records: list[TaskRecord]
    incomplete: list[Unfinished]
    notes: list[str]
    """What was assumed, by run: a date from the event, sums over several datasets."""
    ignored: int
    """Events of no run (of a job or a dataset alone)."""


class Drops(BaseModel):
    """Our run facet: why items did not come out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dropped: dict[Name, Count] = Field(default_factory=dict)
    failed: dict[str, Count] = Field(default_factory=dict)
    output: Count | None = None
    """Items kept, in the input unit, where `produced` is counted in another one."""


@dataclass
class _Run:
    """What the events of one run say together; a later event adds to the earlier ones."""

    run: str
    job: tuple[str, str]
    first: datetime
    started: datetime | None = None
    ended: tuple[datetime, str] | None = None
    producer: str = ""
    facets: _Facets = field(default_factory=dict)
    inputs: dict[str, _Facets] = field(default_factory=lambda: defaultdict(dict))
    outputs: dict[str, _Facets] = field(default_factory=lambda: defaultdict(dict))

    def add(self, event: Json, at: datetime) -> None:
        kind = event.get("eventType")
        self.first = min(self.first, at)
        if kind == "START":
            self.started = at if self.started is None else min(self.started, at)
        if kind in _ENDS and (self.ended is None or at >= self.ended[0]):
            self.ended = (at, kind)
        self.producer = str(event.get("producer") or self.producer)
        _keep(self.facets, event["run"].get("facets"), _FACETS, at)
        for datasets, side in ((self.inputs, "inputs"), (self.outputs, "outputs")):
            for dataset in event.get(side) or ():
                kept = datasets[f"{dataset['namespace']}/{dataset['name']}"]
                _keep(kept, dataset.get("facets"), _COUNTS, at)
                _keep(kept, dataset.get(f"{side[:-1]}Facets"), _COUNTS, at)

    def facet(self, name: str) -> dict[str, Any]:
        """Return a facet of the run as it was last said; {} without one."""
        return _map(self.facets.get(name, (None, None))[1])


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file: JSON lines, or one JSON array.

    Raises:
        DataError: the file cannot be read, or is not JSON, with its line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(1)
            while head and head.isspace():
                head = file.read(1)
            file.seek(0)
            if head == "[":
                yield from (Event(1, _object(one, path, 1)) for one in json.load(file))
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield Event(number, _object(json.loads(line), path, number))
                    except json.JSONDecodeError as error:
                        raise DataError(f"{path}:{number}: not JSON: {error.msg}; write one event a line") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _object(value: object, path: Path, line: int) -> Json:
    if not isinstance(value, dict):
        raise DataError(f"{path}:{line}: an event is a JSON object, found {type(value).__name__}")
    return value


def convert(
    events: Iterable[Event], path: Path, *, planid: str | None = None, tasks: Mapping[str, str] | None = None
) -> Imported:
    """Return the records that the events of a file give. The same events give the same records.

    Of two runs of one key the one that ended later has the greater version: seconds since 1970 as emit number.

    Args:
        events: in any order.
        path: for messages.
        planid: of all records; None: from each run's parent facet.
        tasks: job name, or `namespace/name`, to task; the other jobs' names are made valid ones.

    Raises:
        DataError: an event that is none, with its line; or two jobs that would be one task.
    """
    runs: dict[str, _Run] = {}
    ignored = 0
    for event in events:
        try:
            ignored += not _collect(runs, event.data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}:{event.line}: not an OpenLineage run event: {what}") from None
    names = _task_names(sorted({run.job for run in runs.values()}), tasks or {}, path)
    records: dict[tuple[RunKey, int], TaskRecord] = {}
    incomplete, notes = [], []
    for run in sorted(runs.values(), key=lambda run: (run.first, run.run)):
        made, missing, said = _record(run, names[run.job], planid)
        if made is not None and records.setdefault((made.key, made.version), made) is not made:
            missing = [f"another run of {made.key} ended within the same second"]
        if missing:
            incomplete.append(Unfinished(run=run.run, job="/".join(run.job), missing=missing))
        notes += [f"{run.run} ({'/'.join(run.job)}): {one}" for one in said]
    return Imported(runs=len(runs), records=list(records.values()), incomplete=incomplete, notes=notes, ignored=ignored)


def _collect(runs: dict[str, _Run], event: Json) -> bool:
    """Add an event to its run; False when it is of none."""
    if "run" not in event:
        if "eventTime" not in event or not ("job" in event or "dataset" in event):
            raise ValueError("neither of a run, nor of a job, nor of a dataset")
        return False
    kind = event.get("eventType", "OTHER")
    if kind not in EVENT_TYPES:
        raise ValueError(f"eventType {kind!r} is none of {', '.join(EVENT_TYPES)}")
    at = _moment(event["eventTime"])
    name, job = str(event["run"]["runId"]), (str(event["job"]["namespace"]), str(event["job"]["name"]))
    run = runs.setdefault(name, _Run(name, job, at))
    run.add(event, at)
    return True


def _task_names(jobs: list[tuple[str, str]], given: Mapping[str, str], path: Path) -> dict[tuple[str, str], str]:
    names: dict[tuple[str, str], str] = {}
    owners: dict[str, tuple[str, str]] = {}
    for job in jobs:
        name = given.get("/".join(job), given.get(job[1])) or task_name(job[1])
        if name in owners:
            raise DataError(
                f"{path}: jobs {'/'.join(owners[name])!r} and {'/'.join(job)!r} would both be task {name!r}; "
                "name them apart in a task map (--task-map)"
            )
        owners[name] = job
        names[job] = name
    return names


def task_name(job: str) -> str:
    """Return a job's name as a task name: what a name may not hold becomes `_`.

    Example:
        >>> task_name("s3://bucket/clean up")
        's3___bucket_clean up'
    """
    text = "".join(c if c.isprintable() and c not in '/\\|:*?"<>' else "_" for c in job)[:128].strip(". ")
    return text or "_"


def _record(run: _Run, task: str, planid: str | None) -> tuple[TaskRecord | None, list[str], list[str]]:
    """Return the record of a run or what is missing for it, and what was assumed."""
    missing: list[str] = []
    notes: list[str] = []
    key = _key(run, task, planid, missing, notes)
    if run.ended is None:
        return None, [*missing, "no COMPLETE, FAIL or ABORT event: the run has not ended"], notes
    ended, kind = run.ended
    state = _ENDS[kind]
    error = _failure(run, kind) if state is State.FAILED else None
    counts = _counts(run, error, missing, notes)
    started = run.started
    if started is None:
        missing.append("no START event")
    elif ended < started:
        missing.append(f"{kind} at {ended.isoformat()} is before START at {started.isoformat()}")
    if missing or key is None or started is None:
        return None, missing, notes
    try:
        record = TaskRecord(
            key=key,
            state=state,
            version=version_of(1, int(ended.timestamp())),
            error=error,
            versions=_versions(run),
            started_at=started,
            finished_at=ended,
            reported_at=ended,
            **counts,
        )
    except ValidationError as fault:
        return None, [one["msg"].removeprefix("Value error, ") for one in fault.errors(include_url=False)], notes
    return record, [], notes


def _key(run: _Run, task: str, planid: str | None, missing: list[str], notes: list[str]) -> RunKey | None:
    parent = run.facet("parent")
    found = planid or _map(_map(parent.get("root")).get("run")).get("runId") or _map(parent.get("run")).get("runId")
    if not found:
        missing.append("no plan: run facet parent missing; name one with --planid")
    nominal = run.facet("nominalTime").get("nominalStartTime")
    try:
        if nominal is None:
            last = run.ended[0] if run.ended is not None else run.first
            notes.append(f"run facet nominalTime missing: date {last.date()} is the UTC day of the event")
            day = last.date()
        else:
            day = datetime.fromisoformat(nominal).date()  # the day as it is written: a business day has no zone
        return RunKey(task=task, date=day, planid=found) if found else None
    except (ValueError, TypeError) as error:
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        missing.append(f"no valid key: {text}")
        return None


def _counts(run: _Run, error: TaskFailure | None, missing: list[str], notes: list[str]) -> dict[str, Any]:
    """Return input, output, produced, dropped and failed; what cannot be known is added to `missing`."""
    taken = _sum("input", run.inputs, ("inputStatistics", "dataQualityMetrics"), missing, notes)
    unknown: list[str] = []
    produced = _sum("output", run.outputs, ("outputStatistics",), unknown, notes)
    if produced is None and error is not None:
        notes.append(f"{'; '.join(unknown)}: the run failed, so nothing counts as handed on")
        produced = 0
    elif produced is None:
        missing += unknown
    try:
        drops = Drops.model_validate(
            {name: one for name, one in run.facet(DROPS_FACET).items() if not name.startswith("_")}
        )
    except ValidationError as fault:
        one = fault.errors()[0]
        missing.append(f"run facet {DROPS_FACET} is unusable: {'.'.join(map(str, one['loc']))}: {one['msg']}")
        return {}
    if taken is None or produced is None:
        return {}
    output = produced if drops.output is None else drops.output
    failed = dict(drops.failed)
    rest = taken - output - sum(drops.dropped.values()) - sum(failed.values())
    if rest > 0 and error is not None:
        name = error.error_class if error.error_class in failed or len(failed) < MAX_ERROR_CLASSES else "other"
        failed[name] = failed.get(name, 0) + rest
        rest = 0
    if rest:
        missing.append(
            f"the books do not close: input {taken}, output {output}, dropped {drops.dropped}, failed {drops.failed}: "
            f"{rest} unexplained; say why in run facet {DROPS_FACET}"
        )
    return {"input": taken, "output": output, "produced": produced, "dropped": drops.dropped, "failed": failed}


def _sum(
    side: str, datasets: Mapping[str, _Facets], facets: tuple[str, ...], missing: list[str], notes: list[str]
) -> int | None:
    counts: list[int] = []
    faults: list[str] = []
    for name, carried in sorted(datasets.items()):
        found = [_map(carried[facet][1]).get("rowCount") for facet in facets if facet in carried]
        count = next((one for one in found if one is not None), None)
        if count is None:
            faults.append(f"no row count of {side} {name}: facet {facets[0]} missing")
        elif isinstance(count, bool) or not isinstance(count, int) or count < 0:
            faults.append(f"row count {count!r} of {side} {name} is no count")
        else:
            counts.append(count)
    if not datasets:
        faults.append(f"no row count of {side}s: the run names no {side}")
    missing += faults
    if len(counts) > 1 and not faults:
        notes.append(f"{side} is the sum of {len(counts)} datasets: {' + '.join(map(str, counts))}")
    return None if faults else sum(counts)


def _failure(run: _Run, kind: str) -> TaskFailure:
    message = str(run.facet("errorMessage").get("message") or "")
    match = _ERROR_CLASS.match(message)
    if not message:
        return TaskFailure(error_class=kind, message=f"the run ended with {kind}; run facet errorMessage missing")
    return TaskFailure(error_class=match.group().rpartition(".")[2] if match else kind, message=message[:_MAX_MESSAGE])


def _versions(run: _Run) -> dict[str, str]:
    engine = run.facet("processing_engine")
    found = {
        "producer": run.producer,
        str(engine.get("name") or "processing_engine").lower(): engine.get("version"),
        "openlineage_adapter": engine.get("openlineageAdapterVersion"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _keep(kept: _Facets, facets: object, names: tuple[str, ...], at: datetime) -> None:
    """Keep the facets we read as the latest event has them; of large ones (schemas, query plans) nothing is held."""
    for name, facet in _map(facets).items():
        if name in names and (name not in kept or at >= kept[name][0]):
            kept[name] = (at, facet)


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
