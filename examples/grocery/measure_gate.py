"""Measure the search of the foundation on shop photos as the gate does: sets, run files, evaluation, verdict.

    python -m examples.grocery.measure_gate PATH/TO/grocery --out grocery-gate --markdown

Asked are the 296 val photos of the Grocery Store Dataset, of two libraries, each an evaluation set: the 81 iconic
pictures of the catalogue, one a product, and the 2,640 train photos. Whole pictures are embedded by the shipped
embedder, without a detector, and compared by cosine, exactly: what is lost is the model's. A product is a fine class,
a category a coarse one. Then `funnelgate evaluate run` and `funnelgate gate` are run on what was written:

    OUT/sets/NAME@SHA12  OUT/runs/NAME.parquet  OUT/verdicts/NAME/

Run it in the repository's root. Data: Klasson, Zhang, Kjellstrom, "A hierarchical grocery store image dataset", WACV
2019 (MIT).
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from evaluation.building import Sources, build_set
from evaluation.evalset import EvalSet, Gallery
from evaluation.set_files import write_set
from examples.grocery.measure_crop import BATCH, Labelled, read_pictures
from pipeline.images.crop import crop_object
from pipeline.images.decode import DecodeLimits
from pipeline.models.catalog import DEFAULT_EMBEDDER, open_embedder

DEPTH = 1000
"""Pictures a query: the first 10 products of any query are among them."""
SIDE = 256
HITS = ("hit@1", "hit@5", "hit@10")
GATE = Path(__file__).with_name("gate.yaml")
Floats = npt.NDArray[np.float32]


class Library(NamedTuple):
    """A gallery that the photos are searched in."""

    name: str
    pictures: str
    domain: str
    no_distractors: str


LIBRARIES = (
    Library(
        "photo-to-iconic",
        "iconic",
        "the catalogue's pictures",
        "the 80 other products are all that there is to mistake",
    ),
    Library(
        "photo-to-photos", "train", "other photos taken in shops", "photos of the 80 other products are the distractors"
    ),
)


def embedded(data: Path, names: Sequence[str], every: int, cache: Path) -> dict[str, Floats]:
    """Return the (n, d) unit vectors of lists of pictures, from the cache where the same embedder made it."""
    embedder, limits = open_embedder(DEFAULT_EMBEDDER), DecodeLimits()
    key = f"{embedder.ref}:{embedder.space_id}:{every}"
    if cache.is_file():
        with np.load(cache) as kept:
            if str(kept["key"]) == key:
                return {name: kept[name] for name in names}
    vectors = {}
    for name in names:
        pictures = pictures_of(data, name, every)
        batches = []
        for start in track(range(0, len(pictures), BATCH), f"{name} ({len(pictures)})", console=Console(stderr=True)):
            files = [picture.path.read_bytes() for picture in pictures[start : start + BATCH]]
            whole = [crop_object(one, None, margin=0, side=SIDE, limits=limits) for one in files]
            batches.append(embedder.embed(whole))
        vectors[name] = np.concatenate(batches)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.open("wb") as file:
        np.savez(file, allow_pickle=False, key=np.array(key), **vectors)
    return vectors


def pictures_of(data: Path, name: str, every: int) -> list[Labelled]:
    """Return the pictures of a list, every n-th only; of a library the first of each product always."""
    pictures = read_pictures(data, name)
    if name == "val":
        return pictures[::every]
    first = {picture.product: picture for picture in reversed(pictures)}
    return [one for place, one in enumerate(pictures) if place % every == 0 or first[one.product] is one]


def grocery_set(data: Path, library: Library, every: int, work: Path) -> EvalSet:
    """Build the set of a library from tables of the data set's own lists."""
    tables = {}
    for kind, name in (("queries", "val"), ("catalog", library.pictures)):
        tables[kind] = work / f"{library.name}-{kind}.csv"
        tables[kind].parent.mkdir(parents=True, exist_ok=True)
        with tables[kind].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "query_id" if kind == "queries" else "image_id", "group", "category"))
            for picture in pictures_of(data, name, every):
                writer.writerow((picture.path, name_of(picture, data), picture.product, picture.category))
    gallery = Gallery(
        query_domain="photos taken in shops with a phone",
        gallery_domain=library.domain,
        no_distractors=library.no_distractors,
    )
    sources = Sources(tables["queries"], catalog=(tables["catalog"],), root=data)
    return build_set(sources, name=library.name, gallery=gallery)


def name_of(picture: Labelled, data: Path) -> str:
    """Return the name under which a picture is asked for and returned."""
    return picture.path.relative_to(data).as_posix()


def write_run(
    path: Path, set_id: str, queries: Sequence[str], images: Sequence[str], similarities: npt.NDArray[np.float32]
) -> None:
    """Write the nearest pictures of each query as a run file.

    Args:
        path: A .parquet file.
        set_id: The set that it answers.
        queries: n ids.
        images: m ids.
        similarities: (n, m) cosines.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    order = np.argsort(-similarities, axis=1, kind="stable")[:, :DEPTH]
    distances = 1 - np.take_along_axis(similarities, order, axis=1).astype(np.float64)
    table = pa.table(
        {
            "query_id": np.repeat(np.array(queries), order.shape[1]),
            "image_id": np.array(images)[order].ravel(),
            "distance": distances.ravel(),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"set_id": set_id}), path)


def funnelgate(*arguments: str | Path, exits: Sequence[int] = (0,)) -> dict[str, Any]:
    """Run a command with `--json` and return what it printed."""
    command = [sys.executable, "-m", "funnelgate", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in exits:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(data: Path, out: Path, every: int, gate: Path) -> dict[str, dict[str, Any]]:
    """Measure both libraries; returns name -> {"run": ..., "verdict": ...}, the commands' own JSON."""
    vectors = embedded(data, ["val", *(one.pictures for one in LIBRARIES)], every, out / "vectors.npz")
    asked = [name_of(one, data) for one in pictures_of(data, "val", every)]
    found = {}
    for library in LIBRARIES:
        evalset = grocery_set(data, library, every, out / "tables")
        folder = write_set(evalset, out / "sets")
        run = out / "runs" / f"{library.name}.parquet"
        images = [name_of(one, data) for one in pictures_of(data, library.pictures, every)]
        write_run(run, evalset.set_id, asked, images, vectors["val"] @ vectors[library.pictures].T)
        verdict_folder = out / "verdicts" / library.name
        found[library.name] = {
            "run": funnelgate("evaluate", "run", "--set", folder, "--searcher", run, "--k", "1,5,10"),
            "verdict": funnelgate(
                "gate", "--set", folder, "--candidate", run, "--config", gate, "--out", verdict_folder, exits=(0, 1, 3)
            ),
        }
    return found


def markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table: both libraries over all photos and by coarse category."""
    runs = {name: one["run"] for name, one in found.items()}
    first = next(iter(runs.values()))
    slices = {"all": {name: run["metrics"] for name, run in runs.items()}}
    for name in (name for name in first["slices"] if name.startswith("category=")):
        slices[name.removeprefix("category=")] = {of: run["slices"][name] for of, run in runs.items()}
    heads = [f"{name}: {metric}" for name in runs for metric in HITS]
    lines = [f"| category | photos, products | {' | '.join(heads)} |", "|---|---:|" + "---|" * len(heads)]
    for name, values in slices.items():
        cells = [_cell(values[of][metric]) for of in runs for metric in HITS]
        one = next(iter(values.values()))[HITS[0]]
        lines.append(f"| {name} | {one['n']}, {one['clusters']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(one: Mapping[str, float]) -> str:
    value, low, high = (f"{one[name]:.2f}".removeprefix("0") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with classes.csv, train.txt and val.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder for sets, runs and verdicts")
    parser.add_argument("--gate", type=Path, default=GATE, help="the gate's rules")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo only, for a quick look")
    parser.add_argument("--markdown", action="store_true", help="print the table by category instead of JSON")
    given = parser.parse_args()
    found = measure(given.data.resolve(), given.out, given.every, given.gate)
    print(markdown(found) if given.markdown else json.dumps(found, indent=1))
    for name, one in found.items():
        print(f"{name}: {one['verdict']['verdict']}: {one['verdict']['reason']}", file=sys.stderr)


if __name__ == "__main__":
    main()
