"""Which queries changed between a baseline and the candidate, and why the candidate lost those that it lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.case import values_of
from evaluation.evalset import EvalSet
from evaluation.measured import Measured
from evaluation.why_lost import Loss, LossReader, Why


@dataclass(frozen=True, slots=True)
class Flip:
    """A query whose value differs from the baseline's (without a baseline: that finds nothing).

    Attributes:
        row: In the set.
        hit: hit@k of (baseline, candidate); the baseline's is None without one.
        recall: recall@k likewise, None where it was not measured.
        loss: Why the candidate has nothing among its first k; None: it has.
    """

    row: int
    hit: tuple[float | None, float]
    recall: tuple[float | None, float] | None
    loss: Loss | None

    @property
    def lost(self) -> tuple[float, float]:
        """Return how much of hit@k and recall@k was lost; what was gained is negative."""
        hit, recall = _drop(self.hit), 0.0 if self.recall is None else _drop(self.recall)
        return hit, recall

    @property
    def is_hit_flip(self) -> bool:
        """Say whether hit@k itself differs, and not only recall@k."""
        return self.lost[0] != 0


def _drop(pair: tuple[float | None, float]) -> float:
    before, now = pair
    return 1.0 - now if before is None else before - now


@dataclass(frozen=True, slots=True)
class Flips:
    """All changes against one baseline.

    Attributes:
        lost: Those that lost, the greatest loss first: hit@k, then recall@k, then by category, then in the set's order.
        gained: Those that gained, the greatest gain first.
        reasons: Why -> (queries that the baseline found and the candidate does not, all that the candidate does not).
        missed: Queries that the candidate does not find.
    """

    lost: tuple[Flip, ...]
    gained: tuple[Flip, ...]
    reasons: Mapping[Why, tuple[int, int]]
    missed: int


def flips_of(evalset: EvalSet, candidate: Measured, baseline: Measured | None, reader: LossReader, *, k: int) -> Flips:
    """Find what changed.

    Args:
        evalset: The set.
        candidate: What is judged.
        baseline: What it is compared with; None (a first release): every query that finds nothing is a loss.
        reader: Of the candidate's losses at k.
        k: The cut.
    """
    hit, recall = values_of(candidate, f"hit@{k}"), values_of(candidate, f"recall@{k}")
    assert hit is not None, "the cut is one that was measured"
    hit_before, recall_before = (
        (None, None) if baseline is None else (values_of(baseline, f"hit@{k}"), values_of(baseline, f"recall@{k}"))
    )
    losses = {int(row): loss for row in np.flatnonzero(hit == 0) if (loss := reader.of(int(row))) is not None}
    rows = range(len(hit)) if hit_before is not None else sorted(losses)
    found = []
    for row in rows:
        before = None if recall_before is None else float(recall_before[row])
        flip = Flip(
            row,
            (None if hit_before is None else float(hit_before[row]), float(hit[row])),
            None if recall is None or (hit_before is not None and before is None) else (before, float(recall[row])),
            losses.get(row),
        )
        if any(flip.lost):
            found.append(flip)
    category = [query.category for query in evalset.queries]
    found.sort(key=lambda flip: (*(-round(one, 12) for one in flip.lost), category[flip.row], flip.row))
    lost = tuple(flip for flip in found if max(flip.lost) > 0 and flip.lost[0] >= 0)
    gained = tuple(flip for flip in reversed(found) if not (max(flip.lost) > 0 and flip.lost[0] >= 0))
    return Flips(lost, gained, _reasons(losses, hit_before), len(losses))


def _reasons(losses: Mapping[int, Loss], before: NDArray[np.float64] | None) -> Mapping[Why, tuple[int, int]]:
    everywhere = Counter(loss.why for loss in losses.values())
    newly = Counter(loss.why for row, loss in losses.items() if before is not None and before[row] > 0)
    return {why: (newly[why], everywhere[why]) for why in Why if everywhere[why]}
