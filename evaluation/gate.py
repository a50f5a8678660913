"""The thin gate: judge a candidate by its floors and write the verdict.

The real gate (non-inferiority, census, waivers) is its own issue and replaces this file; the interface stays:
a candidate and settings in, a verdict with its evidence out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from evaluation.catalog import CatalogImage, catalog_of
from evaluation.evalset import load_evalset
from evaluation.floors import Floor, judge_floors
from evaluation.report import evaluate
from evaluation.result import ALL, Route
from evaluation.searcher import Searcher
from evaluation.stats import wilson_interval
from reporting.errors import ConfigError
from reporting.verdict import Outcome, Verdict

SELF_PROBE_FLOOR = 0.99
"""self_recall@1 below which an index is broken (evaluation-index-eviction.md, 4.2)."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, the ids of the queries asked and of those left unanswered, and the details as JSON."""

    verdict: Verdict
    queries: list[str]
    unanswered: list[str]
    details: str


@dataclass(frozen=True)
class Subject:
    """What is judged: a searcher over the candidate, its input hashes and the catalogue of record."""

    date: Date
    planid: str
    inputs: dict[str, str]
    searcher: Searcher
    catalog: Callable[[Set[str]], Iterable[CatalogImage]]
    """Findable pictures of some product groups."""
    probes: Callable[[], Sequence[tuple[str, int, str, bytes]]]
    """(picture sha256, id, category, bytes) of indexed pictures, for the self-probe."""


class Rules(Protocol):
    """How to judge, as the evaluate task's settings say."""

    @property
    def queries(self) -> Path | None:
        """Labelled queries (CSV); None: self-probe."""

    @property
    def root(self) -> Path | None:
        """Folder of the queries' pictures; None: the CSV's own."""

    @property
    def route(self) -> Route:
        """All categories, or the labelled one."""

    @property
    def ks(self) -> Sequence[int]:
        """Cuts."""

    @property
    def floors(self) -> Sequence[dict[str, Any]]:
        """Floors, not yet checked."""


def judge(subject: Subject, rules: Rules) -> Judgement:
    """Judge by a labelled set, or, without one, by whether indexed pictures find themselves.

    Raises:
        ConfigError: a floor is malformed.
        DataError: the labelled set cannot be used.
    """
    if rules.queries is None:
        return _self_probe(subject)
    evalset = load_evalset(rules.queries, root=rules.root)
    catalog = catalog_of(subject.catalog({query.group for query in evalset.queries}))
    known = tuple(query for query in evalset.queries if query.group in catalog.images_by_group)
    outside = len(evalset.queries) - len(known)
    if not known:
        return _nothing_to_ask(subject, outside)
    asked = evalset.model_copy(update={"queries": known})
    result = evaluate(asked, catalog, subject.searcher, searcher_facts=subject.inputs, ks=rules.ks, route=rules.route)
    verdict = judge_floors(result, [_floor(number, floor) for number, floor in enumerate(rules.floors)])
    overall = result.slice_of(ALL)
    assert overall is not None
    wanted = {f"{kind}@{k}" for kind in ("hit", "recall") for k in rules.ks} | {"answer_rate"}
    metrics = {metric.name: metric.value for metric in overall.metrics if metric.name in wanted}
    return Judgement(
        verdict=Verdict(
            verdict_id=_verdict_id(subject),
            date=subject.date,
            planid=subject.planid,
            outcome=Outcome(verdict.decision),
            inputs=subject.inputs,
            evidence=[row.model_dump(mode="json") for row in verdict.evidence],
            metrics={**metrics, "queries_outside_catalogue": float(outside)},
            decided_at=datetime.now(UTC),
        ),
        queries=[outcome.path for outcome in result.outcomes],
        unanswered=[outcome.path for outcome in result.outcomes if not outcome.is_answered],
        details=result.model_dump_json(indent=1),
    )


def _self_probe(subject: Subject) -> Judgement:
    """Ask indexed pictures for themselves: the floor under every labelled metric."""
    probes = subject.probes()
    found: list[bool] = []
    unanswered: list[str] = []
    for picture, item, category, data in probes:
        hits = subject.searcher.search([data], 1, category)[0]
        found.append(bool(hits) and hits[0].id == item)
        if not hits:
            unanswered.append(picture)
    share = sum(found) / len(found)
    low, high = wilson_interval(sum(found), len(found))
    passed = share >= SELF_PROBE_FLOOR
    reason = (
        f"{sum(found)} of {len(found)} indexed pictures find themselves first "
        f"({share:.4f}, 95 % {low:.4f} to {high:.4f}), "
        f"floor {SELF_PROBE_FLOOR}; there is no labelled set, so nothing is said about other pictures"
    )
    evidence = {"metric": "self_hit@1", "decision": "PASS" if passed else "FAIL", "value": share, "reason": reason}
    return Judgement(
        verdict=Verdict(
            verdict_id=_verdict_id(subject),
            date=subject.date,
            planid=subject.planid,
            outcome=Outcome.PASS if passed else Outcome.FAIL,
            inputs=subject.inputs,
            evidence=[evidence],
            metrics={"self_hit@1": share},
            decided_at=datetime.now(UTC),
        ),
        queries=[picture for picture, *_ in probes],
        unanswered=unanswered,
        details="{}",
    )


def _nothing_to_ask(subject: Subject, outside: int) -> Judgement:
    reason = f"none of the {outside} labelled queries shows a product that has arrived yet"
    return Judgement(
        verdict=Verdict(
            verdict_id=_verdict_id(subject),
            date=subject.date,
            planid=subject.planid,
            outcome=Outcome.INCONCLUSIVE,
            inputs=subject.inputs,
            evidence=[{"decision": "INCONCLUSIVE", "reason": reason}],
            metrics={"queries_outside_catalogue": float(outside)},
            decided_at=datetime.now(UTC),
        ),
        queries=[],
        unanswered=[],
        details="{}",
    )


def _floor(number: int, floor: dict[str, Any]) -> Floor:
    try:
        return Floor.model_validate(floor)
    except ValidationError as error:
        fault = error.errors()[0]
        where = f"pipeline.yaml: tasks.evaluate.settings.floors.{number}.{'.'.join(map(str, fault['loc']))}"
        raise ConfigError(f"{where}: {fault['msg']}, got {fault['input']!r}") from None


def _verdict_id(subject: Subject) -> str:
    return f"verdict-{subject.planid}-{subject.date.isoformat()}"
