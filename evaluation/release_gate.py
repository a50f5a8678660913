"""The gate as a task of the pipeline: judge a day's candidate against what is released and what is pinned.

The baselines are asked anew, with the same queries against the same catalogue: a difference is then one of the
systems, never of two days' questions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from evaluation.building import Sources, labelled_queries
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Query
from evaluation.gate import judge
from evaluation.gate_file import gate_path, gate_sha256, read_gate
from evaluation.gate_spec import GateSpec
from evaluation.measure import measure
from evaluation.measured import Measured
from evaluation.outputs import write_outputs
from evaluation.outputs.folder import ReadPicture
from evaluation.searchers.index import IndexUnderTest, system_of
from evaluation.set_content import evalset_of
from evaluation.set_files import load_set
from evaluation.set_pictures import read_picture
from evaluation.unlabelled import Probe, self_hit
from evaluation.verdict import GateVerdict
from reporting.errors import DataError
from reporting.verdict import Outcome, Verdict

DEFAULT_GATE = "default"


class CatalogEntry(NamedTuple):
    """A picture that should be findable: product, hash of its bytes, declared category.

    With a `takedown_day` it should be findable only before; from then on it must not be shown.
    """

    group: str
    sha256: str
    category: str
    takedown_day: Date | None = None


@dataclass(frozen=True)
class Subject:
    """What is judged, and against what."""

    date: Date
    planid: str
    inputs: Mapping[str, str]
    """What the verdict covers: a release must be of exactly these."""
    candidate: IndexUnderTest
    baselines: Callable[[], Mapping[Literal["release", "champion"], IndexUnderTest]]
    catalog: Callable[[], Iterable[CatalogEntry]]
    probes: Callable[[], Sequence[Probe]]
    """Indexed pictures, for where there is no labelled set."""
    picture: Callable[[str], bytes | None]
    """Reads an indexed picture by its sha256, for the page; None: it is not held."""
    page: Callable[[str], str | None] = lambda _: None
    """Address of the page that shows a verdict, by its id, for the report; None: none is known."""


class Rules(Protocol):
    """How to judge, as the evaluate task's settings say."""

    @property
    def set(self) -> Path | None:
        """An evaluation set (NAME@SHA12), or None."""

    @property
    def queries(self) -> Path | None:
        """Labelled queries (CSV or Parquet); the catalogue is then the pipeline's own."""

    @property
    def root(self) -> Path | None:
        """Folder of the queries' pictures; None: the table's own."""

    @property
    def route(self) -> Literal["all", "labelled"]:
        """Search as users do, or the labelled category."""

    @property
    def ks(self) -> Sequence[int]:
        """Cuts."""

    @property
    def gate(self) -> Path | None:
        """gate.yaml; None: the one that comes with funnelgate."""

    @property
    def latency_queries(self) -> int:
        """Queries of the latency runs; 0: not measured."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, the ids of the queries asked and of those left unanswered, and the gate's files by name."""

    verdict: Verdict
    queries: list[str]
    unanswered: list[str]
    files: Mapping[str, bytes]


def judge_release(subject: Subject, rules: Rules) -> Judgement:
    """Judge a candidate by a labelled set and a gate file, and make the five outputs.

    Without a set and without queries its own pictures must find themselves, which is not much of a gate.

    Raises:
        ConfigError: the gate file is malformed.
        DataError: the labelled set cannot be used, or nothing was answered.
    """
    if rules.set is None and rules.queries is None:
        return _unlabelled(subject)
    name = DEFAULT_GATE if rules.gate is None else str(rules.gate)
    path = gate_path(name)
    spec = read_gate(path)
    evalset, outside = _set_of(subject, rules)
    if evalset is None:
        return _nothing_to_ask(subject, outside)
    measured = _measure(subject.candidate, evalset, subject.date, rules, spec)
    others = {role: _measure(one, evalset, subject.date, rules, spec) for role, one in subject.baselines().items()}
    said = judge(
        spec,
        evalset,
        measured,
        release=others.get("release"),
        champion=others.get("champion"),
        as_of=subject.date,
        tool=f"funnelgate {version('funnelgate')}",
        config_sha256=gate_sha256(path),
    )
    files = _outputs(subject, said, evalset, measured, others)
    answered = measured.values["answer_rate"] > 0
    return Judgement(
        verdict=_record(subject, said, measured, rules.ks, outside),
        queries=list(measured.query_ids),
        unanswered=[query for query, is_answered in zip(measured.query_ids, answered, strict=True) if not is_answered],
        files=files,
    )


def _outputs(
    subject: Subject,
    said: GateVerdict,
    evalset: EvalSet,
    measured: Measured,
    others: Mapping[Literal["release", "champion"], Measured],
) -> dict[str, bytes]:
    """Make the five outputs, and return them by name."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_outputs(
            said,
            evalset,
            measured,
            release=others.get("release"),
            champion=others.get("champion"),
            folder=Path(folder),
            day=subject.date,
            picture=_reader(subject, evalset),
            page=subject.page(_verdict_id(subject)),
        )
        return {file.name: file.read_bytes() for file in written}


def _reader(subject: Subject, evalset: EvalSet) -> ReadPicture:
    """Return what reads a picture for the page: a query's from the set, the catalogue's from the indexes."""

    def read(shown: Query | CatalogImage) -> bytes:
        if isinstance(shown, Query) or shown.path:
            return read_picture(evalset, shown)
        found = subject.picture(shown.sha256)
        if found is None:
            raise DataError(f"picture {shown.sha256}: the candidate does not hold it, so it cannot be shown")
        return found

    return read


def _measure(index: IndexUnderTest, evalset: EvalSet, day: Date, rules: Rules, spec: GateSpec) -> Measured:
    ks = tuple(sorted({*rules.ks, *spec.ks}))
    system = system_of(
        index,
        evalset,
        day=day,
        deepest=max(ks),
        told=rules.route == "labelled",
        latency_queries=rules.latency_queries,
    )
    return measure(system, evalset, ks=ks, day=day)


def _set_of(subject: Subject, rules: Rules) -> tuple[EvalSet | None, int]:
    """Return the set, and how many labelled queries show a product that the catalogue does not have (yet)."""
    if rules.set is not None:
        return load_set(rules.set), 0
    assert rules.queries is not None, "judge_release asks for one of the two"
    queries, labels, root = labelled_queries(Sources(queries=rules.queries, root=rules.root))
    category_of = {query.query_id: query.category for query in queries}
    categories = {label.group_id: category_of[label.query_id] for label in labels if label.grade >= 1}
    catalog = [
        CatalogImage(
            image_id=entry.sha256,
            group_id=entry.group,
            category=categories.get(entry.group, entry.category or "unknown"),
            sha256=entry.sha256,
            takedown_day=entry.takedown_day,
        )
        for entry in sorted(set(subject.catalog()), key=lambda entry: (entry[:3], entry.takedown_day or Date.max))
    ]
    # Nobody asks for a product that was taken down: it is neither found nor lost.
    groups = {image.group_id for image in catalog if image.is_live(subject.date)}
    known = {label.query_id for label in labels if label.group_id in groups and label.grade >= 1}
    asked = [query for query in queries if query.query_id in known]
    if not asked:
        return None, len(queries)
    gallery = Gallery(
        query_domain=rules.queries.stem,
        gallery_domain="the pipeline's catalogue",
        as_of=subject.date,
        self_match="drop",
        no_distractors="the catalogue is all that the pipeline ever collected",
    )
    kept = [label for label in labels if label.query_id in known and label.group_id in groups]
    return evalset_of(rules.queries.stem, asked, kept, catalog, gallery, root=root), len(queries) - len(asked)


def _record(subject: Subject, said: GateVerdict, measured: Measured, ks: Sequence[int], outside: int) -> Verdict:
    """Return what the store keeps: the outcome over exactly the candidate's inputs, and a row for each rule."""
    wanted = [f"{kind}@{k}" for kind in ("hit", "recall") for k in sorted(set(ks))] + ["answer_rate"]
    return Verdict(
        verdict_id=_verdict_id(subject),
        date=subject.date,
        planid=subject.planid,
        outcome=Outcome(said.verdict),
        inputs=dict(subject.inputs),
        evidence=[
            {"decision": _DECISION[rule.status], **rule.model_dump(mode="json", exclude={"worst"})}
            for rule in said.rules
        ],
        metrics={
            **{name: float(measured.values[name].mean()) for name in wanted},
            "queries_outside_catalogue": float(outside),
        },
        decided_at=datetime.now(UTC),
    )


_DECISION = {
    "pass": "PASS",
    "waived": "PASS",
    "not_applicable": "PASS",
    "fail": "FAIL",
    "error": "FAIL",
    "inconclusive": "INCONCLUSIVE",
}


def _unlabelled(subject: Subject) -> Judgement:
    found = self_hit(subject.candidate, subject.probes())
    outcome = Outcome.PASS if found.holds else Outcome.FAIL
    evidence = {"metric": "self_hit@1", "decision": outcome.value, "value": found.share, "reason": found.reason}
    verdict = _verdict(subject, outcome, evidence, {"self_hit@1": found.share})
    return Judgement(verdict=verdict, queries=found.asked, unanswered=found.unanswered, files={})


def _nothing_to_ask(subject: Subject, outside: int) -> Judgement:
    reason = f"none of the {outside} labelled queries shows a product that has arrived yet"
    evidence = {"decision": "INCONCLUSIVE", "reason": reason}
    verdict = _verdict(subject, Outcome.INCONCLUSIVE, evidence, {"queries_outside_catalogue": float(outside)})
    return Judgement(verdict=verdict, queries=[], unanswered=[], files={})


def _verdict(subject: Subject, outcome: Outcome, evidence: dict[str, Any], metrics: dict[str, float]) -> Verdict:
    return Verdict(
        verdict_id=_verdict_id(subject),
        date=subject.date,
        planid=subject.planid,
        outcome=outcome,
        inputs=dict(subject.inputs),
        evidence=[evidence],
        metrics=metrics,
        decided_at=datetime.now(UTC),
    )


def _verdict_id(subject: Subject) -> str:
    return f"verdict-{subject.planid}-{subject.date.isoformat()}"
