"""Four days of the default pipeline's books: a promoted repair, an open day, a shadow plan, and items that vanish.

Made by the hub's own factories and kept in a SQL store, which is the oracle of what the panels show.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from itertools import product
from pathlib import Path

import pipeline
from checks.incidents import Incident, IncidentState
from reporting.key import ALL
from reporting.plans import Cover, Leaf, PlanKind, PlanState
from reporting.record import Consumed, TaskRecord
from reporting.stores.base import UnitOfWork
from reporting.stores.sql import SqlStore
from reporting.testing import make_plan, make_record
from reporting.topology import Law, TaskSpec, Topology
from reporting.verdict import Outcome, Verdict
from tests.reporting.elastic.said import full_incident, full_result

TOPOLOGY = Topology.load(Path(pipeline.__file__).parent / "default.yaml")
DAYS = tuple(Date(2026, 10, 29) + timedelta(days=number) for number in range(4))
"""Over the end of a month, so that two indices are asked."""
REPAIRED, BROKEN, OPEN = DAYS[1], DAYS[2], DAYS[3]
"""A day that a promoted re-run repairs; one on which pictures vanish between two tasks; one still at work."""
CATEGORIES, PACKAGES = ("hats", "shoes"), ("0001", "0002", "0003")
METRICS = sorted({name for spec in TOPOLOGY.tasks.values() for name in spec.metrics})
LOST = 5
"""Pictures of one package that `listing` handed on and `detect` never took in, on the broken day."""
GAINED = 2
"""Pictures of another package that came from nowhere: summed over packages they would hide some of the loss."""


def daily(day: Date) -> str:
    """Return the id of a day's daily plan."""
    return f"daily-{day}"


def leaves(task: str, day: Date) -> list[Leaf]:
    """Return every leaf of a task on a day."""
    grain = TOPOLOGY.task(task).grain
    categories = CATEGORIES if "category" in grain else (ALL,)
    packages = PACKAGES if "subinstance" in grain else (ALL,)
    return [Leaf(task, day, category, package) for category, package in product(categories, packages)]


def fill(store: SqlStore) -> None:
    """Put everything into a store."""
    with store.begin() as work:
        for day in DAYS:
            _daily(work, day)
        _rerun(work)
        _shadow(work)
        for verdict in verdicts():
            work.put_verdict(verdict)


def verdicts() -> list[Verdict]:
    """Return one verdict a complete day: the last of them fails."""
    words = (Outcome.PASS, Outcome.PASS, Outcome.FAIL)
    return [
        Verdict(
            verdict_id=f"gate-{day}", date=day, planid=daily(day), outcome=word, inputs={}, decided_at=moment(day, 5)
        )
        for day, word in zip(DAYS[:3], words, strict=True)
    ]


def incidents() -> list[Incident]:
    """Return a firing and a resolved incident of the broken day."""
    resolved = full_incident(BROKEN)
    firing = resolved.model_copy(
        update={
            "episode": "0firing",
            "state": IncidentState.FIRING,
            "result": full_result(BROKEN, "listing->detect"),
            "closed_at": None,
        }
    )
    return [resolved, firing]


def moment(day: Date, hour: int) -> datetime:
    """Return a moment of a day, in UTC."""
    return datetime.combine(day, time(hour), UTC)


def _daily(work: UnitOfWork, day: Date) -> None:
    at_work = day == OPEN
    work.put_plan(
        make_plan(
            daily(day),
            dates=(day,),
            code_version="code-2" if day >= BROKEN else "code-1",
            created_at=moment(day, 0),
            completed_at=None if at_work else moment(day, 6),
        )
    )
    expected = [leaf for task in TOPOLOGY.tasks for leaf in leaves(task, day)]
    work.expect(daily(day), expected)
    for record in _records(day, daily(day), random.Random(str(day))):
        # the open day has got as far as `listing`, and one package of it is still missing
        reached = TOPOLOGY.order.index(record.key.task) <= TOPOLOGY.order.index("listing")
        if not at_work or (reached and (record.key.task, record.key.subinstance) != ("listing", PACKAGES[-1])):
            work.put_record(record)


def _rerun(work: UnitOfWork) -> None:
    """A promoted repair of one package from `quality` on, and one that is not complete and must count nothing."""
    scope = tuple(Cover(task=task, subinstances=(PACKAGES[0],)) for task in ("quality", "hash"))
    created = moment(REPAIRED, 8)
    done = created + timedelta(hours=1)
    repair = make_plan(
        "repair",
        PlanKind.RERUN,
        dates=(REPAIRED,),
        created_at=created,
        completed_at=done,
        promoted_at=done,
        cover=scope,
        code_version="code-2",
    )
    at_work = {"state": PlanState.OPEN, "completed_at": None, "promoted_at": None}
    work.put_plan(repair)
    work.put_plan(repair.model_copy(update={"planid": "half-done", "created_at": done, **at_work}))
    for planid in ("repair", "half-done"):
        work.expect(planid, [Leaf(task, REPAIRED, ALL, PACKAGES[0]) for task in ("quality", "hash")])
        source = random.Random(planid)
        for task in ("quality", "hash") if planid == "repair" else ("quality",):
            work.put_record(_record(task, Leaf(task, REPAIRED, ALL, PACKAGES[0]), planid, 400, source))


def _shadow(work: UnitOfWork) -> None:
    """A plan that never counts, with a record of every leaf of its day."""
    work.put_plan(make_plan("shadow", PlanKind.SHADOW, dates=(BROKEN,), completed_at=moment(BROKEN, 9)))
    for record in _records(BROKEN, "shadow", random.Random("shadow")):
        work.put_record(record)


def _records(day: Date, planid: str, source: random.Random) -> Iterator[TaskRecord]:
    """Yield a day's records in the graph's order: what one hands on the next takes in, but for the planted loss."""
    done: dict[str, list[TaskRecord]] = {}
    for task in TOPOLOGY.order:
        done[task] = [_record(task, leaf, planid, _taken(leaf, done), source) for leaf in leaves(task, day)]
        yield from done[task]


def _taken(leaf: Leaf, done: dict[str, list[TaskRecord]]) -> int:
    """Return what a leaf takes in: what reaches it by its first counting edge, else a number of its own."""
    for edge in TOPOLOGY.upstream(leaf.task):
        if edge.law is Law.EQUAL:
            grain = TOPOLOGY.common_grain(edge)
            handed = sum(
                record.produced
                for record in done[edge.source]
                if all(getattr(record.key, dimension) == getattr(leaf, dimension) for dimension in grain)
            )
            # shared out evenly among the leaves that the source does not tell apart; the first gets the rest
            others = [
                one for one in leaves(leaf.task, leaf.date) if all(getattr(one, d) == getattr(leaf, d) for d in grain)
            ]
            share, rest = divmod(handed, len(others))
            taken = share + (rest if leaf == others[0] else 0)
            here = leaf.task == "detect" and leaf.date == BROKEN
            return taken + {PACKAGES[1]: -LOST, PACKAGES[2]: GAINED}.get(leaf.subinstance, 0) * here
    return {"collect": 3000, "recheck": 600, "evict": 900, "evaluate": 50, "release": 1}.get(leaf.task, 120)


def _record(task: str, leaf: Leaf, planid: str, taken: int, source: random.Random) -> TaskRecord:
    spec = TOPOLOGY.task(task)
    dropped = _dropped(spec, taken, source)
    failed = {"OSError": 2, "ValueError": 1} if task == "crop" and leaf.subinstance == PACKAGES[1] else {}
    output = taken - sum(dropped.values()) - sum(failed.values())
    produced = output * 2 if spec.unit_in == "picture" and spec.unit_out == "object" else output
    number = DAYS.index(leaf.date)
    consumed = (
        (Consumed(task="index", date=leaf.date, planid=planid, count=taken // 2),)
        + (
            (Consumed(task="tail", date=DAYS[number - 1], planid=daily(DAYS[number - 1]), count=taken - taken // 2),)
            if number
            else (
                Consumed(task="index", date=leaf.date - timedelta(days=1), planid="before", count=taken - taken // 2),
            )
        )
        if TOPOLOGY.window_sources(task)
        else ()
    )
    started = moment(leaf.date, 1) + timedelta(minutes=10 * TOPOLOGY.order.index(task))
    finished = started + timedelta(seconds=source.randint(5, 400))
    return make_record(
        task,
        date=leaf.date,
        category=leaf.category,
        subinstance=leaf.subinstance,
        planid=planid,
        input=taken,
        dropped=dropped,
        failed=failed,
        produced=produced,
        consumed=consumed,
        versions=_versions(leaf),
        metrics={name: float(source.randint(1, 1000)) for name in spec.metrics if not name.endswith("*")},
        started_at=started,
        finished_at=finished,
        reported_at=finished,
    )


def _versions(leaf: Leaf) -> dict[str, str]:
    """Return what a record names: nothing, its own code and more, or a model that changes within a plan."""
    if leaf.task == "quality":
        return {}
    if leaf.task == "embed":
        return {
            "model": "net|2, beta" if leaf.category == "hats" else "net=1",
            "space": "1f" if leaf.date < BROKEN else "2f",
        }
    return {"code": "code-2" if leaf.date >= BROKEN else "code-1", "library": "äöü 鞋"}


def _dropped(spec: TaskSpec, taken: int, source: random.Random) -> dict[str, int]:
    """Return some of the reasons the task may book, a few items each."""
    found = {reason: source.randint(0, max(1, taken // 40)) for reason in spec.drop_reasons[:3]}
    return {reason: count for reason, count in found.items() if count and sum(found.values()) < taken}
