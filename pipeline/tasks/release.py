"""release: write the judged indexes and publish them by one atomic pointer, only with a PASS over exactly these."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.drafting import draft_of
from pipeline.release.pointer import current
from pipeline.release.publishing import OlderDay, publish_release
from pipeline.release.signing import Signer, private_key
from pipeline.serve.ranking import RankSettings
from pipeline.serve.rerankers import require_rerankers
from pipeline.stale import Kind, stale_ancestors
from pipeline.tasks.candidate import Candidate, candidate_of
from pipeline.tasks.context import LeafContext
from reporting.errors import ConfigError, GateRefused, Inconclusive
from reporting.logs import logger
from reporting.verdict import Outcome, Verdict

_log = logger("release")
SHOWN = 5
"""Reasons in a message: a lost category fails a rule or two for each of its slices."""


class Settings(BaseModel):
    """How results are ranked, which stale ancestors a release may have, and what signs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ranking: RankSettings = Field(default_factory=RankSettings)
    """What happens to neighbours before they are an answer; judged with the indexes."""
    tolerate: tuple[Kind, ...] = ()
    """What may have changed since an ancestor was built: `code`, `settings`, `model`, `detector`, `gallery`, `input`,
    `late_day`. Anything else that is stale refuses the release."""
    sign_key: Path | None = None
    """File of the Ed25519 key (PEM) that signs what is published, by the task and by hand; never the key itself."""
    sign_valid_hours: float | None = Field(default=None, gt=0)
    """How long consumers may follow a signed release; none: for ever."""

    @field_validator("ranking")
    @classmethod
    def _has_its_rerankers(cls, ranking: RankSettings) -> RankSettings:
        try:
            require_rerankers(ranking.rerankers, "ranking.rerankers")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return ranking

    def signer(self, now: datetime) -> Signer | None:
        """Return what signs a release now, None where no key is set.

        Raises:
            ConfigError: The key file is not there or holds no key, or the extra `sign` is missing.
        """
        if self.sign_key is None:
            return None
        private_key(self.sign_key)  # before anything is written
        valid = None if self.sign_valid_hours is None else timedelta(hours=self.sign_valid_hours)
        return Signer(self.sign_key, now, valid)


def run(leaf: LeafContext, settings: Settings) -> None:
    """Publish one generation of all categories; an older day's plan never replaces a newer day's release.

    Raises:
        GateRefused: the verdict is FAIL, none was given over these inputs, or an ancestor is stale.
        Inconclusive: the verdict is INCONCLUSIVE.
        ContractViolation: the shards no longer give the indexes that were judged.
        ConfigError: the key that is to sign cannot be used.
    """
    signer = settings.signer(datetime.now(UTC))
    candidate = candidate_of(leaf)
    leaf.books.take(sorted(candidate.entries))
    root = leaf.lake.folder()
    served = current(root)
    if served is not None and served.date > leaf.key.date:
        _superseded(leaf, candidate, f"release {served.number} of {served.date} is newer")
        return
    verdict = _verdict(leaf, candidate)
    stale = stale_ancestors(leaf.store, leaf.topology, candidate.merged, plan=leaf.plan, tolerate=settings.tolerate)
    if stale:
        raise GateRefused(_refusal(leaf, [str(one) for one in stale]))
    try:
        manifest = publish_release(
            root,
            draft_of(candidate, created_at=datetime.now(UTC)),
            verdict=verdict,
            waiver=None,
            expected_inputs=candidate.inputs(),
            signer=signer,
        )
    except OlderDay as refused:  # a newer day was published while these indexes were written
        _superseded(leaf, candidate, str(refused))
        return
    leaf.books.measure("generation", manifest.number)
    leaf.books.keep(sorted(candidate.entries))


def _superseded(leaf: LeafContext, candidate: Candidate, why: str) -> None:
    leaf.books.drop("superseded", sorted(candidate.entries))
    _log.warning("%s: not published: %s", leaf.key, why)


def _refusal(leaf: LeafContext, stale: list[str]) -> str:
    more = [f"and {len(stale) - SHOWN} more"] if len(stale) > SHOWN else []
    return (
        f"{leaf.key}: has stale ancestors: {'; '.join([*stale[:SHOWN], *more])}. Rebuild them as "
        "`funnelgate plan stale` says, set tasks.release.settings.tolerate in pipeline.yaml for a change that does "
        "not matter, or answer for this release with `funnelgate release publish` and a waiver"
    )


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
