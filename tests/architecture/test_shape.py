"""How the code is cut: file and function length, names, and a word at the top of every folder."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from tests.architecture.source_tree import FOLDERS, REPOSITORY, all_files, functions, shipped_files, tree

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
"""Without decorators and docstring."""
MAX_FOLDER_LINES = 12
"""Of the docstring at the top of a folder's `__init__`: the recipe, and the reason for the split."""
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
FORBIDDEN_CALLS = {"eval", "exec"}
LIBRARIES = {"alembic", "elasticsearch", "faiss", "jinja2", "numpy", "pandas", "sqlalchemy", "torch", "typer", "yaml"}
NO_PACKAGES = {Path("reporting/migrations/versions")}
"""Alembic loads these files by their paths."""

# A longer function, and why it is one.
LONG = {("reporting/migrations/versions/0001_foundation.py", "upgrade"): "one revision is one list of tables"}


def test_a_file_has_at_most_400_lines():
    lengths = {str(path): len((REPOSITORY / path).read_text(encoding="utf-8").splitlines()) for path in all_files()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_a_function_has_at_most_40_lines():
    long = [
        f"{path}:{one.line} {one.name} has {one.length}"
        for path in shipped_files()
        for one in functions(path)
        if one.length > MAX_FUNCTION_LINES and (path.as_posix(), one.name) not in LONG
    ]
    assert long == []


def test_no_module_or_folder_has_a_name_that_says_nothing():
    assert [path for path in all_files() if {Path(part).stem for part in path.parts} & FORBIDDEN_NAMES] == []


def test_no_module_is_named_like_a_library_it_could_hide():
    """A file `queue.py` run as a script would put its folder first on the path and hide the standard one."""
    assert [path for path in shipped_files() if path.stem in sys.stdlib_module_names | LIBRARIES] == []


def test_no_text_is_run_as_code():
    calls = [
        f"{path}:{node.lineno}"
        for path in shipped_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS
    ]
    assert calls == []


def test_a_folder_says_at_its_top_what_it_is():
    folders = {path.parent for path in shipped_files() if path.parent != Path()}
    for folder in sorted(folders - NO_PACKAGES):
        file = folder / "__init__.py"
        assert (REPOSITORY / file).is_file(), f"{folder} has no __init__.py"
        text = ast.get_docstring(tree(file))
        assert text, f"{file} does not say what the folder is"
        assert len(text.splitlines()) <= MAX_FOLDER_LINES, file


def test_every_folder_at_the_root_of_the_wheel_is_typed():
    assert [folder for folder in FOLDERS if not (REPOSITORY / folder / "py.typed").is_file()] == []
