"""`funnelgate evaluate compare|compare-boxes`: systems, or files of competitors, side by side on the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.cuts import DEFAULT, read_cuts
from reporting.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from evaluation.compare import Comparison
    from evaluation.comparing.columns import Columns

SystemsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="A B [C...]",
        help="With --set: run files, saved folders, http://..., `index:RELEASE`. With --qrels: TREC runs.",
    ),
]
SetOption = Annotated[
    Path | None, typer.Option("--set", metavar="SET", help="Folder of an evaluation set, NAME@SHA12.")
]
QrelsOption = Annotated[Path | None, typer.Option("--qrels", help="TREC judgements, gzipped or not.")]
CutsOption = Annotated[str | None, typer.Option("--k", help="With --set: cuts of the metrics, default 1,5,10.")]
MeasuresOption = Annotated[
    str | None,
    typer.Option(
        "--measures",
        help="What is tested, with commas, the first being the headline. With --set default hit@K,recall@K,mrr,"
        "map_at_r,ndcg@K,answer_rate at the greatest cut; with --qrels map,ndcg_cut_10,recip_rank,P_10,recall_100,"
        "success_10.",
    ),
]
LevelOption = Annotated[
    int | None, typer.Option("--level", min=1, help="With --qrels: grade from which a document is relevant, default 1.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for comparison.json, report.html and per_query.parquet.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Mount the commands on the group `evaluate`."""
    app.command("compare")(compare_systems)
    app.command("compare-boxes")(compare_detectors)


def compare_systems(
    context: typer.Context,
    systems: SystemsArgument,
    evalset: SetOption = None,
    qrels: QrelsOption = None,
    cuts: CutsOption = None,
    measures: MeasuresOption = None,
    level: LevelOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put systems side by side on the same queries: intervals, paired tests, slices and queries that differ.

    An unanswered query counts as 0. Differences are the first's less the second's; p values are corrected for their
    number (Holm). This decides nothing: whether one may replace another is asked of `funnelgate gate`.

    Example: `funnelgate evaluate compare new.parquet old.parquet --set sets/shoes@3f9c2a71b0de --out compared`

    Example: `funnelgate evaluate compare a.run.gz b.run.gz --qrels qrels.txt --measures map,P_10`
    """
    from evaluation.compare import compare

    if (evalset is None) == (qrels is None):
        raise UsageError("give either --set (an evaluation set) or --qrels (TREC judgements)")
    if len(systems) < 2:
        raise UsageError(f"{systems[0]} alone: name two systems or more to compare")
    tested = None if measures is None else [name.strip() for name in measures.split(",") if name.strip()]
    if evalset is not None:
        if level is not None:
            raise UsageError("--level is for TREC judgements; an evaluation set has its own grades")
        columns = _columns_of_set(context, evalset, systems, cuts or DEFAULT, tested)
    else:
        assert qrels is not None
        if cuts is not None:
            raise UsageError("--k is for evaluation sets; with --qrels a measure has its cut in its name: P_10")
        columns = _columns_of_trec(qrels, systems, tested, level or 1)
    found = compare(columns)
    _show(found, found, columns, out, as_json=as_json)


def compare_detectors(
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH", help='JSON lines: {"image_id", "main_box": [x0, y0, x1, y1], "category", "cluster"?}.'
        ),
    ],
    detectors: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B [C...]",
            help='JSON lines: {"image_id", "top1_box": [x0, y0, x1, y1] or null, "category", "score", "seconds"?}.',
        ),
    ],
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put detectors side by side: whether they hit the main object (IoU >= .5) and name its category.

    Files may come from anywhere: versions of your own, open detectors, what somebody collected from a competitor. A
    picture that a file does not answer is a miss, and counted.

    Example: `funnelgate evaluate compare-boxes truth.jsonl ours.jsonl theirs.jsonl --out compared`
    """
    from evaluation.comparing.box_files import read_detector, read_truth
    from evaluation.comparing.boxes import columns_of_boxes, compare_boxes

    if len(detectors) < 2:
        raise UsageError(f"{detectors[0]} alone: name the files of two detectors or more to compare")
    true, found = read_truth(truth), [read_detector(path) for path in detectors]
    given = [str(path) for path in detectors]
    compared = compare_boxes(true, found, given)
    _show(compared, compared.comparison, columns_of_boxes(true, found, given), out, as_json=as_json)


def _columns_of_set(
    context: typer.Context, folder: Path, systems: list[str], cuts: str, tested: list[str] | None
) -> Columns:
    from evaluation.comparing.of_set import columns_of_set
    from evaluation.measure import measure
    from evaluation.searchers import open_system
    from evaluation.set_files import load_set

    evalset, ks = load_set(folder), read_cuts(cuts)
    opened = getattr(context.obj, "opened", None)
    measured = [measure(open_system(name, evalset, opened=opened), evalset, ks=ks) for name in systems]
    return columns_of_set(evalset, measured, systems, tested=tested)


def _columns_of_trec(qrels: Path, runs: list[str], measures: list[str] | None, level: int) -> Columns:
    from evaluation.comparing.of_trec import MEASURES, columns_of_trec

    return columns_of_trec(qrels, [Path(run) for run in runs], measures=measures or MEASURES, level=level)


def _show(document: BaseModel, found: Comparison, columns: Columns, out: Path | None, *, as_json: bool) -> None:
    from evaluation.comparing.files import canonical_json, write_comparison

    written = () if out is None else write_comparison(document, found, columns, out)
    if as_json:
        typer.echo(canonical_json(document), nl=False)
        return
    from rich.console import Console

    from evaluation.comparing.render import comparison_lines

    console = Console(soft_wrap=True, highlight=False)
    for line in comparison_lines(found):
        console.print(line)
    for path in written:
        typer.echo(path)
