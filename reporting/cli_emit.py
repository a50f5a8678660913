"""The commands by which jobs that are no Python of ours keep books: `records emit` and `records from-openlineage`."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reporting.errors import EXIT_INCONCLUSIVE, EXIT_OK, ConfigError, DataError, RecordError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reporting.digest import Digest
    from reporting.key import RunKey
    from reporting.record import TaskRecord
    from reporting.recorder import Writes
    from reporting.topology import Topology

_EMITS = (1 << 32) - 1
_RECORDS_PER_UNIT = 500

Task = Annotated[str, typer.Option("--task", help="Part of the key: what was done.")]
Day = Annotated[str, typer.Option("--date", help="Part of the key: YYYY-MM-DD.")]
Planid = Annotated[str, typer.Option("--planid", help="Part of the key: the plan the work belongs to.")]
Category = Annotated[str, typer.Option("--category", help="Part of the key.")]
Subinstance = Annotated[str, typer.Option("--subinstance", help="Part of the key.")]
Attempt = Annotated[int | None, typer.Option("--attempt", min=1, help="Counts repeats of the work, from 1.")]
Emit = Annotated[
    int | None,
    typer.Option(
        "--emit", min=0, max=_EMITS, help="Counts emits of an attempt; without both, the second of --finished."
    ),
]
Input = Annotated[int | None, typer.Option("--input", min=0, help="Items taken in; default: those of its digest.")]
Output = Annotated[int | None, typer.Option("--output", min=0, help="Items kept, in the input unit.")]
Produced = Annotated[
    int | None, typer.Option("--produced", min=0, help="Items handed on; default: those of its digest, or --output.")
]
Drop = Annotated[list[str] | None, typer.Option("--drop", help="REASON=COUNT left out on purpose; repeatable.")]
Fail = Annotated[list[str] | None, typer.Option("--fail", help="ERRORCLASS=COUNT that met an error; repeatable.")]
Metric = Annotated[list[str] | None, typer.Option("--metric", help="NAME=NUMBER; repeatable.")]
VersionOf = Annotated[
    list[str] | None, typer.Option("--version-of", help="WHAT=VERSION of a model, code, dictionary; repeatable.")
]
StateOption = Annotated[str, typer.Option("--state", help="succeeded, failed or skipped.")]
Error = Annotated[str | None, typer.Option("--error", help="ERRORCLASS: MESSAGE of a failed attempt.")]
Started = Annotated[str | None, typer.Option("--started", help="ISO 8601, UTC if bare; default: as --finished.")]
Finished = Annotated[str | None, typer.Option("--finished", help="ISO 8601, UTC if bare; default: now.")]
IdsIn = Annotated[Path | None, typer.Option("--ids-in", help="File of the ids taken in, one a line, to digest.")]
IdsOut = Annotated[Path | None, typer.Option("--ids-out", help="File of the ids handed on, one a line, to digest.")]
DigestIn = Annotated[str | None, typer.Option("--digest-in", help="The digest of the ids taken in: count-sum-xor.")]
DigestOut = Annotated[str | None, typer.Option("--digest-out", help="The digest of the ids handed on: count-sum-xor.")]
SpoolFolder = Annotated[Path | None, typer.Option("--spool", help="Write to this spool; default: the project's store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
EventsFile = Annotated[Path, typer.Argument(help="OpenLineage run events: JSON lines, or one JSON array.")]
PlanOfAll = Annotated[str | None, typer.Option("--planid", help="Of all records; default: each run's parent run.")]
TaskMap = Annotated[Path | None, typer.Option("--task-map", help="YAML: job name, or namespace/name, to task.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing; only say what would be.")]


def emit(
    context: typer.Context,
    task: Task,
    date: Day,
    planid: Planid,
    category: Category = "all",
    subinstance: Subinstance = "all",
    attempt: Attempt = None,
    emit_number: Emit = None,
    taken: Input = None,
    output: Output = None,
    produced: Produced = None,
    drop: Drop = None,
    fail: Fail = None,
    metric: Metric = None,
    version_of: VersionOf = None,
    state: StateOption = "succeeded",
    error: Error = None,
    started: Started = None,
    finished: Finished = None,
    ids_in: IdsIn = None,
    ids_out: IdsOut = None,
    digest_in: DigestIn = None,
    digest_out: DigestOut = None,
    spool: SpoolFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write one record: for jobs in a shell, in Spark, in anything that can run a command.

    Every item must be booked: input = output + dropped + failed. Else nothing is written (exit code 2).

    Example: `funnelgate records emit --task filter --date 2026-11-01 --planid p1 --input 9 --output 9 --spool spool`
    """
    fields = _sides(taken, output, produced, _digest("in", ids_in, digest_in), _digest("out", ids_out, digest_out))
    fields |= _times(started, finished, attempt, emit_number) | _ended(state, error)
    fields |= {"dropped": _pairs("--drop", drop, _count), "failed": _pairs("--fail", fail, _count)}
    fields |= {"metrics": _pairs("--metric", metric, _number), "versions": _pairs("--version-of", version_of, str)}
    record = _record(_key(task=task, date=date, category=category, subinstance=subinstance, planid=planid), fields)
    with _writer(context, spool) as (store, topology):
        _check(record, topology)
        (outcome,) = _put(store, [record])
    typer.echo(json.dumps(record.to_document(), indent=1) if as_json else f"{record.key}  {outcome}")


def from_openlineage(
    context: typer.Context,
    file: EventsFile,
    planid: PlanOfAll = None,
    task_map: TaskMap = None,
    dry_run: DryRun = False,
    spool: SpoolFolder = None,
    as_json: AsJson = False,
) -> int:
    """Make records of OpenLineage run events, where their facets carry the counts; name what is missing elsewhere.

    Exit code 3 when some run gave no record. The same file again is a repeat, and changes nothing.

    Example: `funnelgate records from-openlineage events.jsonl --planid p1 --dry-run`
    """
    from reporting.openlineage import convert, read_events

    found = convert(read_events(file), file, planid=planid, tasks=_task_map(task_map))
    outcomes: Counter[str] = Counter()
    if not dry_run and found.records:
        with _writer(context, spool) as (store, topology):
            for record in found.records:
                _check(record, topology)
            for start in range(0, len(found.records), _RECORDS_PER_UNIT):
                outcomes.update(_put(store, found.records[start : start + _RECORDS_PER_UNIT]))
    report = found.model_dump(mode="json", exclude={"records"}) | {
        "records": len(found.records),
        "keys": [str(record.key) for record in found.records],
        "outcomes": dict(outcomes),
        "dry_run": dry_run,
    }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        _show(report)
    return EXIT_INCONCLUSIVE if found.incomplete else EXIT_OK


def _show(report: dict[str, Any]) -> None:
    for key in report["keys"]:
        typer.echo(f"record      {key}")
    for run in report["incomplete"]:
        typer.echo(f"incomplete  {run['job']} run {run['run']}: {'; '.join(run['missing'])}")
    for note in report["notes"]:
        typer.echo(f"note        {note}")
    written = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report["outcomes"].items()))
    if report["dry_run"]:
        written = "nothing written (dry run)"
    typer.echo(
        f"{report['runs']} runs: {report['records']} records, {len(report['incomplete'])} incomplete"
        f"{'; ' if written else ''}{written}"
    )


@contextmanager
def _writer(context: typer.Context, spool: Path | None) -> Iterator[tuple[Writes, Topology | None]]:
    """Yield where records go, and what may be booked there: a spool takes any task."""
    if spool is None:
        yield context.obj.store, context.obj.topology
        return
    from reporting.spool import Spool
    from reporting.spool_store import SpoolStore

    with Spool(spool) as opened:
        yield SpoolStore(opened), None


def _put(store: Writes, records: Sequence[TaskRecord]) -> list[str]:
    with store.begin() as work:
        return [work.put_record(record).value for record in records]


def _check(record: TaskRecord, topology: Topology | None) -> None:
    """Refuse what the project's task graph does not declare, as a recorder would."""
    if topology is None:
        return
    from reporting.booking import is_declared

    spec = topology.task(record.key.task)
    for what, names, known in (
        ("drop reason", record.dropped, spec.drop_reasons),
        ("metric", record.metrics, spec.metrics),
    ):
        for name in names:
            if not is_declared(name, known):
                where = f"task {record.key.task!r}"
                raise RecordError(f"{record.key}: {what} {name!r} is not declared for {where}; {nearest(name, known)}")


def _key(**parts: str) -> RunKey:
    from reporting.days import parse_day, parse_key
    from reporting.key import KEY_PARTS

    parse_day(parts["date"])
    slashed = [part for part in KEY_PARTS if "/" in parts[part]]
    if slashed:
        raise UsageError(f"--{slashed[0]} {parts[slashed[0]]!r} contains '/', which a key part may not")
    return parse_key("/".join(parts[part] for part in KEY_PARTS))


def _record(key: RunKey, fields: dict[str, Any]) -> TaskRecord:
    from pydantic import ValidationError

    from reporting.record import TaskRecord

    try:
        return TaskRecord(key=key, **fields)
    except ValidationError as error:
        faults = [(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors()]
        raise UsageError("; ".join(f"{place}: {text}" if place else text for place, text in faults)) from None


def _sides(
    taken: int | None, output: int | None, produced: int | None, digest_in: Digest | None, digest_out: Digest | None
) -> dict[str, Any]:
    """Return the counts; one that is not given follows from a digest, or from the other side of an unchanged unit."""
    if taken is None and digest_in is not None:
        taken = digest_in.count
    if produced is None:
        produced = output if digest_out is None else digest_out.count
    if output is None:
        output = produced
    if taken is None:
        raise UsageError("how many items were taken in? give --input, --ids-in or --digest-in (0 where it was none)")
    if output is None:
        raise UsageError("how many items came out? give --output, --ids-out or --digest-out (0 where it was none)")
    return {
        "input": taken,
        "output": output,
        "produced": produced,
        "digest_in": None if digest_in is None else str(digest_in),
        "digest_out": None if digest_out is None else str(digest_out),
    }


def _digest(side: str, ids: Path | None, text: str | None) -> Digest | None:
    from reporting.digest import Digest

    if ids is not None and text is not None:
        raise UsageError(f"give either --ids-{side} or --digest-{side}")
    if text is not None:
        try:
            return Digest.parse(text)
        except ValueError as error:
            raise UsageError(f"--digest-{side}: {error}") from None
    if ids is None:
        return None
    try:
        with ids.open(encoding="utf-8", newline="\n") as file:
            return Digest.of(line.rstrip("\r\n") for line in file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--ids-{side} {ids}: cannot be read: {error}") from None


def _times(started: str | None, finished: str | None, attempt: int | None, emit_number: int | None) -> dict[str, Any]:
    from datetime import UTC, datetime

    from reporting.days import parse_moment
    from reporting.record import version_of

    now = datetime.now(UTC)
    finished_at = parse_moment(finished) or now
    if emit_number is None:  # without attempts, the job that ended later counts
        emit_number = 0 if attempt is not None else max(0, int(finished_at.timestamp()))
    return {
        "started_at": parse_moment(started) or finished_at,
        "finished_at": finished_at,
        "reported_at": now,
        "attempt": attempt or 1,
        "version": version_of(attempt or 1, emit_number),
    }


def _ended(state: str, error: str | None) -> dict[str, Any]:
    from reporting.record import State, TaskFailure

    if state not in list(State):
        raise UsageError(f"--state: unknown state {state!r}; {nearest(state, list(State))}")
    if error is None:
        return {"state": State(state)}
    if state != State.FAILED:
        raise UsageError(f"--error is for --state failed, not {state}")
    name, _, message = error.partition(":")
    return {"state": State.FAILED, "error": TaskFailure(error_class=name.strip(), message=message.strip())}


def _pairs(option: str, texts: Sequence[str] | None, read: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} {text!r}: write NAME=VALUE")
        if name in found:
            raise UsageError(f"{option}: {name!r} is given twice; add the two up")
        try:
            found[name] = read(value)
        except ValueError as error:
            raise UsageError(f"{option} {text!r}: {error}") from None
    return found


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no count; write a whole number, 0 or more")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no finite number")
    return number


def _task_map(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    from reporting.yaml_source import load_yaml

    found = load_yaml(path)
    if not isinstance(found.data, dict) or not all(isinstance(task, str) for task in found.data.values()):
        raise ConfigError(f"{path}: expected lines `job: task`")
    return {str(job): task for job, task in found.data.items()}
