"""Make a drawn set and run files, to try the gate in CI before there is a set of one's own.

    python examples/ci/make_example.py gate --candidate pass

writes sets/example@..., release.parquet, candidate.parquet and gate.yaml into the folder `gate`. The candidate passes
(one query won, one lost), fails (a tenth of all queries lost) or is inconclusive (six of 400 lost: that is within the
margin of two points, but not surely). Nothing is random: the set's name is always the same.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Collection
from pathlib import Path

from evaluation.answers import Hit, answers_of
from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.searchers.run_folder import write_system
from evaluation.set_content import evalset_of
from evaluation.set_files import write_set
from evaluation.system import System, View

PRODUCTS, NOISE, DEPTH = 400, 40, 12
LOST = {
    "release": range(20),
    "pass": range(1, 21),
    "fail": range(60),
    "inconclusive": range(26),
}
"""The queries whose product is not found, by run."""


def example_set() -> EvalSet:
    """Return 400 products of two categories, each with one picture and one query, among pictures of nothing."""
    names = [f"{number:03d}" for number in range(PRODUCTS)]
    category = {name: ("shoes", "hats")[number % 2] for number, name in enumerate(names)}
    queries = [Query(query_id=f"query-{name}", category=category[name], cluster=f"product-{name}") for name in names]
    labels = [Label(query_id=f"query-{name}", group_id=f"product-{name}") for name in names]
    catalog = [
        CatalogImage(image_id=f"picture-{name}", group_id=f"product-{name}", category=category[name]) for name in names
    ]
    catalog += [
        CatalogImage(image_id=f"noise-{number:02d}", group_id=f"noise-{number:02d}", category="hats", role=Role.NOISE)
        for number in range(NOISE)
    ]
    gallery = Gallery(query_domain="drawn", gallery_domain="drawn")
    return evalset_of("example", queries, labels, catalog, gallery)


def example_run(evalset: EvalSet, lost: Collection[int]) -> System:
    """Return answers in which the product comes first, or, of the lost queries, not at all."""
    hits = {}
    for row, query in enumerate(evalset.queries):
        own = [] if row in lost else [query.query_id.replace("query", "picture")]
        noise = [f"noise-{(row + step) % NOISE:02d}" for step in range(DEPTH - len(own))]
        hits[query.query_id] = [Hit(name, 0.1 + rank / 100) for rank, name in enumerate([*own, *noise])]
    answers = answers_of([query.query_id for query in evalset.queries], hits)
    return System(name="example", views={View.SERVED: answers})


def make_example(folder: Path, candidate: str) -> Path:
    """Write the files; returns the set's folder. Runs of an earlier call are replaced."""
    evalset = example_set()
    for name, lost in (("release", LOST["release"]), ("candidate", LOST[candidate])):
        saved = folder / f".{name}"
        write_system(example_run(evalset, lost), saved, set_id=evalset.set_id)
        (saved / "served.parquet").replace(folder / f"{name}.parquet")
        shutil.rmtree(saved)
    shutil.copy(Path(__file__).with_name("gate.yaml"), folder / "gate.yaml")
    return write_set(evalset, folder / "sets")


def main() -> None:
    """Make the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--candidate", choices=[name for name in LOST if name != "release"], default="pass")
    given = parser.parse_args()
    print(make_example(given.folder, given.candidate))


if __name__ == "__main__":
    main()
