"""Tables of a comparison, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase

from rich.console import RenderableType
from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

from evaluation.compare import Comparison, Flips, PairTest
from evaluation.comparing.plot import p_text
from evaluation.run_report import Estimate

_SLICES = 10
_FLIPS = 5


def comparison_lines(found: Comparison) -> Iterator[RenderableType]:
    """Yield a comparison: the systems, every metric, the tests, the slices and questions that differ most."""
    letters = {side.name: _letter(place) for place, side in enumerate(found.systems)}
    domains = f": {escape(found.domains[0])} -> {escape(found.domains[1])}" if found.domains[0] else ""
    yield f"[bold]{escape(found.about)}[/]{domains}"
    products = f" about {found.clusters:,} products" if found.clusters < found.questions else ""
    yield f"{found.questions:,} questions{products}; intervals {100 * found.confidence:g} %"
    for side in found.systems:
        odd = "".join(f", {count:,} {escape(what)}" for what, count in side.notes.items())
        speed = side.latency
        took = (
            "" if speed is None else f", p50 {1000 * speed.p50_seconds:.1f} ms, p99 {1000 * speed.p99_seconds:.1f} ms"
        )
        yield f"[bold]{letters[side.name]}[/] {escape(side.name)}: {side.answered:,} answered{odd}{took}"
    yield _metrics(found, letters)
    yield _tests(found.pairs, letters, sliced=False)
    yield f"p of tossed signs over products; Holm: corrected for all {found.pairs[0].family} tests of the table."
    if any(one.p_mcnemar is not None for one in found.pairs):
        yield "McNemar's p takes questions for independent."
    if slices := [one for one in found.slices if one.won or one.lost]:
        yield f"Slices that differ most in {escape(found.headline)}, of {found.slices[0].family} tests:"
        yield _tests(slices[:_SLICES], letters, sliced=True)
    for flips in found.flips:
        yield from _flipped(flips, letters, found.headline)


def _letter(place: int) -> str:
    """Return A, B, ... Z, A2, B2, ..."""
    turn, at = divmod(place, len(ascii_uppercase))
    return ascii_uppercase[at] + (str(turn + 1) if turn else "")


def _metrics(found: Comparison, letters: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    for side in found.systems:
        table.add_column(letters[side.name], justify="right")
    for metric in dict.fromkeys(name for side in found.systems for name in side.metrics):
        cells = [_cell(side.metrics.get(metric)) for side in found.systems]
        name = escape(metric)
        table.add_row(f"[bold]{name}[/]" if metric in found.tested else name, *cells)
    return table


def _cell(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _tests(tests: Sequence[PairTest], letters: Mapping[str, str], *, sliced: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("slice" if sliced else "metric", overflow="fold")
    table.add_column("pair", no_wrap=True)
    for heading in (*(["n"] if sliced else []), "pp", "interval", "won:lost", "p", "Holm", "McNemar"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in tests:
        table.add_row(
            escape(one.slice if sliced else one.metric),
            f"{letters[one.first]} - {letters[one.second]}",
            *([f"{one.n:,}"] if sliced else []),
            f"{100 * one.value:+.2f}",
            f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
            f"{one.won:,}:{one.lost:,}",
            p_text(one.p_value),
            f"[bold]{p_text(one.p_holm)}[/]" if one.p_holm <= 0.05 else p_text(one.p_holm),
            "-" if one.p_mcnemar is None else p_text(one.p_mcnemar),
        )
    return table


def _flipped(flips: Flips, letters: Mapping[str, str], headline: str) -> Iterator[str]:
    first, second = letters[flips.first], letters[flips.second]
    yield f"{escape(headline)}: {first} is better on {flips.won:,} questions, {second} on {flips.lost:,}"
    for better, wanted in ((first, True), (second, False)):
        named = [flip.question for flip in flips.shown if (flip.values[0] > flip.values[1]) is wanted]
        if named:
            more = (flips.won if wanted else flips.lost) - _FLIPS
            rest = f" and {more:,} more" if more > 0 else ""
            yield f"  better in {better}: {escape(', '.join(named[:_FLIPS]))}{rest}"
