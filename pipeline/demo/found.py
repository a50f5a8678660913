"""What was found, for a person: detect's hits and misses, one composed picture, and searches by users' photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from pipeline.demo.detection import FoundObject, Judged, Report, Tally, match, read_boxes, tally
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.serve.answer import Answer, answer_all


class Searched(NamedTuple):
    """Users' photos, searched by their main object."""

    answers: tuple[tuple[Path, Answer], ...]
    photos: tuple[Judged, ...]
    """In each the one object that was searched for."""

    @property
    def tally(self) -> Tally:
        """How often the object is the item, and its category the item's; `detected` is not known here."""
        return tally(self.photos)

    def document(self) -> dict[str, int | float | None]:
        """Return counts and ratios, for ``--json``."""
        sums = self.tally
        return {
            "pictures": sums.pictures,
            "hit": sums.hit,
            "placed": sums.placed,
            "main_object_hit": sums.recall,
            "category_accuracy": sums.category_accuracy,
        }


def search_photos(lake: Lake, folder: Path, step: int) -> Searched:
    """Search every `step`-th of the demo's photos in the release; returns them in the order of ``query_boxes.csv``."""
    boxes = read_boxes(folder / "arrivals" / "query_boxes.csv")
    chosen = [(folder / "arrivals" / name, drawn) for name, drawn in list(boxes.items())[::step]]
    answers = answer_all(lake, [path for path, _ in chosen], 5)
    photos = []
    for (path, drawn), answer in zip(chosen, answers, strict=True):
        seen = answer.object
        found = (FoundObject(0, Box(*seen.box), seen.score, "", seen.category or ""),)
        photos.append(Judged(path, drawn, found, match(drawn, found)))
    return Searched(tuple((path, answer) for (path, _), answer in zip(chosen, answers, strict=True)), tuple(photos))


def tell_detection(console: Console, report: Report, floor: float) -> None:
    """Print a line a day, their sum, and the items that were and were not seen in training; then one set's objects.

    Args:
        console: where to.
        report: of all days.
        floor: least recall that is not called too low.
    """
    table = Table(
        title="[bold]Detection[/], held against the items drawn into the pictures (IoU >= .5)",
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    headings = ("pictures", "items", "found", "recall", "boxes", "precision", "category", "detector")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    for day, pictures in report.days.items():
        table.add_row(day.isoformat(), *_cells(tally(pictures)))
    table.add_section()
    table.add_row("[bold]all[/]", *_cells(report.total))
    table.add_row("trained on", *_cells(report.of_items(held_out=False), whole=False))
    table.add_row("held out", *_cells(report.of_items(held_out=True), whole=False))
    console.print()
    console.print(table)
    console.print("held out: items that neither the detector nor the gallery of labelled pictures has seen")
    recall = report.total.recall
    if recall is None or recall < floor:
        console.print(f"[red]fewer than {floor:.0%} of the drawn items were found[/]")
    _tell_set(console, [picture for picture in report.pictures if len(picture.drawn) > 1])


def _cells(sums: Tally, *, whole: bool = True) -> list[str]:
    """Return the table's cells; a box around no item belongs to no part of the items, so parts have no precision."""
    ratios = [
        "-" if one is None else f"{one:.3f}"
        for one in (sums.recall, sums.precision, sums.category_accuracy, sums.detector_accuracy)
    ]
    pictures, boxes = (str(sums.pictures), str(sums.found)) if whole else ("", "")
    return [pictures, str(sums.drawn), str(sums.hit), ratios[0], boxes, *ratios[1:]]


def _tell_set(console: Console, sets: Sequence[Judged]) -> None:
    """Print the objects of the last picture with the most items."""
    if not sets:
        return
    picture = max(reversed(sets), key=lambda one: len(one.drawn))
    console.print(f"\n[bold]Objects[/] of {'/'.join(picture.path.parts[-3:])}, which shows {len(picture.drawn)} items")
    for one, place in zip(picture.found, picture.matches, strict=True):
        truth = "no item" if place is None else picture.drawn[place].category
        box = ",".join(map(str, one.box))
        console.print(
            f"  id {one.id}  box {box}  score {one.score:.2f}  {one.category or 'dropped'} (is: {truth})",
            highlight=False,
        )


def tell_search(console: Console, searched: Searched) -> None:
    """Print how often the photos' main object is the item, and the first photo's answer."""
    sums = searched.tally
    console.print(
        f"\n[bold]Search[/] by {sums.pictures} users' photos: the object searched for is the item in {sums.hit} "
        f"({sums.hit / max(1, sums.pictures):.1%}), in its category in {sums.placed}"
    )
    path, answer = searched.answers[0]
    seen = answer.object
    console.print(f"{'/'.join(path.parts[-3:])}, release {answer.generation}", highlight=False)
    console.print(
        f"  object {','.join(map(str, seen.box))}, score {seen.score:.2f}, {seen.category or 'any category'}: "
        f"{answer.reason}",
        highlight=False,
    )
    for result in answer.results:
        offers = ", ".join(f"{offer.merchant}/{offer.sku}" for offer in result.offers)
        console.print(
            f"  {result.rank}. {result.distance:.3f}  {result.title}  ({result.category})  {offers}", highlight=False
        )
