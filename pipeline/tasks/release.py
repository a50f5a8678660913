"""release: publish the judged indexes by an atomic pointer; only with a PASS over exactly these inputs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.release.manifest import ReleaseDraft
from pipeline.release.pointer import current, publish
from pipeline.tasks.candidate import Candidate, candidate_of
from pipeline.tasks.context import LeafContext
from reporting.errors import GateRefused, Inconclusive
from reporting.logs import logger
from reporting.verdict import Outcome, Verdict

_log = logger("release")
SHOWN = 5
"""Reasons in a message: a lost category fails a rule or two for each of its slices."""


class Settings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def run(leaf: LeafContext, _settings: Settings) -> None:
    """Publish one generation of all categories; an older day's plan never replaces a newer day's release."""
    candidate = candidate_of(leaf)
    leaf.books.take(sorted(candidate.entries))
    verdict = _verdict(leaf, candidate)
    root = Path(leaf.lake.full(""))
    served = current(root)
    if served is not None and served.date > leaf.key.date:
        leaf.books.drop("superseded", sorted(candidate.entries))
        _log.warning("%s: release %d of %s is newer; not published", leaf.key, served.number, served.date)
        return
    draft = ReleaseDraft(
        created_at=datetime.now(UTC),
        date=leaf.key.date,
        planid=leaf.key.planid,
        verdict_id=verdict.verdict_id,
        categories=candidate.entries,
        front=candidate.front,
    )
    manifest = publish(root, draft)
    leaf.books.measure("generation", manifest.number)
    leaf.books.keep(sorted(candidate.entries))


def _verdict(leaf: LeafContext, candidate: Candidate) -> Verdict:
    """Return the PASS over these inputs.

    Raises:
        GateRefused: the verdict is FAIL, or none was given over these inputs.
        Inconclusive: the verdict is INCONCLUSIVE.
    """
    plans = {str(read[4]) for read in leaf.reads} | {leaf.key.planid}
    verdicts = sorted(
        (verdict for planid in plans for verdict in leaf.store.verdicts(planid) if verdict.date == leaf.key.date),
        key=lambda verdict: verdict.decided_at,
    )
    fitting = [verdict for verdict in verdicts if verdict.inputs == candidate.inputs()]
    if not fitting:
        raise GateRefused(
            f"{leaf.key}: none of the day's {len(verdicts)} verdicts covers exactly these indexes; "
            "run evaluate for this plan first"
        )
    verdict = fitting[-1]
    if verdict.outcome is Outcome.PASS:
        return verdict
    message = f"{leaf.key}: verdict {verdict.verdict_id} is {verdict.outcome.value}: {why_not(verdict)}"
    raise GateRefused(message) if verdict.outcome is Outcome.FAIL else Inconclusive(message)


def why_not(verdict: Verdict) -> str:
    """Return the reasons against a release, what fails before what is inconclusive, at most `SHOWN` of them.

    Example:
        >>> from reporting.testing import MOMENT
        >>> rows = [{"decision": "INCONCLUSIVE", "reason": "too few"}, {"decision": "FAIL", "reason": "one is lost"}]
        >>> why_not(Verdict(verdict_id="v", date=MOMENT.date(), planid="p", outcome="FAIL", inputs={}, evidence=rows,
        ...                 decided_at=MOMENT))
        'one is lost; too few'
    """
    rows = [row for row in verdict.evidence if row.get("decision") != "PASS"]
    reasons = [str(row.get("reason", row)) for row in sorted(rows, key=lambda row: row.get("decision") != "FAIL")]
    more = [f"and {len(reasons) - SHOWN} more, all of them in the verdict"] if len(reasons) > SHOWN else []
    return "; ".join([*reasons[:SHOWN], *more]) or "no evidence"
