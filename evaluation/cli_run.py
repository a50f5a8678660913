"""`funnelgate evaluate run`: TREC files measured as trec_eval does, or any system measured on an evaluation set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.cuts import DEFAULT, read_cuts
from reporting.errors import UsageError

if TYPE_CHECKING:
    from evaluation.trec.evaluate import Evaluation

QrelsOption = Annotated[Path | None, typer.Option("--qrels", help="TREC judgements, gzipped or not.")]
RunOption = Annotated[Path | None, typer.Option("--run", help="TREC results, gzipped or not.")]
MeasuresOption = Annotated[
    str | None,
    typer.Option(
        "--measures",
        help="Of the TREC files: trec_eval's names, with commas (map,ndcg_cut_10); `official` (the default), `set` and "
        "`all_trec` stand for several.",
    ),
]
PerQueryOption = Annotated[bool, typer.Option("--per-query", help="Give each query's values too (trec_eval -q).")]
CompleteOption = Annotated[
    bool, typer.Option("--complete", help="Average over every query of the qrels, unanswered as 0 (trec_eval -c).")
]
LevelOption = Annotated[
    int | None,
    typer.Option("--level", min=1, help="Grade from which a document is relevant, default 1 (trec_eval -l)."),
]
MaxOption = Annotated[
    int | None, typer.Option("--max-results", min=1, help="Look at this many results a query (trec_eval -M).")
]
SetOption = Annotated[
    Path | None, typer.Option("--set", metavar="SET", help="Folder of an evaluation set, NAME@SHA12.")
]
SearcherOption = Annotated[
    str | None,
    typer.Option(
        "--searcher",
        help="What to ask: a run file, a saved folder, http://..., `index` or `index:RELEASE`.",
    ),
]
CutsOption = Annotated[str | None, typer.Option("--k", help="Cuts of the metrics, default 1,5,10.")]
SaveOption = Annotated[
    Path | None, typer.Option("--save", metavar="RUN_FOLDER", help="Keep the answers, for gate, compare and explain.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Mount the command on the group `evaluate`."""
    app.command("run")(run)


def run(
    context: typer.Context,
    qrels: QrelsOption = None,
    run_file: RunOption = None,
    measures: MeasuresOption = None,
    per_query: PerQueryOption = False,
    complete: CompleteOption = False,
    level: LevelOption = None,
    max_results: MaxOption = None,
    evalset: SetOption = None,
    searcher: SearcherOption = None,
    cuts: CutsOption = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a run file against TREC judgements, as trec_eval does, or a system on an evaluation set.

    On a set the metrics are this product's own (hit@k, recall@k, ...), with intervals and by slice.

    Example: `funnelgate evaluate run --qrels qrels.txt --run run.txt.gz --measures map,ndcg_cut_10,recall_100`

    Example: `funnelgate evaluate run --set sets/shoes@3f9c2a71b0de --searcher run.parquet --k 1,10`
    """
    of_trec = {
        "--qrels": qrels, "--run": run_file, "--measures": measures, "--per-query": per_query or None,
        "--complete": complete or None, "--level": level, "--max-results": max_results,
    }  # fmt: skip
    of_set = {"--set": evalset, "--searcher": searcher, "--k": cuts, "--save": save}
    trec, own = ([name for name, value in given.items() if value is not None] for given in (of_trec, of_set))
    if trec and own:
        raise UsageError(f"{trec[0]} is for TREC files and {own[0]} for an evaluation set; give those of one")
    if evalset is not None and searcher is not None:
        _run_on_set(context, evalset, searcher, read_cuts(cuts or DEFAULT), save, as_json=as_json)
    elif qrels is not None and run_file is not None:
        _run_on_trec(
            qrels, run_file, measures or "official", per_query=per_query, complete=complete, level=level or 1,
            max_results=max_results, as_json=as_json,
        )  # fmt: skip
    else:
        raise UsageError("give --qrels and --run (TREC files), or --set and --searcher (an evaluation set)")


def _run_on_trec(
    qrels: Path,
    run_file: Path,
    measures: str,
    *,
    per_query: bool,
    complete: bool,
    level: int,
    max_results: int | None,
    as_json: bool,
) -> None:
    from evaluation.trec.evaluate import evaluate_run, trec_eval_text
    from evaluation.trec.files import read_qrels, read_run
    from evaluation.trec.table import asked_for

    asked = asked_for(measures.split(","))
    judged, results = read_qrels(qrels), read_run(run_file)
    found = evaluate_run(judged, results, asked, complete=complete, level=level, max_results=max_results)
    if as_json:
        document = {
            "queries": found.queries,
            "measures": found.measures,
            **({"per_query": found.per_query} if per_query else {}),
            "unanswered": found.unanswered,
            "unjudged": found.unjudged,
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(trec_eval_text(found, per_query=per_query), nl=False)
    for note in _notes(found, complete=complete):
        typer.echo(note, err=True)


def _notes(found: Evaluation, *, complete: bool) -> list[str]:
    """Say which queries only one of the files names, and what became of them."""
    notes = []
    if found.unanswered:
        fate = "they count as 0" if complete else "they are left out; --complete counts them as 0"
        notes.append(f"{len(found.unanswered):,} queries of the qrels are not in the run: {fate}")
    if found.unjudged:
        notes.append(f"{len(found.unjudged):,} queries of the run are not in the qrels: they are left out")
    return notes


def _run_on_set(
    context: typer.Context, folder: Path, searcher: str, ks: tuple[int, ...], save: Path | None, *, as_json: bool
) -> None:
    from evaluation.measure import measure
    from evaluation.run_report import report_run
    from evaluation.searchers import open_system
    from evaluation.searchers.run_folder import write_system
    from evaluation.set_files import load_set

    evalset = load_set(folder)
    if save is not None and save.exists():  # found out now, not after an hour of asking
        raise UsageError(f"--save {save}: is there already, and a saved run is never overwritten; name a new folder")
    system = open_system(searcher, evalset, opened=getattr(context.obj, "opened", None))
    if save is not None:
        write_system(system, save, set_id=evalset.set_id)  # before measuring can fail: the answers are dear
    measured = measure(system, evalset, ks=ks)
    report = report_run(system, measured, (evalset.gallery.query_domain, evalset.gallery.gallery_domain))
    if as_json:
        typer.echo(json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from evaluation.run_render import run_lines

    console = Console(soft_wrap=True, highlight=False)
    for line in run_lines(report, [f"{name}@{max(ks)}" for name in ("hit", "recall")]):
        console.print(line)
