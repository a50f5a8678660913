"""Rich tables of a verdict, of what a set can carry and of a mutation suite, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

if TYPE_CHECKING:
    from evaluation.mutation_suite import Suite
    from evaluation.verdict import GateVerdict, PowerNote, RuleResult

_COLOURS = {
    "PASS": "green bold",
    "FAIL": "red bold",
    "INCONCLUSIVE": "yellow bold",
    "pass": "green",
    "fail": "red bold",
    "error": "red bold",
    "inconclusive": "yellow",
    "waived": "magenta",
    "not_applicable": "dim",
    "killed": "green",
    "missed": "red bold",
    "blocked": "yellow",
    "not put in": "dim",
    "no": "red bold",
    "weak": "yellow",
    "yes": "green",
}
_ORDER = ("error", "fail", "inconclusive", "waived", "pass", "not_applicable")


def coloured(word: str) -> str:
    """Return a verdict, status or outcome with its colour as markup."""
    return f"[{_COLOURS.get(word, 'default')}]{escape(word)}[/]"


def verdict_lines(verdict: GateVerdict) -> list[str]:
    """Return what stands above the table: the verdict first, then what was judged against what."""
    against = ", ".join(f"{role} {name}" for role, name in verdict.baselines.items()) or "nothing: a first release"
    lines = [
        f"{coloured(verdict.verdict)}  {escape(verdict.reason)}",
        escape(f"{verdict.candidate} against {against}, on {verdict.set_id}"),
    ]
    counts = verdict.counts
    if counts["unanswered"]:
        lines.append(f"[yellow]{counts['unanswered']:.0f} of {counts['queries']:.0f} queries were not answered[/]")
    lines += [
        f"[yellow]waiver of {escape(one.rule)} has expired on {one.expires}[/]" for one in verdict.waivers_expired
    ]
    short = [note for note in verdict.power if note.carries == "no"]
    if short:
        names = ", ".join(dict.fromkeys(note.id for note in short))
        lines.append(f"[dim]the set has too few queries for: {escape(names)}[/]")
    return lines


def rules_table(rules: Iterable[RuleResult]) -> Table:
    """Return one line a rule, slice and baseline, what blocks first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("status", "rule", "slice", "vs"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "interval", "limit", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rule in sorted(rules, key=lambda one: _ORDER.index(one.status)):
        interval = "" if rule.interval is None else f"{rule.interval[0]:.4f} .. {rule.interval[1]:.4f}"
        table.add_row(
            coloured(rule.status),
            escape(rule.id),
            escape(rule.slice),
            rule.vs or "",
            "-" if rule.value is None else f"{rule.value:.4g}",
            interval,
            f"{rule.limit:g}",
            "" if rule.n is None else f"{rule.n:,}",
        )
    return table


def reason_lines(rules: Iterable[RuleResult]) -> list[str]:
    """Return one line for each result that is no pass and applies."""
    shown = [rule for rule in rules if rule.status not in ("pass", "not_applicable")]
    ordered = sorted(shown, key=lambda one: _ORDER.index(one.status))
    return [f"{coloured(rule.status)}  {escape(rule.id)}: {escape(rule.reason)}" for rule in ordered]


def power_table(notes: Sequence[PowerNote]) -> Table:
    """Return what the number of queries can carry, one line a rule and slice."""
    table = Table(box=None, pad_edge=False)
    for heading in ("carries", "rule", "metric", "slice"):
        table.add_column(heading, overflow="fold")
    for heading in ("n", "at least", "for power 0.9"):
        table.add_column(heading, justify="right", no_wrap=True)
    for note in notes:
        needed = "" if note.needed is None else f"{note.needed:,}"
        names = (escape(name) for name in (note.id, note.metric, note.slice))
        table.add_row(coloured(note.carries), *names, f"{note.n:,}", f"{note.least:,}", needed)
    return table


def suite_table(suite: Suite) -> Table:
    """Return one line a fault: what the gate said, and by which rules."""
    table = Table(box=None, pad_edge=False)
    for heading in ("fault", "verdict", "outcome", "rules that fail (must fail in bold)"):
        table.add_column(heading, overflow="fold")
    table.add_row("none (the system against itself)", coloured(suite.control.verdict), "control", "")
    for trial in suite.trials:
        rules = ", ".join(f"[bold]{escape(name)}[/]" if name in trial.named else escape(name) for name in trial.noticed)
        verdict = "-" if trial.verdict is None else coloured(trial.verdict)
        table.add_row(escape(trial.mutation.tells), verdict, coloured(trial.outcome), rules)
    return table
