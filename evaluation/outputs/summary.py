"""summary.md: the verdict for a pull request, in at most 60 lines: verdict first, failing rules, lost slices."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from evaluation.outputs.comparison import regressions
from evaluation.verdict import GateVerdict, RuleResult

if TYPE_CHECKING:
    from evaluation.outputs.folder import Evidence

MOST_LINES: Final = 60
_RULES, _SLICES, _WAIVERS, _POWER = 12, 8, 4, 3
ORDER: Final = ("error", "fail", "inconclusive", "waived", "pass", "not_applicable")
"""Statuses, what blocks first."""


def summary_text(evidence: Evidence) -> str:
    """Return the verdict as Markdown of at most `MOST_LINES` lines, whatever the number of rules and slices."""
    verdict = evidence.verdict
    lines = [f"## {verdict.verdict}: {_cell(verdict.reason)}", "", _about(verdict), "", _counted(verdict)]
    lines += _rules(verdict)
    lines += _regressions(evidence)
    lines += _lost(evidence)
    lines += _notes(verdict)
    lines += ["", f"Judged as of {verdict.as_of} by {_cell(verdict.tool)}. To repeat it:", "", "```"]
    lines += [reproduce_command(verdict), "```"]
    assert len(lines) <= MOST_LINES, "each part is bounded"
    return "\n".join([*lines, ""])


def reproduce_command(verdict: GateVerdict) -> str:
    """Return the command that judges the same again; files go by the names that the verdict knows them by."""
    words = ["funnelgate", "gate", "--set", verdict.set_id, "--candidate", verdict.candidate]
    for role, name in verdict.baselines.items():
        words += [f"--{role}", name]
    words += ["--config", "gate.yaml", "--as-of", verdict.as_of.isoformat()]
    words += ["--inconclusive", "warn"] if any(rule.warns for rule in verdict.rules) else []
    return " ".join(shlex.quote(" ".join(word.split())) for word in words)


def blocking_first(rules: Sequence[RuleResult]) -> list[RuleResult]:
    """Return results by status, what blocks first, else as they were."""
    return sorted(rules, key=lambda one: (ORDER.index(one.status), one.warns))


def figure(value: float | None) -> str:
    """Return a figure of a rule for people."""
    return "–" if value is None else f"{value:.4g}"


def _about(verdict: GateVerdict) -> str:
    against = " and ".join(f"{role}: {_cell(name)}" for role, name in verdict.baselines.items())
    return (
        f"**{_cell(verdict.candidate)}** against {against or 'nothing: a first release'}, on {_cell(verdict.set_id)}"
        f" ({_cell(verdict.domains[0])} → {_cell(verdict.domains[1])})."
    )


def _counted(verdict: GateVerdict) -> str:
    counts = verdict.counts
    parts = [f"{counts.get('queries', 0):,.0f} queries"]
    parts += [
        f"{counts[name]:,.0f} {words}"
        for name, words in (
            ("unanswered", "not answered"),
            ("unfindable", "whose product the catalogue has no live picture of"),
            ("duplicates", "repeated hits collapsed"),
            ("orphans", "hits unknown to the catalogue"),
            ("tied@10", "with a tie at 10 that matters"),
            ("short_list@10", "with fewer than 10 products"),
        )
        if counts.get(name)
    ]
    return f"{', '.join(parts)}."


def _rules(verdict: GateVerdict) -> Iterator[str]:
    listed = [rule for rule in blocking_first(verdict.rules) if rule.status not in ("pass", "not_applicable")]
    passed = sum(rule.status == "pass" for rule in verdict.rules)
    idle = sum(rule.status == "not_applicable" for rule in verdict.rules)
    yield ""
    if listed:
        yield from (
            "| status | rule | slice | vs | value | interval | limit | n |",
            "|---|---|---|---|--:|---|--:|--:|",
        )
        yield from (_rule_row(rule) for rule in listed[:_RULES])
        yield ""
    more = len(listed) - _RULES
    yield (
        f"{passed} results pass, {idle} do not apply"
        + (f", {more} more like those above: see report.html" if more > 0 else "")
        + "."
    )


def _rule_row(rule: RuleResult) -> str:
    interval = "" if rule.interval is None else f"{rule.interval[0]:.4f} to {rule.interval[1]:.4f}"
    status = "only warns" if rule.warns else rule.status
    cells = [status, _cell(rule.id), _cell(rule.slice), rule.vs or "", figure(rule.value), interval]
    return f"| {' | '.join([*cells, f'{rule.limit:g}', '' if rule.n is None else f'{rule.n:,}'])} |"


def _regressions(evidence: Evidence) -> Iterator[str]:
    rows = regressions([row for rows in evidence.slices.values() for row in rows], _SLICES)
    if not rows:
        return
    yield from ("", "Slices that lost most:", "", "| slice | metric | candidate | against | interval | n |")
    yield "|---|---|--:|---|---|--:|"
    for row in rows:
        role, worst = min(row.differences.items(), key=lambda item: item[1].value)
        yield (
            f"| {_cell(row.slice)} | {row.metric} | {row.systems['candidate'].value:.4f}"
            f" | {100 * worst.value:+.2f} pp {role} | {100 * worst.low:+.2f} to {100 * worst.high:+.2f} pp"
            f" | {worst.n:,} |"
        )


def _lost(evidence: Evidence) -> Iterator[str]:
    flips, k = evidence.flips, evidence.k
    if not flips.missed:
        return
    newly = sum(count for count, _ in flips.reasons.values())
    why = ", ".join(
        f"{why.replace('_', ' ')} {f'{new} of ' if evidence.main else ''}{count}"
        for why, (new, count) in flips.reasons.items()
    )
    since = f", {newly} of them found by the {evidence.main}" if evidence.main else ""
    yield ""
    yield f"{flips.missed:,} queries find nothing among their first {k}{since}: {why}."


def _notes(verdict: GateVerdict) -> Iterator[str]:
    waived = [rule for rule in verdict.rules if rule.waiver is not None]
    yield from [""] if waived or verdict.waivers_expired else []
    for rule in waived[:_WAIVERS]:
        assert rule.waiver is not None
        yield (
            f"- waived: {_cell(rule.id)} on {_cell(rule.slice)}, until {rule.waiver.expires}, by"
            f" {_cell(rule.waiver.approver)}: {_cell(rule.waiver.reason)}"
        )
    if len(waived) > _WAIVERS:
        yield f"- {len(waived) - _WAIVERS} more are waived: see report.html"
    for one in verdict.waivers_expired[:_WAIVERS]:
        yield f"- a waiver of {_cell(one.rule)} has expired on {one.expires}"
    short = [note for note in verdict.power if note.carries == "no"]
    if short:
        yield ""
        names = ", ".join(dict.fromkeys(_cell(note.id) for note in short[:_POWER]))
        yield f"The set has too few queries for {len(short)} results, whatever the system answers: {names}."


def _cell(text: str) -> str:
    """Return text that stays in its cell and is no markup: names come from data."""
    flat = " ".join(text.split())
    flat = flat if len(flat) <= 300 else f"{flat[:299]}…"
    marked = re.sub(r"([\\`*_\[\]|#~@])", r"\\\1", flat)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
