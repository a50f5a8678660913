"""`funnelgate gate`: may this candidate be released? PASS 0, FAIL 1, INCONCLUSIVE 3."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from datetime import date as Date
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, UsageError

if TYPE_CHECKING:
    from evaluation.evalset import EvalSet
    from evaluation.gate_spec import GateSpec
    from evaluation.measured import Measured
    from evaluation.system import System
    from evaluation.verdict import GateVerdict

SetOption = Annotated[Path, typer.Option("--set", help="Folder of the evaluation set (NAME@SHA12).")]
ConfigOption = Annotated[
    str, typer.Option("--config", help="gate.yaml; or `default` (an index), `answers` (run files).")
]
SeveralHelp = "a run file (.parquet, .trec, .run, .txt, gzipped too), a folder, or a searcher as for --searcher"
SearcherOption = Annotated[
    str | None,
    typer.Option("--searcher", help="Instead of --candidate: `index`, `index:7`, `http://host/search`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

LATENCY_QUERIES = 50
"""Of one run; a rule takes the median of five."""

_EXIT = {"PASS": EXIT_OK, "FAIL": EXIT_FAILED, "INCONCLUSIVE": EXIT_INCONCLUSIVE}


class OnInconclusive(StrEnum):
    """What INCONCLUSIVE does on the slices that the gate file declares."""

    BLOCK = "block"
    WARN = "warn"


def add_to(app: typer.Typer) -> None:
    """Mount the command on the root's app."""
    app.command("gate")(gate)


def gate(
    context: typer.Context,
    set_: SetOption,
    candidate: Annotated[str | None, typer.Option("--candidate", help=f"What is judged: {SeveralHelp}.")] = None,
    searcher: SearcherOption = None,
    release: Annotated[str | None, typer.Option("--release", help="The current release, likewise.")] = None,
    champion: Annotated[str | None, typer.Option("--champion", help="The pinned champion, likewise.")] = None,
    config: ConfigOption = "default",
    out: Annotated[Path, typer.Option("--out", help="Folder for the five outputs.")] = Path("gate-verdict"),
    as_of: Annotated[str | None, typer.Option("--as-of", help="Day for waivers, YYYY-MM-DD; default today.")] = None,
    inconclusive: Annotated[
        OnInconclusive, typer.Option("--inconclusive", help="`warn`: only warn on the slices that the file declares.")
    ] = OnInconclusive.BLOCK,
    as_json: JsonOption = False,
) -> int:
    """Judge a candidate against the release and the champion, by rules that were agreed before.

    Without --release and --champion it is a first release: floors and invariants decide. On every verdict five files
    are written: verdict.json, junit.xml, summary.md, report.html, per_query.parquet. Exit code 0 PASS, 1 FAIL,
    3 INCONCLUSIVE.

    Example: `funnelgate gate --set SET --candidate new.run --release old.run --config gate.yaml --out verdict`
    """
    from evaluation.gate import judge
    from evaluation.gate_file import gate_path, gate_sha256, read_gate
    from evaluation.outputs import write_outputs
    from evaluation.set_files import load_set

    path, chosen, day = gate_path(config), one_of(candidate, searcher), _day(as_of)
    spec, evalset = read_gate(path), load_set(set_)
    judged = measured(context, chosen, evalset, spec)
    old, best = (None if name is None else measured(context, name, evalset, spec) for name in (release, champion))
    verdict = judge(
        spec,
        evalset,
        judged,
        release=old,
        champion=best,
        as_of=day,
        tool=tool(),
        config_sha256=gate_sha256(path),
        warn_inconclusive=inconclusive is OnInconclusive.WARN,
    )
    written = write_outputs(verdict, evalset, judged, release=old, champion=best, folder=out)
    _show(verdict, written, as_json=as_json)
    return _EXIT[verdict.verdict]


def one_of(run: str | None, searcher: str | None, option: str = "--candidate") -> str:
    """Return the one system that is named.

    Raises:
        UsageError: None is, or two are.
    """
    if (run is None) == (searcher is None):
        raise UsageError(f"name what is judged: either {option} RUN or --searcher SEARCHER")
    return run or searcher or ""


def opened(context: typer.Context, name: str, evalset: EvalSet, spec: GateSpec) -> System:
    """Ask a run file, a folder or a searcher for its answers to a set; time is only taken where a rule asks."""
    from evaluation.searchers import open_system

    timed = any(rule.metric.startswith("latency_") for rule in spec.rules)
    index = getattr(context.obj, "opened", None)
    return open_system(name, evalset, opened=index, latency_queries=LATENCY_QUERIES if timed else 0)


def measured(context: typer.Context, name: str, evalset: EvalSet, spec: GateSpec) -> Measured:
    """Open a system and measure it at every cut that a rule names."""
    from evaluation.measure import measure

    ks = tuple(sorted({1, 5, 10, *spec.ks}))
    return measure(opened(context, name, evalset, spec), evalset, ks=ks, day=evalset.gallery.as_of)


def tool() -> str:
    """Return what judged, as a verdict names it: `funnelgate VERSION`."""
    return f"funnelgate {version('funnelgate')}"


def _day(text: str | None) -> Date:
    from reporting.days import parse_day

    return datetime.now(UTC).date() if text is None else parse_day(text)


def _show(verdict: GateVerdict, written: tuple[Path, ...], *, as_json: bool) -> None:
    from rich.console import Console

    from evaluation.gate_render import reason_lines, rules_table, verdict_lines

    if as_json:
        typer.echo(json.dumps(verdict.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False))
        return
    console = Console(soft_wrap=True, highlight=False)
    for line in verdict_lines(verdict):
        console.print(line)
    console.print(rules_table(verdict.rules))
    for line in reason_lines(verdict.rules):
        console.print(line)
    typer.echo("written: " + ", ".join(str(path) for path in written))
