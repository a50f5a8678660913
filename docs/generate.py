"""Write docs/cli.md and docs/settings.md from the code, or check that they are up to date (--check).

`make docs` runs it; `make check` and the tests run it with --check. It is no part of the wheel.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from typer.models import ArgumentInfo, OptionInfo

import funnelgate
from evaluation.gate_spec import GateSpec, Waiver
from pipeline.tasks import TASKS
from reporting.settings import CONFIG_NAME
from reporting.topology import Edge, TaskSpec, Topology

DOCS = Path(__file__).resolve().parent
_ENTRY = re.compile(r"^    (?P<name>\w+): (?P<text>.*)$")


class Command(NamedTuple):
    """A command as the user types it, and the function behind it."""

    words: str
    function: Callable[..., Any]


def commands(app: typer.Typer = funnelgate.app, prefix: str = "funnelgate") -> Iterator[Command]:
    """Yield every command, those of groups too, in the order of the help."""
    for info in app.registered_commands:
        if info.callback is None:
            raise LookupError(f"{prefix} {info.name}: a command without a function")
        yield Command(f"{prefix} {info.name}", info.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            alone = group.typer_instance.registered_callback  # `serve` does something without a subcommand
            if alone is not None and alone.callback is not None and alone.invoke_without_command:
                yield Command(f"{prefix} {group.name}", alone.callback)
            yield from commands(group.typer_instance, f"{prefix} {group.name}")


def parameters(function: Callable[..., Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (how it is written, its value, its default, its help) of each argument and option of a command."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *extras = get_args(hints[name]) if hasattr(hints[name], "__metadata__") else (hints[name],)
        info = next((extra for extra in extras if isinstance(extra, OptionInfo | ArgumentInfo)), None)
        if info is None:
            continue
        default = parameter.default
        if default is inspect.Parameter.empty:
            shown = "required"
        else:
            shown = "" if default in (None, False, "") else f"`{str(default).lower() if kind is bool else default}`"
        value = _type_name(kind).removesuffix(" or null") + _range(info.min, info.max)
        yield _written(name, kind is bool, info), value, shown, info.help or ""


def _written(name: str, is_flag: bool, info: OptionInfo | ArgumentInfo) -> str:
    if isinstance(info, ArgumentInfo):
        return name.upper()
    # Inside Annotated, Typer takes the first name for the default, and moves it when the command is built.
    declared = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
    dashed = name.replace("_", "-")
    return ", ".join(declared) or (f"--{dashed} / --no-{dashed}" if is_flag else f"--{dashed}")


def _range(least: object, most: object) -> str:
    if least is not None and most is not None:
        return f", {least} to {most}"
    if least is None:
        return ""
    return f", {least}" if isinstance(least, str) else f", from {least}"


def cli_page() -> str:
    """Return docs/cli.md."""
    lines = [
        "# Commands",
        "",
        "Written by `make docs` from the code. `--config FILE`, before the command, names the settings file; default",
        f"`FUNNELGATE_CONFIG`, else `./{CONFIG_NAME}`. Exit codes: 0 ok or PASS, 1 a check or gate fails, 2 bad usage,",
        "configuration or input, 3 inconclusive or not evaluated, 4 infrastructure (store, cluster, network).",
        "",
    ]
    for command in commands():
        lines += [f"## {command.words}", "", inspect.getdoc(command.function) or "", ""]
        rows = list(parameters(command.function))
        if rows:
            lines += ["| | value | default | |", "|---|---|---|---|"]
            lines += [f"| `{written}` | {kind} | {default} | {_cell(text)} |" for written, kind, default, text in rows]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def settings() -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Yield (section, the file it stands in, its model): the product's settings, then each task's."""
    top = {name: field.annotation for name, field in funnelgate.Settings.model_fields.items()}
    for name, model in top.items():
        if inspect.isclass(model) and issubclass(model, BaseModel):
            yield name, CONFIG_NAME, model
            for field, found in model.model_fields.items():
                for heading, kind in _kinds(found.annotation):
                    yield f"{name}.{field}[]{heading}", CONFIG_NAME, kind
    yield "(top)", "pipeline.yaml", Topology
    yield "tasks.NAME", "pipeline.yaml", TaskSpec
    yield "edges[]", "pipeline.yaml", Edge
    for task, module in TASKS.items():
        yield f"tasks.{task}.settings", "pipeline.yaml", importlib.import_module(module).Settings
    yield "(top)", "gate.yaml", GateSpec
    for heading, kind in _kinds(GateSpec.model_fields["rules"].annotation):
        yield f"rules[]{heading}", "gate.yaml", kind
    yield "waivers[]", "gate.yaml", Waiver


def _kinds(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield ("", what all have) and (` of kind NAME`, the model) of a list whose entries are told apart by `kind`."""
    members = [part for part in _parts(annotation) if inspect.isclass(part) and issubclass(part, BaseModel)]
    if len(members) < 2:
        return
    yield "", next(base for base in members[0].__mro__ if all(issubclass(member, base) for member in members))
    for member in members:
        yield f" of kind {_type_name(member.model_fields['kind'].annotation)}", member


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, type, default, description) of every setting of a model, nested models flattened."""
    described = descriptions(model)
    for name, field in model.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
            continue
        least, most = _bounds(field.metadata)
        shown = "required" if field.is_required() else f"`{_yaml(field.get_default(call_default_factory=True))}`"
        text = described.get(name, "")
        yield f"{prefix}{field.alias or name}", _type_name(kind) + _range(least, most), shown, text


def _bounds(metadata: list[Any]) -> tuple[Any, Any]:
    found = {
        name: getattr(part, name)
        for part in metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(part, name, None) is not None
    }
    above = f"above {found['gt']}" if "gt" in found else None
    return found.get("ge", above), found.get("le", found.get("lt"))


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what the source says of each field: the string below it, else its entry under `Attributes:`."""
    found: dict[str, str] = {}
    for base in reversed([base for base in model.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        found |= _listed(inspect.getdoc(base) or "")
        for field, below in itertools.pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _listed(docstring: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = None
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        entry = _ENTRY.match(line)
        if entry:
            name = entry["name"]
            found[name] = entry["text"]
        elif name and line.startswith("        "):
            found[name] += " " + line.strip()
    return found


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Written by `make docs` from the code. Defaults, then the file, then `FUNNELGATE_SECTION__KEY` (for example",
        "`FUNNELGATE_RUN__WORKERS=8`), then the command's option; unknown keys are refused with the nearest valid one.",
        f"`funnelgate config show` says where each value came from. Sections of `{CONFIG_NAME}` come first, then the",
        "settings of each task, which stand in `pipeline.yaml`. `pipeline`, at the top of",
        f"`{CONFIG_NAME}`, names that file; without it the graph that comes with funnelgate is used.",
        "",
    ]
    listed: set[type[BaseModel]] = set()
    for section, file, model in settings():
        lines += [f"## {section}", "", f"In `{file}`. {(inspect.getdoc(model) or '').splitlines()[0]}", ""]
        common = {row for base in listed.intersection(model.__mro__[1:]) for row in keys(base)}
        rows = [row for row in keys(model) if row not in common]
        listed.add(model)
        if rows:
            lines += ["| key | type | default | |", "|---|---|---|---|"]
            lines += [f"| `{key}` | {kind} | {default} | {_cell(text)} |" for key, kind, default, text in rows]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _yaml(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path | StrEnum) else value
    return json.dumps(plain) if not isinstance(plain, str) else plain


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type_name(kind: Any) -> str:
    if inspect.isclass(kind) and issubclass(kind, StrEnum):
        return " or ".join(kind)
    if inspect.isclass(kind) and issubclass(kind, BaseModel) and "kind" in kind.model_fields:
        kind = kind.model_fields["kind"].annotation
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part is not Ellipsis]
    if origin is None:
        name = str(getattr(kind, "__name__", kind))
        return {"str": "text", "bool": "flag", "NoneType": "null"}.get(name, name)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin in (tuple, list):
        return f"list of {_type_name(parts[0])}"
    if origin is dict:
        return "mapping"
    return " or ".join(_type_name(part) if origin is not Literal else str(part) for part in parts)


def pages() -> dict[Path, str]:
    """Return every generated page with its text."""
    return {DOCS / "cli.md": cli_page(), DOCS / "settings.md": settings_page()}


def main() -> int:
    """Write the pages; with --check only compare, and return 1 when one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
        sys.stderr.write(f"{path.name}: {'out of date; run `make docs`' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
