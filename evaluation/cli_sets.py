"""`funnelgate evaluate build-set|show-set|crawl-list`: labelled sets, what they can prove, and what they miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date as Date

    from rich.console import RenderableType

    from evaluation.crawl_list import Wanted
    from evaluation.evalset import EvalSet, Gallery
    from evaluation.set_report import SetReport

SetArgument = Annotated[Path, typer.Argument(metavar="SET", help="Folder of the set, NAME@SHA12.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="Folder that the tables' pictures lie under; default each table's own."),
]
SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="Queries: a folder (CATEGORY/GROUP/picture or GROUP/picture), or CSV or Parquet with the columns path or"
        " query_id, group, category.",
    ),
]
NameOption = Annotated[str, typer.Option("--name", help="Name of the set.")]
QueryDomainOption = Annotated[str, typer.Option("--query-domain", help="Where queries come from, in words.")]
GalleryDomainOption = Annotated[
    str, typer.Option("--gallery-domain", help="Where the catalogue's pictures come from, in words.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder that the set's own folder is made in.")]
CatalogOption = Annotated[
    list[Path] | None,
    typer.Option("--catalog", help="Catalogue, CSV or Parquet: path or image_id, group, category; repeatable."),
]
GalleryFromOption = Annotated[
    list[Path] | None,
    typer.Option("--gallery-from", help="Catalogue: a folder laid out as queries, or another set; repeatable."),
]
DistractorsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--distractors",
        help="A folder with same_style/ and noise/ (below: CATEGORY/GROUP/picture or less), or a table as --catalog"
        " with the column role; repeatable.",
    ),
]
NoDistractorsOption = Annotated[
    str, typer.Option("--no-distractors", help="Why the set has none, in 10 letters or more; printed everywhere.")
]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="Labels in a table of their own: query_id, group, grade.")
]
SelfMatchOption = Annotated[
    str, typer.Option("--self-match", help="forbid, or drop: queries may be in the gallery; their own is no hit.")
]
WindowDaysOption = Annotated[int | None, typer.Option("--window-days", min=1, help="Length of the window.")]
AsOfOption = Annotated[str | None, typer.Option("--as-of", help="Day of the catalogue's snapshot, YYYY-MM-DD.")]
MinOption = Annotated[
    list[str] | None,
    typer.Option("--min-n", help="Least queries of a slice, or the set is refused: freq=tail=100, category=*=50."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Write nothing; print what the set would be.")]

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Mount the commands on the group `evaluate`."""
    app.command("build-set")(build)
    app.command("show-set")(show)
    app.command("crawl-list")(crawl)


def build(
    context: typer.Context,
    source: SourceArgument,
    name: NameOption,
    query_domain: QueryDomainOption,
    gallery_domain: GalleryDomainOption,
    out: OutOption = None,
    catalog: CatalogOption = None,
    gallery_from: GalleryFromOption = None,
    distractors: DistractorsOption = None,
    no_distractors: NoDistractorsOption = "",
    labels: LabelsOption = None,
    root: RootOption = None,
    self_match: SelfMatchOption = "forbid",
    window_days: WindowDaysOption = None,
    as_of: AsOfOption = None,
    min_n: MinOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build an evaluation set: immutable, named by its content, refused if a label or the split is not sound.

    Example: `funnelgate evaluate build-set queries.csv --catalog catalog.csv --distractors others --name shoes --out sets --query-domain "phone photos" --gallery-domain "studio pictures"`
    """  # noqa: E501  an example is one line
    from evaluation.building import Sources, build_set
    from evaluation.set_files import write_set
    from evaluation.set_report import report_of
    from evaluation.validators import require_valid

    if out is None and not dry_run:
        raise UsageError("give --out FOLDER, in which the set's own folder is made, or --dry-run")
    gallery = _gallery(query_domain, gallery_domain, as_of, window_days, self_match, no_distractors, min_n or [])
    sources = Sources(source, labels, tuple(catalog or ()), tuple(gallery_from or ()), tuple(distractors or ()), root)
    evalset = build_set(sources, name=name, gallery=gallery, near_hash=getattr(context.obj, "near_hash", None))
    report = report_of(evalset)
    if dry_run or out is None:
        _show(report, None, as_json=as_json)
        require_valid(evalset)
        return
    require_valid(evalset)
    _show(report, write_set(evalset, out), as_json=as_json)


def show(folder: SetArgument, as_json: JsonOption = False) -> None:
    """Show a set, proven by its hashes: counts, domains, slices with their power, and what is wrong with it.

    Example: `funnelgate evaluate show-set sets/shoes@3f9c2a71b0de`
    """
    from evaluation.set_files import load_set
    from evaluation.set_report import report_of

    _show(report_of(load_set(folder)), folder, as_json=as_json)


def crawl(
    folder: Annotated[Path, typer.Option("--set", metavar="SET", help="Folder of the set, NAME@SHA12.")],
    candidate: Annotated[Path, typer.Option("--candidate", help="What a system answered: a run file or folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write it as .csv or .parquet.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the queries that found nothing: what somebody should collect (coverage).

    Example: `funnelgate evaluate crawl-list --set sets/shoes@3f9c2a71b0de --candidate run.parquet --out wanted.csv`
    """
    from evaluation.crawl_list import crawl_list, write_crawl_list
    from evaluation.measure import measure
    from evaluation.searchers.run_file import read_system
    from evaluation.set_files import load_set

    evalset = load_set(folder)
    rows = crawl_list(evalset, measure(read_system(candidate, evalset), evalset))
    if out is not None:
        write_crawl_list(rows, out)
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=1, ensure_ascii=False))
        return
    _print(_crawled(rows, evalset, out))


def _crawled(rows: list[Wanted], evalset: EvalSet, out: Path | None) -> Iterable[RenderableType]:
    from rich.markup import escape

    from evaluation.set_render import crawl_table

    if rows:
        yield crawl_table(rows, _SHOWN)
    where = "" if out is None else f"; all of them in {escape(str(out))}"
    yield f"{len(rows):,} of {len(evalset.queries):,} queries found nothing{where}"


def _gallery(
    query_domain: str,
    gallery_domain: str,
    as_of: str | None,
    window_days: int | None,
    self_match: str,
    no_distractors: str,
    min_n: list[str],
) -> Gallery:
    from pydantic import ValidationError

    from evaluation.evalset import Gallery
    from reporting.days import parse_day

    day: Date | None = None if as_of is None else parse_day(as_of)
    try:
        return Gallery(
            query_domain=query_domain,
            gallery_domain=gallery_domain,
            as_of=day,
            window_days=window_days,
            self_match=self_match,
            no_distractors=no_distractors,
            min_queries=dict(map(_minimum, min_n)),
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{option} {first['input']!r}: {first['msg']}") from None


def _minimum(text: str) -> tuple[str, int]:
    slice_name, _, count = text.rpartition("=")
    if not slice_name or not count.isdigit() or int(count) < 1:
        raise UsageError(f"--min-n {text!r}: write a slice and a number, as in freq=tail=100 or category=*=50")
    return slice_name, int(count)


def _show(report: SetReport, folder: Path | None, *, as_json: bool) -> None:
    from rich.markup import escape

    from evaluation.set_render import set_lines

    if as_json:
        document = {"path": None if folder is None else str(folder), **report.model_dump(mode="json")}
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    _print(set_lines(report))
    if folder is not None:
        _print([escape(str(folder))])


def _print(lines: Iterable[RenderableType]) -> None:
    """Print lines with markup, none of them broken at the terminal's width."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line)
