"""Three days of arrivals with known faults, and the funnel they must give."""

from __future__ import annotations

from collections import Counter
from datetime import date as Date

from PIL import Image

from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, draw, row

DAYS = (DAY_1, DAY_2, DAY_3)
CATEGORIES = ("red", "green", "")
"""The third goes to the fallback `other`."""

FUNNEL = {
    DAY_1: {
        "collect": (26, {"duplicate_row": 1}),
        "download": (25, {"dead_link": 1, "not_an_image": 1}),
        "quality": (23, {"too_small": 1, "bad_aspect": 1, "low_contrast": 1, "truncated": 1}),
        "hash": (19, {}),
        "dedup": (19, {"exact_duplicate": 1, "near_duplicate": 1}),
        "listing": (17, {"off_shelf": 1}),
        "detect": (16, {}),
        "crop": (16, {}),
        "categorise": (16, {}),
        "embed": (16, {}),
        "train": (16, {}),
        "index": (16, {}),
        "recheck": (0, {}),
        "evict": (16, {}),
        "tail": (0, {}),
        "merge": (16, {}),
    },
    DAY_2: {
        "collect": (14, {}),
        "download": (14, {"dead_link": 2}),
        "quality": (12, {}),
        "hash": (12, {}),
        "dedup": (12, {"exact_duplicate": 3, "near_duplicate": 1}),
        "listing": (8, {}),
        "detect": (8, {}),
        "crop": (8, {}),
        "categorise": (8, {}),
        "embed": (8, {}),
        "train": (8, {}),
        "index": (8, {}),
        "recheck": (16, {}),
        "evict": (24, {}),
        "tail": (0, {}),
        "merge": (24, {}),
    },
    DAY_3: {
        "collect": (9, {}),
        "download": (9, {}),
        "quality": (9, {}),
        "hash": (9, {}),
        "dedup": (9, {}),
        "listing": (9, {"off_shelf": 2}),
        "detect": (7, {}),
        "crop": (7, {}),
        "categorise": (7, {}),
        "embed": (7, {}),
        "train": (7, {}),
        "index": (7, {}),
        "recheck": (28, {"off_shelf": 2}),
        "evict": (29, {}),
        "tail": (0, {}),
        "merge": (31, {"delisted": 2}),
    },
}
"""Day to task to (input, drops): what was put in below, counted by hand."""

OFFERS = {
    # Picture to the offers that must be found with it after the third day.
    "0.png": {("acme", "s0"), ("bolt", "b0"), ("dune", "d0")},  # same bytes on the first day, again on the second
    "1.png": {("acme", "s1")},  # re-crawled by the same merchant
    "6.png": {("acme", "s6"), ("dune", "e6")},  # recompressed on the second day
    "100.png": {("acme", "t100")},
}
DELISTED = {"7.png": ("acme", "s7"), "104.png": ("acme", "t104")}


def arrive(project: Project) -> None:
    """Write the pictures and manifests of the three days."""
    project.manifest(DAY_1, _first(project))
    project.manifest(DAY_2, _second(project))
    project.manifest(DAY_3, _third(project))


def category(number: int) -> str:
    """Return the category of product `number`."""
    return CATEGORIES[number % 3]


def _first(project: Project) -> list[dict[str, str]]:
    rows = [row(project.drawn(n), f"s{n}", category=category(n)) for n in range(16)]
    rows.append(rows[3])  # duplicate_row
    rows.append(row("pictures/gone.png", "gone"))
    rows.append(row(_bytes(project, "page.jpg", b"<html>404</html>"), "page"))
    rows.append(row(project.picture("small.png", draw(900, side=32)), "small"))
    rows.append(row(project.picture("wide.png", draw(901).resize((640, 80))), "wide"))
    rows.append(row(project.picture("flat.png", Image.new("RGB", (96, 96), (90, 90, 90))), "flat"))
    project.picture("whole.jpg", draw(902, side=256))
    whole = (project.folder / "pictures/whole.jpg").read_bytes()
    rows.append(row(_bytes(project, "cut.jpg", whole[: len(whole) // 2]), "cut"))
    rows.append(row(_bytes(project, "copy.png", _read(project, "0.png")), "b0", merchant="bolt", category=category(0)))
    rows.append(row(project.picture("again.jpg", draw(5), quality=80), "c5", merchant="core", category=category(5)))
    rows.append(row(project.drawn(903), "hidden", listed="false"))
    return rows


def _second(project: Project) -> list[dict[str, str]]:
    rows = [row(project.drawn(n), f"t{n}", category=category(n)) for n in range(100, 108)]
    rows += [row(f"pictures/{n}.png", f"s{n}", category=category(n)) for n in (1, 2)]  # re-crawled
    rows.append(row("pictures/0.png", "d0", merchant="dune"))
    rows.append(row(project.picture("6.jpg", draw(6), quality=75), "e6", merchant="dune"))
    rows += [row(f"pictures/lost{n}.png", f"lost{n}") for n in range(2)]
    return rows


def _third(project: Project) -> list[dict[str, str]]:
    rows = [row(project.drawn(n), f"u{n}", category=category(n)) for n in range(200, 207)]
    # Two products go off the shelf: their pictures came on the first and on the second day.
    rows.append(row("pictures/7.png", "s7", category=category(7), listed="false"))
    rows.append(row("pictures/104.png", "t104", category=category(104), listed="false"))
    return rows


def _bytes(project: Project, name: str, data: bytes) -> str:
    (project.folder / "pictures" / name).write_bytes(data)
    return f"pictures/{name}"


def _read(project: Project, name: str) -> bytes:
    return (project.folder / "pictures" / name).read_bytes()


def placed(day: Date) -> Counter[str]:
    """Return how many items of a day go to each category (after dedup and listing)."""
    numbers = {DAY_1: range(16), DAY_2: range(100, 108), DAY_3: range(200, 207)}[day]
    return Counter(category(n) or "other" for n in numbers)
