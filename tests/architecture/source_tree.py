"""What the tests of the house look at: the product's own Python files, as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
HUB = "reporting"
SPOKES = ("pipeline", "checks", "evaluation", "dashboards")
SAMPLES = "samples"
ROOT = "funnelgate"
FOLDERS = (HUB, *SPOKES, SAMPLES)
OURS = (*FOLDERS, ROOT)

ELASTIC = (
    "reporting/elastic/bulk.py",
    "reporting/elastic/client.py",
    "reporting/elastic/search.py",
    "reporting/stores/elastic.py",
)

# Heavy libraries, and the only files that may load them by being imported. () = only inside functions.
OWNERS: dict[str, tuple[str, ...]] = {
    "PIL": (
        "pipeline/images/",
        "pipeline/learn/",
        "pipeline/models/preprocess.py",
        "pipeline/serve/contact_sheet.py",
        "pipeline/demo/",
        "samples/build.py",
    ),
    "apprise": (),
    "cv2": (),
    # The cluster's own modules: nothing imports them but functions that speak to a cluster.
    "elastic_transport": ELASTIC,
    "elasticsearch": ELASTIC,
    "faiss": ("pipeline/index/",),
    "faster_coco_eval": (),
    "cryptography": (),
    "fastapi": ("pipeline/serve/app.py", "pipeline/serve/routes.py", "dashboards/web/app.py"),
    "httpcore": ("pipeline/fetch/",),
    "httpx": ("pipeline/fetch/",),
    "imagehash": (),
    "onnx": (),
    "onnxruntime": (),
    "pandas": (),
    "prometheus_client": ("pipeline/serve/prom.py", "dashboards/metrics/exposition.py"),
    "pyarrow": (
        "pipeline/lake.py",
        "pipeline/serve/prepared.py",
        "pipeline/sources.py",
        "pipeline/source_rows.py",
        "pipeline/storage/",
        "pipeline/tasks/",
        "pipeline/window/",
    ),
    "ray": (),
    "scipy": (),
    "sqlalchemy": (
        "reporting/stores/",
        "reporting/outbox_sql.py",
        "reporting/tables.py",
        "reporting/migrations/",
        "pipeline/",
        # Incidents and notices are rows beside the records, written in one transaction with them.
        "checks/incident_store.py",
        "checks/notices.py",
        "checks/reminders.py",
        "checks/repost.py",
        "checks/retention.py",
        "checks/unchanged.py",
        "checks/watch.py",
    ),
    "torch": (),
    "uvicorn": (),
}


class Import(NamedTuple):
    """One import of a module, and whether it happens when the file itself is imported."""

    module: str
    line: int
    at_import: bool


class Function(NamedTuple):
    """One function: its lines without docstring and decorators."""

    name: str
    line: int
    length: int


def shipped_files() -> list[Path]:
    """Return every Python file of the product, relative to the repository."""
    found = [REPOSITORY / f"{ROOT}.py"]
    for folder in FOLDERS:
        found += sorted((REPOSITORY / folder).rglob("*.py"))
    return [path.relative_to(REPOSITORY) for path in found]


def all_files() -> list[Path]:
    """Return every Python file of the repository: also tests, examples and the docs' generator."""
    others = [path for folder in ("tests", "examples", "docs") for path in (REPOSITORY / folder).rglob("*.py")]
    return shipped_files() + sorted(path.relative_to(REPOSITORY) for path in others)


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> list[Import]:
    """Return every import of a file, those for the type checker left out."""
    return list(_imports(tree(path), at_import=True))


def _imports(node: ast.AST, *, at_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_import) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield Import("." * child.level + (child.module or ""), child.lineno, at_import)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, at_import=at_import and not inside)


def functions(path: Path) -> Iterator[Function]:
    """Yield every function of a file, methods and inner ones too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) is not None else None
            skipped = 0 if docstring is None else (docstring.end_lineno or 0) - docstring.lineno + 1
            yield Function(node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1 - skipped)
