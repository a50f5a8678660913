"""What a task's output was built with: the code that decides about it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from pydantic import BaseModel

from pipeline.tasks import TASKS, built_with
from pipeline.tasks.built_with import followed_sources


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_the_imports_found_line_by_line_are_those_of_pythons_own_parser(repository: Path) -> None:
    files = sorted((repository / "pipeline").rglob("*.py"))
    assert len(files) > 200
    for path in files:
        assert set(built_with._imports(path)) == imported(path), path


def test_a_tasks_code_has_what_it_imports_within_functions_too() -> None:
    assert {"pipeline.tasks.detect", "pipeline.models.boxes"} <= followed_sources(TASKS["detect"]).keys()
    assert "pipeline.index.merge" in followed_sources(TASKS["merge"])


def test_a_policy_counts_from_its_day_on_and_makes_no_earlier_day_stale() -> None:
    one, other = (task_settings_of("evict", {"min_per_group": number}) for number in (1, 2))
    assert built_with.built_with("evict", one, "all") == built_with.built_with("evict", other, "all")
    near, far = (task_settings_of("dedup", {"max_distance": number}) for number in (1, 2))
    assert built_with.built_with("dedup", near, "all") != built_with.built_with("dedup", far, "all")


def task_settings_of(task: str, values: dict[str, int]) -> BaseModel:
    settings: BaseModel = importlib.import_module(TASKS[task]).Settings(**values)
    return settings
