"""collect: read the day's source manifest, divide it into packages and seal the split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.package_size import DEFAULT_PACKAGE, MAX_PACKAGE, package_size
from pipeline.planner import Split, read_split
from pipeline.sources import STRATEGIES, read_source
from pipeline.tasks import task_settings
from pipeline.tasks.categorise import category_name
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import write_drops
from reporting.errors import ConfigError, DataError

_SHOWN = 20
_DAYS_LOOKED_BACK = 30  # as far as dedup looks for the live window it continues


class Settings(BaseModel):
    """How a day is divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package_items: int | None = Field(default=None, ge=1, le=MAX_PACKAGE)
    """Items in a package; None: as many as the slowest task does in `package_seconds`, from the measured rate."""
    package_seconds: float = Field(default=900.0, gt=0, le=3600)
    """How long the slowest task should work on one package."""
    first_package_items: int = Field(default=DEFAULT_PACKAGE, ge=1, le=MAX_PACKAGE)
    """Items in a package as long as nothing was measured."""
    max_categories: int = Field(default=300, ge=1)
    """At most so many declared categories a day, the most frequent ones; items of the others go to `fallback`."""
    fallback: str = "other"
    """Category of what has none."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Book every row of the manifest, write one file a package, seal the split."""
    source = leaf.plan.sources.get(leaf.key.date)
    if source is None:
        raise DataError(f"{leaf.key}: the plan names no source for this day; run again with --source MANIFEST")
    table = read_source(Path(source.path))
    if table.digest != source.sha256:
        raise DataError(
            f"{source.path}: the manifest has changed since plan {leaf.plan.planid} was made "
            f"(sha256 {source.sha256[:12]} then, {table.digest[:12]} now); make a new plan with --kind rerun"
        )
    leaf.books.take(table.rows["item"].to_pylist() + [row.item for row in table.duplicates])
    write_drops(
        leaf,
        [
            (row.item, "duplicate_row", f"{source.path}:{row.line}: repeats line {row.first_line}")
            for row in table.duplicates
        ],
    )
    for strategy in STRATEGIES:
        count = pc.sum(pc.equal(table.rows["strategy"], strategy)).as_py() or 0
        leaf.books.measure(f"strategy_{strategy.replace('-', '_')}", count)
    rows = table.rows.sort_by("item")
    size = settings.package_items or package_size(
        leaf.store, leaf.key.date, settings.package_seconds, settings.first_package_items
    )
    packages = [f"{number + 1:04d}" for number in range(max(1, -(-rows.num_rows // size)))]
    for number, package in enumerate(packages):
        leaf.write(f"package-{package}", rows.slice(number * size, size))
    leaf.books.keep(rows["item"].to_pylist())
    leaf.split = Split(packages=tuple(packages), categories=_categories(leaf, rows, settings))


def _categories(leaf: LeafContext, rows: pa.Table, settings: Settings) -> tuple[str, ...]:
    """Return the categories that objects of this day may go to, the fallback last.

    Those of pipeline.yaml; else, where categories are predicted, the gallery's, and where they are declared, the
    source's most frequent ones. In both cases with those of the day before: what an earlier day brought lives on in the
    window, so its category is merged and released also on a day without arrivals in it.
    """
    fallback = settings.fallback
    counts = Counter(category_name(text, fallback) for text in rows["category"].to_pylist())
    counts.pop(fallback, None)
    gallery = _gallery_categories(leaf)
    if gallery is not None:
        _refuse_strangers(leaf, gallery, set(counts))
    if leaf.topology.categories:
        return (*(name for name in leaf.topology.categories if name != fallback), fallback)
    carried = set(_categories_before(leaf)) - {fallback}
    if gallery is not None:
        return (*sorted(carried.union(gallery) - {fallback}), fallback)
    for name in carried:
        counts.pop(name, None)
    room = max(0, settings.max_categories - 1 - len(carried))
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[:room]
    return (*sorted(carried.union(frequent)), fallback)


def _gallery_categories(leaf: LeafContext) -> tuple[str, ...] | None:
    """Return the categories that categorise can predict; None where it goes by what is declared."""
    if "categorise" not in leaf.topology.tasks:
        return None
    settings: Any = task_settings(leaf.topology, "categorise")
    if settings.by != "predicted":
        return None
    from pipeline.category.gallery import categories_of

    return categories_of(settings.gallery)


def _refuse_strangers(leaf: LeafContext, gallery: tuple[str, ...], declared: set[str]) -> None:
    """Refuse a source whose every category is unknown to the gallery: all of it would be forced into foreign ones.

    Raises:
        ConfigError: what the source declares and what the gallery knows have no name in common.
    """
    if declared and not declared.intersection(gallery):
        raise ConfigError(
            f"{leaf.key}: categories are predicted (tasks.categorise.settings.by), but the gallery knows none of those "
            f"the source declares: {', '.join(sorted(declared)[:_SHOWN])}; the gallery's are: "
            f"{', '.join(sorted(gallery)[:_SHOWN])}. Build a gallery of your own (funnelgate learn gallery), or set "
            "tasks.categorise.settings.by: declared"
        )


def _categories_before(leaf: LeafContext) -> tuple[str, ...]:
    """Return the categories of the nearest earlier day that was divided, () when there is none."""
    for day in leaf.partitions.days_before(leaf.key.task, leaf.key.date, count=_DAYS_LOOKED_BACK):
        for part in leaf.partitions.of_task(leaf.key.task, day):
            split = read_split(leaf.store.split_text(part.planid, day))
            if split is not None:
                return split.categories
    return ()
