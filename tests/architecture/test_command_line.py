"""The command line as a whole: quick to start, honest when called wrongly, and every command with an example."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.generator import generate
from tests.architecture.source_tree import OWNERS

HEAVY = sorted({*OWNERS, "alembic", "apscheduler", "fsspec", "jinja2", "uvicorn"})


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "funnelgate", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "300"},  # nothing is wrapped
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_loads_no_heavy_library(tmp_path):
    code = (
        "import sys\n"
        "sys.argv = ['funnelgate', '--help']\n"
        "import funnelgate\n"
        "try:\n"
        "    funnelgate.main()\n"
        "finally:\n"
        f"    print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stderr.strip() == "[]"


def test_every_command_says_what_it_does_and_gives_an_example_of_itself():
    for command in generate.commands():
        text = inspect.getdoc(command.function) or ""
        assert text.splitlines()[0].endswith("."), f"{command.words}: the first line is a sentence"
        examples = re.findall(r"^Example: `(.+)`$", text, re.MULTILINE)
        assert examples, f"{command.words}: a line 'Example: `{command.words} ...`'"
        assert all(example.startswith(command.words) for example in examples), command.words


def test_every_option_of_a_command_is_explained():
    silent = [
        f"{command.words} {written}"
        for command in generate.commands()
        for written, _, _, text in generate.parameters(command.function)
        if not text
    ]
    assert silent == []


def test_what_is_generated_knows_every_command_of_the_help(tmp_path):
    """The pages are made from Typer's tables, the help from what Typer built of them: they must agree."""
    known = [command.words.split() for command in generate.commands()]
    groups = {tuple(words[:depth]) for words in known for depth in range(1, len(words))}
    for group in sorted(groups):
        shown = run(*group[1:], "--help", cwd=tmp_path).stdout.partition("Commands")[2]
        listed = set(re.findall(r"^\W*([a-z][a-z-]+)  ", shown, re.MULTILINE))
        depth = len(group)
        assert listed == {words[depth] for words in known if tuple(words[:depth]) == group}, " ".join(group)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "--nonsense"), "No such option: --nonsense; see `funnelgate run --help`"),
        (("balans",), "No such command 'balans'"),
        (("plan", "show"), "Missing argument 'planid'; see `funnelgate plan show --help`"),
        (("--config", "absent.yaml", "config", "show"), "absent.yaml"),
    ],
)
def test_a_wrong_call_exits_2_with_one_line_and_no_traceback(arguments, says, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
