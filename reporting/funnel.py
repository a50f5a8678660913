"""The funnel: per task what went in, what went on, and why the rest did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from reporting.record import TaskRecord
from reporting.topology import Topology

if TYPE_CHECKING:
    import pandas as pd


class FunnelRow(BaseModel):
    """One task's totals over the chosen records, in its input unit (`produced`: in its output unit)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    input: int
    output: int
    produced: int
    kept_ratio: float | None
    """output / input; None where nothing came in."""
    dropped: dict[str, int]
    failed: dict[str, int]
    unit_in: str
    unit_out: str
    leaves: int


def funnel(topology: Topology, records: Iterable[TaskRecord]) -> list[FunnelRow]:
    """Sum records per task, in topology order; tasks without a record are left out.

    Drop reasons come in the order the topology declares, those that did not occur are left out.
    """
    groups: dict[str, list[TaskRecord]] = {}
    for record in records:
        groups.setdefault(record.key.task, []).append(record)
    return [_row(topology, task, groups[task]) for task in topology.order if task in groups]


def _row(topology: Topology, task: str, records: list[TaskRecord]) -> FunnelRow:
    spec = topology.task(task)
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for record in records:
        dropped.update(record.dropped)
        failed.update(record.failed)
    taken, output = sum(r.input for r in records), sum(r.output for r in records)
    order = {reason: number for number, reason in enumerate(spec.drop_reasons)}
    return FunnelRow(
        task=task,
        input=taken,
        output=output,
        produced=sum(r.produced for r in records),
        kept_ratio=output / taken if taken else None,
        dropped={reason: n for reason, n in sorted(dropped.items(), key=lambda x: order.get(x[0], 99)) if n},
        failed=dict(sorted(failed.items())),
        unit_in=spec.unit_in,
        unit_out=spec.unit_out,
        leaves=len(records),
    )


def funnel_frame(rows: Iterable[FunnelRow]) -> pd.DataFrame:
    """Return the funnel as a frame indexed by task: input, output, produced, kept_ratio, then one column a reason."""
    import pandas as pd

    data = [
        {
            "task": row.task,
            "input": row.input,
            "output": row.output,
            "produced": row.produced,
            "kept_ratio": row.kept_ratio,
        }
        | {f"dropped_{reason}": count for reason, count in row.dropped.items()}
        | {f"failed_{name}": count for name, count in row.failed.items()}
        for row in rows
    ]
    frame = pd.DataFrame(data, columns=None if data else ["task", "input", "output", "produced", "kept_ratio"])
    frame = frame.set_index("task")
    counts = [name for name in frame.columns if name != "kept_ratio"]
    frame[counts] = frame[counts].fillna(0).astype("int64")
    return frame
