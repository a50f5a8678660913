"""Build a project (source manifest, labelled queries, task graph) from the Grocery Store Dataset's own lists.

    python examples/grocery/make_source.py --data PATH/TO/grocery --out grocery-run
    cd grocery-run && funnelgate run --source source.csv --date 2026-11-01

Catalogue: the train photos (merchant `shop-photos`) and the 81 iconic pictures (merchant `catalogue`).
Queries: the val photos. Group: the fine class; category: the coarse class.
Data: Klasson, Zhang, Kjellstrom, "A hierarchical grocery store image dataset", WACV 2019 (MIT).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import yaml

from pipeline.project import default_topology

COLUMNS = ("path", "sku", "merchant", "category", "title", "listed", "strategy", "group")


def read_classes(data: Path) -> dict[str, dict[str, str]]:
    """Return the rows of classes.csv by fine class id."""
    with (data / "classes.csv").open(encoding="utf-8") as file:
        return {row["Class ID (int)"]: row for row in csv.DictReader(file)}


def read_list(data: Path, name: str) -> list[tuple[str, str]]:
    """Return (path, fine class id) of every line `path, fine id, coarse id`."""
    lines = (data / name).read_text(encoding="utf-8").splitlines()
    return [(path.strip(), fine.strip()) for path, fine, _ in (line.split(",") for line in lines if line.strip())]


def topology(data: Path) -> str:
    """Return the default task graph with packages of 700 pictures and the val photos as labelled queries."""
    graph = yaml.safe_load(default_topology())
    graph["tasks"]["collect"]["settings"] = {"package_items": 700}
    # A photo shows one product, often filling it, and nobody has labelled a gallery of these 43 categories.
    graph["tasks"]["detect"]["settings"] = {"detector": "whole"}
    graph["tasks"]["categorise"]["settings"] = {"by": "declared"}
    graph["tasks"]["evaluate"]["settings"] = {
        "queries": "queries.csv",
        "root": str(data),
        "gate": "gate.yaml",
    }
    return yaml.safe_dump(graph, sort_keys=False)


# 296 photos of 60 products prove a margin of some 4 points where 1 % of them flip; nothing is proven of a category.
GATE = """\
schema: gate/1
rules:
  - {id: answered, kind: floor, metric: answer_rate, min: 0.999, bound: point}
  - {id: hit10-floor, kind: floor, metric: hit@10, min: 0.5}
  - {id: hit10-ni, kind: noninferior, metric: hit@10, margin_pp: 5}
  - {id: recall10-ni, kind: noninferior, metric: recall@10, margin_pp: 5}
  - {id: ann-loss, kind: ceiling, metric: label_loss@10, max_pp: 5}
  - {id: contract, kind: invariant, metric: merge_contract_violations, equals: 0}
"""


def main() -> None:
    """Write the project."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with classes.csv, train.txt and val.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new project")
    options = parser.parse_args()
    data = options.data.resolve()
    classes = read_classes(data)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "source.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for path, fine in read_list(data, "train.txt"):
            row = classes[fine]
            name, category = row["Class Name (str)"], row["Coarse Class Name (str)"]
            writer.writerow([data / path, Path(path).stem, "shop-photos", category, name, "true", "long-tail", name])
        for row in classes.values():
            name, category = row["Class Name (str)"], row["Coarse Class Name (str)"]
            path = data / row["Iconic Image Path (str)"].lstrip("/")
            writer.writerow([path, f"iconic-{name}", "catalogue", category, name, "true", "directed", name])
    with (options.out / "queries.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "group", "category"))
        for path, fine in read_list(data, "val.txt"):
            row = classes[fine]
            writer.writerow([path, row["Class Name (str)"], row["Coarse Class Name (str)"]])
    (options.out / "pipeline.yaml").write_text(topology(data), encoding="utf-8")
    (options.out / "funnelgate.yaml").write_text("pipeline: pipeline.yaml\n", encoding="utf-8")
    (options.out / "gate.yaml").write_text(GATE, encoding="utf-8")
    print(f"wrote source.csv, queries.csv, gate.yaml, pipeline.yaml and funnelgate.yaml into {options.out}")


if __name__ == "__main__":
    main()
