"""Load a YAML file into a typed model; every error says file:line and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from reporting.errors import ConfigError, nearest

_MOST_VALUES = 100_000
"""In one file: aliases of aliases ("billion laughs") make any number of a few lines."""
_DEEPEST = 100
_TOO_DEEP = "nested too deeply, or an alias that holds itself"
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML lets through where the text has the form of a date, a number or a character, and is none."""

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


class YamlSource(NamedTuple):
    """The values of a YAML file, and the line (from 1) of every key path in it."""

    path: str
    data: Any
    lines: dict[Location, int]
    elsewhere: Mapping[Location, str] = MappingProxyType({})
    """Places of values that did not come from the file."""

    def where(self, location: Location) -> str:
        """Return `file:line` (or the place elsewhere) of a key path, or of its nearest existing parent."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.elsewhere:
                return self.elsewhere[location[:end]]
            line = self.lines.get(location[:end])
            if line is not None:
                return f"{self.path}:{line}"
        return self.path

    def to_model(self, model: type[Model]) -> Model:
        """Validate the values.

        Raises:
            ConfigError: one line per fault, each with file:line, key path and remedy.
        """
        try:
            return model.model_validate(self.data if self.data is not None else {})
        except ValidationError as error:
            raise ConfigError("\n".join(self._explain(model, fault) for fault in error.errors())) from None

    def _explain(self, model: type[BaseModel], fault: Any) -> str:
        location: Location = tuple(part for part in fault["loc"] if part != "[key]")
        dotted = ".".join(map(str, location)) or "(whole file)"
        if fault["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            return f"{self.where(location)}: unknown key {dotted!r}; {nearest(str(location[-1]), known)}"
        message = fault["msg"].removeprefix("Value error, ")
        return f"{self.where(location)}: {dotted}: {message}"


def load_yaml(path: Path) -> YamlSource:
    """Read a YAML file safely, refusing duplicate keys.

    Raises:
        ConfigError: the file is missing, unreadable or not YAML (with its line).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; create it with `funnelgate init` or name another") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, path: str) -> YamlSource:
    """Parse YAML text that came from `path`.

    Raises:
        ConfigError: with the line, if it is not YAML, repeats a key, holds a value that cannot be made (`2026-13-45`),
            is nested too deeply, or has more than 100,000 values.
    """
    loader = None
    try:
        loader = _Marking(text)
        node = loader.get_single_node()
        if node is None:
            return YamlSource(path, None, {(): 1})
        lines: dict[Location, int] = {}
        _walk(node, (), lines, path)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.reason}") from None
    except RecursionError:
        line = 1 if loader is None else loader.at or loader.line + 1
        raise ConfigError(f"{path}:{line}: {_TOO_DEEP}") from None
    except _UNREADABLE as error:
        line = 1 if loader is None else loader.at or loader.line + 1
        raise ConfigError(
            f"{path}:{line}: a value cannot be read ({error}); put text that looks like a value in quotes"
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    return YamlSource(path, data, lines)


class _Marking(yaml.SafeLoader):
    """Knows in which line the value stands that it makes."""

    at = 0

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self.at = node.start_mark.line + 1
        return super().construct_object(node, deep)


def _walk(node: yaml.Node, at: Location, lines: dict[Location, int], path: str) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if len(at) > _DEEPEST:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: {_TOO_DEEP}")
    if len(lines) > _MOST_VALUES:
        raise ConfigError(
            f"{path}:{node.start_mark.line + 1}: more than {_MOST_VALUES:,} values, aliases counted each time; "
            "write fewer"
        )
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{path}:{line}: a key is a list or a map; write it as text")
            here = (*at, key_node.value)
            if here in lines:
                raise ConfigError(
                    f"{path}:{line}: key {key_node.value!r} is already set in line {lines[here]}; keep one"
                )
            lines[here] = line
            _walk(value_node, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*at, index), lines, path)


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """Return the field names, as a file writes them, that a model allows at a key path."""
    current: Any = model
    for part in location:
        if _is_model(current):
            field = {_written(name, info): info for name, info in current.model_fields.items()}.get(str(part))
            current = None if field is None else _bare(field.annotation)
        else:  # a map or a list of models: the part is a key or an index
            arguments = [argument for argument in get_args(current) if argument is not Ellipsis]
            current = _bare(arguments[-1]) if arguments else None
    return [_written(name, info) for name, info in current.model_fields.items()] if _is_model(current) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _written(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _bare(annotation: Any) -> Any:
    """Return X of `X | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next((argument for argument in get_args(annotation) if argument is not NoneType), None)
    return annotation
