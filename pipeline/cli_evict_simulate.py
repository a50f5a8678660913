"""`evict simulate`: a made-up year under the plain window, keep-all and our policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import JsonOption
from pipeline.cli_progress import steps

if TYPE_CHECKING:
    from pipeline.evict.looks import Looks
    from pipeline.evict.simulate_result import Simulation
    from pipeline.evict.world import World, WorldSettings

_SAMPLE_VIEWS = 6
"""Of an item: 252 items are 1,500 pictures to embed, half a minute."""
_GROUPS = 3000


def simulate(
    days: Annotated[int, typer.Option(min=1, help="Length of the year.")] = 365,
    groups: Annotated[
        int | None, typer.Option(min=2, help="Products; default 3000, with --pictures all of the sample pack.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn; equal options give equal numbers.")] = 7,
    policy: Annotated[Path | None, typer.Option(help="Policy file (YAML); default: the default policy.")] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="With real pictures: the sample pack through the shipped embedder.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for page.html and simulation.json.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a year of arrivals, and compare three ways to forget: rows, coverage, recall by slice.

    The plain window, keep-all and the policy store equal arrivals: products by Zipf's law that come late, stay away
    for months, are delisted, split, merged or taken down. Searches are judged by the catalogue of record, so that a
    product which a policy has forgotten is a miss. The pins of the policy are of no use here: the products are made up.
    Ends with 1 where a tail budget is too small for what must stay, and says on which day.

    Example: `funnelgate evict simulate --days 365 --policy evict.yaml --out year`
    """
    from pipeline.evict.policy import EvictPolicy, load_policy
    from pipeline.evict.simulate import simulate as run
    from pipeline.evict.world import make_world

    chosen = EvictPolicy() if policy is None else load_policy(policy)
    settings = _settings(days, groups, seed, pictures=pictures)
    with steps("") as tell:
        tell("drawing the year")
        world = make_world(settings)
        looks = _looks(world, tell, pictures=pictures)
        found = run(world, looks, chosen, on_day=lambda day: tell(f"day {day} of {days}"))
    written = [] if out is None else _written(found, out)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _show(found)
    for path in written:
        typer.echo(f"written: {path}")


def _settings(days: int, groups: int | None, seed: int, *, pictures: bool) -> WorldSettings:
    from pipeline.evict.world import WorldSettings

    if not pictures:
        return WorldSettings(days=days, groups=groups or _GROUPS, seed=seed)
    from pipeline.demo.rows import read_items
    from samples import samples_dir

    items = groups or len(read_items(samples_dir()))
    return WorldSettings(days=days, groups=items, seed=seed, views=_SAMPLE_VIEWS, bundle=0)


def _looks(world: World, tell: Callable[[str], None], *, pictures: bool) -> Looks:
    from pipeline.evict.looks import draw_looks, sample_looks

    if not pictures:
        return draw_looks(world)
    from pipeline.models.catalog import DEFAULT_EMBEDDER
    from samples import samples_dir

    return sample_looks(world, samples_dir(), DEFAULT_EMBEDDER, tell)


def _written(found: Simulation, folder: Path) -> list[Path]:
    from pipeline.evict.simulate_page import write_page
    from reporting.text_file import replace_text

    page, numbers = folder / "page.html", folder / "simulation.json"
    write_page(found, page)
    replace_text(numbers, found.model_dump_json(indent=1) + "\n", "name another folder by --out")
    return [page, numbers]


def _show(found: Simulation) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipeline.evict.simulate_page import searches, standing
    from pipeline.evict.simulate_result import reading

    console = Console(soft_wrap=True, highlight=False)
    for line in reading(found):
        console.print(line, markup=False)
    tables = [("on the last day", standing(found))]
    tables += [(f"{part}, {count:,} searches", rows) for part, count, rows in searches(found)]
    for title, rows in tables:
        table = Table(box=None, pad_edge=False, padding=(0, 1), title=title, title_justify="left")
        table.add_column("policy", no_wrap=True)
        for cell in rows[0].cells:
            table.add_column(cell.label, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(row.title, *(cell.text for cell in row.cells))
        console.print(table)
