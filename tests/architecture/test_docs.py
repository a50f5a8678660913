"""The pages for people are true: commands, settings, reasons and keys exist, code blocks run, sessions print that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import funnelgate
from checks.sinks.settings import KINDS
from pipeline.project import default_topology
from reporting.topology import Topology
from reporting.yaml_source import YamlSource
from tests.architecture.generator import generate
from tests.architecture.pages import agrees, blocks, calls, pages, session
from tests.architecture.source_tree import REPOSITORY

README = REPOSITORY / "README.md"
SCHEMAS = REPOSITORY / "docs" / "schemas"
COMMANDS = {command.words: command.function for command in generate.commands()}
TASKS = yaml.safe_load(default_topology())["tasks"]
NO_OPTIONS = {"--help", "--config"}


def test_the_generated_pages_are_up_to_date():
    stale = [path.name for path, text in generate.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_every_setting_is_described():
    silent = [
        f"{section}.{key}"
        for section, _, model in generate.settings()
        for key, _, _, text in generate.keys(model)
        if not text
    ]
    assert silent == [], "add a line below the field"


def test_the_generated_settings_name_every_key_that_settings_accept():
    """The page flattens nested models; a key it names must be one that the settings file takes, and the reverse."""
    fields = {
        f"{section}.{name}" if hasattr(field.annotation, "model_fields") else section
        for section, field in funnelgate.Settings.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {"": ""})
    }
    listed = {f"{section}.{key}" for section, file, model in generate.settings() for key, *_ in generate.keys(model)}
    assert {name for name in fields if "." in name} <= listed


@pytest.mark.parametrize(("kind", "model"), KINDS.items())
def test_every_key_of_a_sink_stands_on_the_page_about_settings(kind, model):
    text = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:])
    common, own = sections["checks.sinks[]"], sections[f"checks.sinks[] of kind {kind}"]
    assert {name for name in model.model_fields if f"| `{name}` |" in common + own} == set(model.model_fields)


def reasons_by_section(text: str) -> dict[str, list[str]]:
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: re.findall(r"^\| ([a-z_]+) \| (?!an item)", section, re.MULTILINE)
        for section in sections
    }


def test_every_task_and_drop_reason_is_explained_and_no_other():
    told = reasons_by_section((REPOSITORY / "docs" / "tasks.md").read_text(encoding="utf-8"))
    told = {task: [name for name in names if name != "reason"] for task, names in told.items()}
    assert list(told) == list(TASKS)
    assert told == {task: spec.get("drop_reasons", []) for task, spec in TASKS.items()}


def test_the_readme_lists_the_same_drop_reasons():
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ([a-z_, ]*)\|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    told = {task: [name.strip() for name in names.split(",") if name.strip()] for task, names in rows}
    assert {task: told.get(task) for task in TASKS} == {
        task: spec.get("drop_reasons", []) for task, spec in TASKS.items()
    }


def test_what_decides_a_reason_is_a_setting_of_its_task():
    known = {
        section.split(".")[1]: {key for key, *_ in generate.keys(model)}
        for section, _, model in generate.settings()
        if re.fullmatch(r"tasks\.[a-z]+\.settings", section)
    }
    text = (REPOSITORY / "docs" / "tasks.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        task = section.splitlines()[0]
        for cell in re.findall(r"^\| [a-z_]+ \|.*\| ([^|]+) \|$", section, re.MULTILINE):
            named = set(re.findall(r"`([^`]+)`", cell))
            assert named <= known[task], f"docs/tasks.md: {task}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_exists(page):
    for words in calls(page, "funnelgate"):
        depth = next((n for n in (3, 2, 1) if " ".join(["funnelgate", *words[:n]]) in COMMANDS), None)
        if depth is None:
            groups = {name.split()[1] for name in COMMANDS}
            named = [set(words[0].split("|")), set(words[-1].split("|"))]
            assert named[0] <= groups, f"{page.name}: funnelgate {' '.join(words)}"
            continue
        command = COMMANDS[" ".join(["funnelgate", *words[:depth]])]
        options = {part for written, *_ in generate.parameters(command) for part in re.split(r", | / ", written)}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= options | NO_OPTIONS, f"{page.name}: funnelgate {' '.join(words)}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {word for words in calls(page, "make") for word in words}
    assert named <= targets


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("text", blocks(README, "python"))
def test_python_in_the_readme_runs(text, tmp_path):
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=environment(), check=True)


@pytest.mark.parametrize("text", blocks(README, "yaml"))
def test_settings_in_the_readme_are_accepted(text):
    YamlSource("README.md", yaml.safe_load(text), {}).to_model(funnelgate.Settings)


def test_the_default_task_graph_is_a_valid_one():
    Topology.model_validate(yaml.safe_load(default_topology()))


def test_every_key_of_a_schema_stands_on_the_page_about_json():
    text = (REPOSITORY / "docs" / "json.md").read_text(encoding="utf-8")
    for file in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(file.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        assert f"(schemas/{file.name})" in text
        missing = [key for key in property_names(schema) if not re.search(rf"[`.\"]{key}[`\"]", text)]
        assert missing == [], file.name


def property_names(schema: object) -> set[str]:
    if isinstance(schema, list):
        return set().union(*(property_names(part) for part in schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())) | property_names(list(schema.values()))


def environment() -> dict[str, str]:
    """Return what a user's terminal gives: this Python's commands first, a width, and the checkout importable."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }


def printed(command: str, folder: Path) -> str:
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's session takes place; its first step is `make demo`, run here without make."""
    return tmp_path_factory.mktemp("session")


@pytest.mark.slow
def test_the_readme_session_prints_what_it_shows_and_the_json_follows_its_schemas(demo_folder):
    steps = session(README)
    assert steps[0].command == "make demo"
    folder = demo_folder
    for step in steps:
        if step.command.startswith("source "):
            folder /= step.command.rpartition("cd ")[2]
            continue
        command = "funnelgate demo demo-run --story" if step.command == "make demo" else step.command
        lines = [line.rstrip() for line in printed(command, folder).splitlines()]
        assert agrees(step.shown, lines), f"$ {command}\n" + "\n".join(lines)
    picture = "arrivals/queries/1f355.jpg"
    for name, command in {
        "run": "funnelgate run --date 2026-10-11 --json",
        "balance": "funnelgate balance --json",
        "funnel": "funnelgate funnel --date 2026-10-11 --json",
        "search": f"funnelgate search {picture} --json",
        "detect": f"funnelgate detect {picture} --json",
        "object": "funnelgate object 1 --json",
        "evaluate-history": "funnelgate evaluate history --json",
        "index-verify": "funnelgate index verify --release 7 --json",
        "evict-plan": "funnelgate evict plan --json",
        "evict-verify": "funnelgate evict verify --json",
        "release-list": "funnelgate release list --json",
        "release-diff": "funnelgate release diff 6 7 --verify --json",
        "promote-champion": "funnelgate promote-champion --by ana --why 'the first one that counts' --json",
    }.items():
        schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
        Draft202012Validator(schema).validate(json.loads(printed(command, folder)))
