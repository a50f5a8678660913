"""The gate's history: each metric over time with its interval, and every verdict with its rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from dashboards.page.cards import RuleCard, VerdictCard
from dashboards.page.render import Page
from dashboards.page.trend_plot import HEIGHT, LEFT, RIGHT, WIDTH, trends

if TYPE_CHECKING:
    from dashboards.page.desk import Desk

HISTORY_DAYS: Final = 90
"""Days back to which the page goes."""
MOST_RULES: Final = 60
"""Rules of one verdict that are shown; those that do not pass come first."""
UNFOLDED: Final = 20
"""The newest verdicts, whose rules stand on the page; of older ones only those that do not pass."""
_WORST_FIRST: Final = ("error", "fail", "inconclusive", "waived", "pass", "not_applicable")


class VerdictLine(NamedTuple):
    """One verdict with what is shown of its rules."""

    card: VerdictCard
    counts: Sequence[tuple[str, int]]
    """Status of a rule to how many, the worst first."""
    rules: Sequence[RuleCard]
    left_out: int
    is_failing: bool


def page(desk: Desk) -> Page:
    """Return the page of the gate."""
    verdicts = shown_verdicts(desk)
    newest_first = [_line(one, place < UNFOLDED) for place, one in enumerate(reversed(verdicts))]
    return Page(
        "gate.html",
        "gate.html.j2",
        "The gate",
        {
            "lines": newest_first,
            "outcomes": Counter(one.outcome for one in verdicts),
            "trends": trends(verdicts),
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "days": HISTORY_DAYS,
        },
    )


def shown_verdicts(desk: Desk) -> Sequence[VerdictCard]:
    """Return the verdicts of the days up to the newest shown, oldest first."""
    if desk.span is None:
        return ()
    first = min(desk.span.first, desk.span.last - timedelta(days=HISTORY_DAYS - 1))
    return desk.sources.verdicts(first, desk.span.last)


def _line(card: VerdictCard, is_unfolded: bool) -> VerdictLine:
    ordered = sorted(card.rules, key=_badness)
    counts = Counter(rule.status for rule in ordered)
    shown = [rule for rule in ordered if is_unfolded or rule.status not in ("pass", "not_applicable")][:MOST_RULES]
    return VerdictLine(card, list(counts.items()), shown, len(ordered) - len(shown), card.outcome != "PASS")


def _badness(rule: RuleCard) -> int:
    return _WORST_FIRST.index(rule.status) if rule.status in _WORST_FIRST else 0
