"""Without labels: indexed pictures must find themselves. The floor under every labelled metric, and no more than it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.searchers.index import IndexUnderTest
from evaluation.stats import wilson_interval

SELF_PROBE_FLOOR = 0.99
"""Below it an index is broken (evaluation-index-eviction.md, 4.2)."""

Probe = tuple[str, str, bytes]
"""(sha256, category, bytes) of an indexed picture."""


@dataclass(frozen=True)
class SelfHit:
    """How many indexed pictures find themselves first.

    Attributes:
        asked: sha256 of the pictures.
        unanswered: Those that got no hit at all.
        found: How many found themselves.
    """

    asked: list[str]
    unanswered: list[str]
    found: int

    @property
    def share(self) -> float:
        """Return found / asked; 0 for none asked, which proves nothing."""
        return self.found / len(self.asked) if self.asked else 0.0

    @property
    def holds(self) -> bool:
        """Say whether the index is sound as far as this shows."""
        return self.share >= SELF_PROBE_FLOOR

    @property
    def reason(self) -> str:
        """Return the sentence for the verdict."""
        low, high = wilson_interval(self.found, len(self.asked))
        return (
            f"{self.found} of {len(self.asked)} indexed pictures find themselves first ({self.share:.4f}, 95 % "
            f"{low:.4f} to {high:.4f}), floor {SELF_PROBE_FLOOR}; there is no labelled set, so nothing is said about "
            "other pictures"
        )


def self_hit(index: IndexUnderTest, probes: Sequence[Probe]) -> SelfHit:
    """Ask indexed pictures for themselves, through the whole answering chain, in their own category."""
    asked, unanswered, found = [], [], 0
    for sha256, category, picture in probes:
        answer = index.ask([picture], [category], 1, told=True)[0]
        hits = () if isinstance(answer, str) else answer[0]
        asked.append(sha256)
        if not hits:
            unanswered.append(sha256)
        found += bool(hits) and hits[0][0] == sha256
    return SelfHit(asked, unanswered, found)
