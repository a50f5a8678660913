"""`learn gallery`: a reference gallery from labelled pictures, or the sample pack's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_options import JsonOption

if TYPE_CHECKING:
    from pipeline.learn.build_gallery import Built, Progress
    from pipeline.models.detector import Detector, WholePicture

_SHOWN = 10


def gallery(
    out: Annotated[Path, typer.Option(help="Folder of the gallery; an earlier gallery in it is replaced.")],
    labels: Annotated[
        Path | None, typer.Option(help="CSV of labelled pictures: path, category, group[, merchant, sku].")
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="Of the sample pack, as it is shipped.")] = False,
    embedder: Annotated[str | None, typer.Option(help="Model that makes the vectors.")] = None,
    detector: Annotated[
        str | None, typer.Option(help="Finds each main object, and is weighed against the vote; name or folder.")
    ] = None,
    no_detect: Annotated[bool, typer.Option("--no-detect", help="Each picture shows its object alone.")] = False,
    name: Annotated[str | None, typer.Option(help="Of the gallery; default the folder's name.")] = None,
    version: Annotated[int, typer.Option(min=1, help="Raise it with each gallery that replaces another.")] = 1,
    licence: Annotated[str, typer.Option(help="SPDX expression of the pictures.")] = "LicenseRef-own",
    alpha: Annotated[
        float | None, typer.Option(min=0, max=1, help="Weight of the detector against the vote; default: fitted.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build the gallery whose labelled rows vote on categories, fit the rules of the vote, and measure it.

    Every object is judged without the votes of its own group: the accuracy printed is that of products which the
    gallery does not know. Then name the folder in pipeline.yaml: tasks.categorise.settings.gallery.

    Example: `funnelgate learn gallery --labels labels.csv --out my-gallery`
    """
    from pipeline.category.gallery import write_gallery

    _refuse_contradictions(out, labels, samples, detector, no_detect, name)
    started = time.perf_counter()
    with _progress(as_json) as on_progress:
        if labels is None:
            built = _of_samples(
                embedder, _detector(detector, no_detect) if detector else None, version, alpha, on_progress
            )
        else:
            about = {"name": name or out.resolve().name, "version": version, "licence": licence}
            built = _of_labels(labels, embedder, _detector(detector, no_detect), alpha, on_progress, **about)
    write_gallery(built.gallery, out)
    facts = _facts(built, out, time.perf_counter() - started)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        _tell(built, facts)


def _refuse_contradictions(
    out: Path, labels: Path | None, samples: bool, detector: str | None, no_detect: bool, name: str | None
) -> None:
    from pipeline.category.gallery import SPEC_NAME
    from reporting.errors import UsageError

    if samples == (labels is not None):
        raise UsageError("give either --labels CSV, or --samples for the gallery of the sample pack")
    if samples and (no_detect or name):
        raise UsageError("--samples has exact boxes and a name; leave out --no-detect and --name")
    if detector and no_detect:
        raise UsageError("give either --detector or --no-detect")
    if out.exists() and not (out / SPEC_NAME).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is there and no gallery; name a new or an empty folder")


def _of_samples(
    embedder: str | None,
    detector: Detector | WholePicture | None,
    version: int,
    alpha: float | None,
    on_progress: Progress,
) -> Built:
    from pipeline.learn.gallery_samples import build_samples
    from pipeline.models.catalog import DEFAULT_EMBEDDER, open_embedder

    model = open_embedder(embedder or DEFAULT_EMBEDDER)
    return build_samples(embedder=model, detector=detector, version=version, alpha=alpha, on_progress=on_progress)


def _of_labels(
    labels: Path,
    embedder: str | None,
    detector: Detector | WholePicture,
    alpha: float | None,
    on_progress: Progress,
    **about: Any,
) -> Built:
    from pipeline.learn.build_gallery import build_from_labels
    from pipeline.learn.labels import read_labels
    from pipeline.models.catalog import DEFAULT_EMBEDDER, open_embedder

    rows, model = read_labels(labels), open_embedder(embedder or DEFAULT_EMBEDDER)
    return build_from_labels(rows, embedder=model, detector=detector, alpha=alpha, on_progress=on_progress, **about)


def _detector(name: str | None, no_detect: bool) -> Detector | WholePicture:
    from pipeline.models.catalog import DEFAULT_DETECTOR, WHOLE, open_detector

    return open_detector(WHOLE if no_detect else name or DEFAULT_DETECTOR)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """Show how many pictures are done, on standard error and only to a person."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("pictures")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _facts(built: Built, out: Path, seconds: float) -> dict[str, Any]:
    from pipeline.category.spec import FusionRules

    spec = built.gallery.spec
    judged = built.held_out or built.left_out
    return {
        "artifact": str(out),
        "name": spec.name,
        "version": spec.version,
        "sha256": spec.sha256,
        "space_id": spec.space_id,
        "rows": spec.rows,
        "groups": spec.groups,
        "categories": list(spec.categories),
        "single_group_categories": [
            name for name, count in zip(spec.categories, built.gallery.group_counts, strict=True) if count == 1
        ],
        "rules": spec.model_dump(include=set(FusionRules.model_fields)),
        "metrics": spec.metrics,
        "confusion": judged.confusion,
        "whole_pictures": built.whole,
        "skipped": [one._asdict() for one in built.skipped],
        "seconds": round(seconds, 2),
    }


def _tell(built: Built, facts: dict[str, Any]) -> None:
    rules = ", ".join(f"{name} {value:g}" for name, value in facts["rules"].items())
    typer.echo(f"{facts['rows']} rows of {facts['groups']} groups in {len(facts['categories'])} categories: {rules}")
    for what, measured in (("their own group left out", built.left_out), ("items never seen", built.held_out)):
        if measured is not None:
            shown = [(name, value) for name, value in measured.metrics.items() if name != "n"]
            typer.echo(f"{measured.metrics['n']:.0f} objects, {what}: " + ", ".join(f"{n} {v:.3f}" for n, v in shown))
    typer.echo("true category: what the vote (and the detector) said instead")
    for true, said in facts["confusion"].items():
        total = sum(said.values())
        wrong = sorted(((count, name) for name, count in said.items() if name != true), reverse=True)
        typer.echo(f"  {true}: {said.get(true, 0)} of {total} right; " + ", ".join(f"{n} {c}" for c, n in wrong[:3]))
    if lonely := facts["single_group_categories"]:
        names = ", ".join(lonely[:_SHOWN]) + (", ..." if len(lonely) > _SHOWN else "")
        typer.echo(f"{len(lonely)} categories have one group, so that nobody speaks for them here: {names}")
    if built.whole:
        typer.echo(f"{built.whole} pictures were taken as a whole: no object was found in them")
    for one in built.skipped[:_SHOWN]:
        typer.echo(f"left out: {one.path}: {one.reason}", err=True)
    if len(built.skipped) > _SHOWN:
        typer.echo(f"left out: {len(built.skipped) - _SHOWN} more", err=True)
    place = facts["artifact"] if "/" in facts["artifact"] else f"./{facts['artifact']}"
    typer.echo(f"{place}: written; name it in pipeline.yaml: tasks.categorise.settings.gallery (with its slash)")
