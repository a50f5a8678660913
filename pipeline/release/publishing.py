"""Letting a release out: only with a PASS over exactly what it publishes, or with a waiver that stays with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.release.manifest import NO_VERDICT, OTHER_INPUTS, ReleaseDraft, ReleaseManifest, Waiver
from pipeline.release.objects import inside, require_content
from pipeline.release.pointer import current, publish
from pipeline.release.registry import require_resources
from pipeline.serve.rerankers import require_rerankers
from reporting.errors import ContractViolation, GateRefused
from reporting.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pipeline.release.signing import Signer

STALE = "stale ancestors"
OLDER = "older day"
NONE = "none"
"""Verdict id of a release that was waved through without any."""
_SHOWN = 5


class OlderDay(GateRefused):
    """Nothing stands against a release but that one of a newer day is served already."""


def publish_release(
    root: Path,
    draft: ReleaseDraft,
    *,
    verdict: Verdict | None,
    waiver: Waiver | None,
    expected_inputs: Mapping[str, str],
    stale: Sequence[str] = (),
    signer: Signer | None = None,
) -> ReleaseManifest:
    """Publish a release that the gate let pass, or that a person answers for; every file of it is read back first.

    Args:
        root: Lake root, a local or mounted folder.
        draft: The release; its `verdict_id` and `waiver` are set here.
        verdict: The gate's last word over it; None: it was never judged.
        waiver: Lets it out against what `objections` names; each of those must stand in its `instead_of`. A waiver
            that is not needed is not recorded.
        expected_inputs: Hash of everything that answers a query with this release; a PASS over other inputs is none.
        stale: Ancestors that were built from an older code, model or input than the present one, a line each.
        signer: Signs the pointer; None: it is not signed.

    Raises:
        GateRefused: There is no PASS with these inputs, an ancestor is stale, or what is served is of a newer day
            (`OlderDay` if that is all; looked at again under the publishers' lock), and no waiver names it.
        ConfigError: It is ranked by a re-ranker that nobody wrote.
        ContractViolation: A file of the release, or of a resource that it names, is damaged, or a path leads out of the
            root; a resource is not the version it names.
        StoreError: A file is missing, the disk refused, or what is published cannot be read.
    """
    label = f"the release of plan {draft.planid}, {draft.date},"
    require_rerankers(draft.ranking.rerankers, f"{label} ranking.rerankers")

    def allowed() -> list[str]:
        return require_allowed(
            label,
            verdict=verdict,
            waiver=waiver,
            expected_inputs=expected_inputs,
            stale=stale,
            newer=newer_than(root, draft.date),
        )

    missing = allowed()
    settled = draft.model_copy(
        update={
            "verdict_id": NONE if verdict is None else verdict.verdict_id,
            "waiver": waiver if missing else None,
        }
    )
    for path, sha256 in sorted(settled.files().items()):
        require_content(inside(root, path), sha256)
    require_resources(root, settled.resources, verify=True)

    def check() -> None:
        allowed()  # another publisher may have been faster
        _require_files(root, settled)
        require_resources(root, settled.resources)

    return publish(root, settled, check=check, signer=signer)


def newer_than(root: Path, day: Date) -> str:
    """Say which release of a newer day is served, "" for none: an older day would take its place.

    Raises:
        StoreError: What is published cannot be read.
    """
    served = current(root)
    return "" if served is None or served.date <= day else f"release {served.number} of {served.date}"


def objections(
    verdict: Verdict | None, expected_inputs: Mapping[str, str], stale: Sequence[str] = (), newer: str = ""
) -> list[str]:
    """Return what stands against a release, in the words a waiver must use; none for a PASS over these inputs.

    Example:
        >>> objections(None, {"front": "ab"})
        ['no verdict']
        >>> objections(None, {}, ["embed of 2026-11-01: model changed"])
        ['no verdict', 'stale ancestors']
    """
    found = []
    if verdict is None:
        found.append(NO_VERDICT)
    else:
        if verdict.outcome is not Outcome.PASS:
            found.append(verdict.outcome.value)
        if dict(verdict.inputs) != dict(expected_inputs):
            found.append(OTHER_INPUTS)
    found += [STALE] if stale else []
    return [*found, OLDER] if newer else found


def require_allowed(
    label: str,
    *,
    verdict: Verdict | None,
    waiver: Waiver | None,
    expected_inputs: Mapping[str, str],
    stale: Sequence[str] = (),
    newer: str = "",
) -> list[str]:
    """Return what stands against a release and is waived, none for a clean PASS; arguments as `publish_release`.

    Args:
        label: What is to go out, as the message begins.
        verdict: The gate's last word.
        waiver: Who answers for it, if anybody does.
        expected_inputs: What it must have judged.
        stale: Stale ancestors, a line each.
        newer: The served release of a newer day, see `newer_than`.

    Raises:
        GateRefused: Something stands against it that no waiver names; the message says all of it, and what to do. It
            is an `OlderDay` if that is all.
    """
    missing = objections(verdict, expected_inputs, stale, newer)
    waived = set() if waiver is None else {part.strip() for part in waiver.instead_of.split(",")}
    left = [one for one in missing if one not in waived]
    if not left:
        return missing
    more = [f"and {len(stale) - _SHOWN} more"] if len(stale) > _SHOWN else []
    facts = {
        NO_VERDICT: "no verdict was given over it; run evaluate for this plan",
        OTHER_INPUTS: f"its verdict judged other inputs ({_differing(verdict, expected_inputs)}); evaluate it again",
        OLDER: f"it would take the place of {newer}, a newer day",
        STALE: f"it has stale ancestors ({'; '.join([*stale[:_SHOWN], *more])}); rebuild what `plan stale` names",
    }
    told = [facts.get(one, f"its verdict {verdict and verdict.verdict_id} is {one}, expected PASS") for one in left]
    given = f" (the waiver of {waiver.by} stands in for {waiver.instead_of})" if waiver is not None else ""
    refusal = OlderDay if left == [OLDER] else GateRefused
    raise refusal(
        f"{label} is refused: {'; '.join(told)}{given}. Or answer for it with a waiver instead of: {', '.join(missing)}"
    )


def _differing(verdict: Verdict | None, expected: Mapping[str, str]) -> str:
    judged = {} if verdict is None else verdict.inputs
    names = sorted(name for name in {*judged, *expected} if judged.get(name) != expected.get(name))
    return ", ".join(names)


def _require_files(root: Path, draft: ReleaseDraft) -> None:
    """Make sure, under the publishers' lock, that no sweep took a file between its check and the publication."""
    gone = [path for path in sorted(draft.files()) if not inside(root, path).is_file()]
    if gone:
        raise ContractViolation(
            f"{root}: {', '.join(gone[:_SHOWN])} went away while the release of plan {draft.planid} was published; run"
            " merge and release again"
        )
