"""Settings: defaults, then `funnelgate.yaml`, then `FUNNELGATE_SECTION__KEY`, then options; unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field

from reporting.errors import ConfigError, nearest
from reporting.yaml_source import YamlSource, load_yaml

CONFIG_NAME = "funnelgate.yaml"
_PREFIX = "FUNNELGATE_"
# Variables of ours that are no settings: where the file is, and what the tests need.
_NOT_SETTINGS = {"FUNNELGATE_CONFIG", "FUNNELGATE_SHARED", "FUNNELGATE_REQUIRE"}

Model = TypeVar("Model", bound=BaseModel)


class StoreSettings(BaseModel):
    """Where records and state are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "sqlite:///state/funnelgate.db"
    """`sqlite:///file.db` (relative to the settings file) or `postgresql://user:password@host/database`."""


class LogSettings(BaseModel):
    """Where JSON logs go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Path("state/funnelgate.log")
    """A file of JSON lines, relative to the settings file; null: standard error."""
    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")


class Loaded(NamedTuple, Generic[Model]):
    """Settings with the folder their relative paths start from, and where each value came from."""

    values: Model
    folder: Path
    origins: dict[str, str]


def find_config(option: Path | None, environ: Mapping[str, str], here: Path) -> Path | None:
    """Return the settings file: the option, else FUNNELGATE_CONFIG, else ./funnelgate.yaml, else None."""
    if option is not None:
        return option
    if environ.get("FUNNELGATE_CONFIG"):
        return Path(environ["FUNNELGATE_CONFIG"])
    candidate = here / CONFIG_NAME
    return candidate if candidate.is_file() else None


def load_settings(model: type[Model], config: Path | None, environ: Mapping[str, str], here: Path) -> Loaded[Model]:
    """Compose the settings.

    Raises:
        ConfigError: with file:line or the variable's name, the key and the nearest valid one.
    """
    source = load_yaml(config) if config is not None else YamlSource("(no settings file)", {}, {})
    if not isinstance(source.data, dict | None):
        raise ConfigError(
            f"{source.path}:1: expected sections (store, lake, run, ...), found {type(source.data).__name__}"
        )
    data: dict[str, Any] = {
        name: dict(part) if isinstance(part, dict) else part for name, part in (source.data or {}).items()
    }
    origins = {
        f"{section}.{key}": source.where((section, key))
        for section, part in data.items()
        if isinstance(part, dict)
        for key in part
    } | {section: source.where((section,)) for section, part in data.items() if not isinstance(part, dict)}
    for name, text in sorted(environ.items()):
        if name.startswith(_PREFIX) and name not in _NOT_SETTINGS:
            _overlay(model, data, origins, name, text)
    values = YamlSource(source.path, data, source.lines).to_model(model)
    folder = (config.parent if config is not None else here).resolve()
    return Loaded(values, folder, origins)


def _overlay(model: type[BaseModel], data: dict[str, Any], origins: dict[str, str], name: str, text: str) -> None:
    section, _, key = name.removeprefix(_PREFIX).lower().partition("__")
    if section not in model.model_fields:
        raise ConfigError(
            f"environment variable {name}: unknown section {section!r}; {nearest(section, model.model_fields)}"
        )
    value = yaml.safe_load(text) if text else None
    if not key:
        data[section] = value
        origins[section] = name
        return
    fields = getattr(model.model_fields[section].annotation, "model_fields", {})
    if key not in fields:
        raise ConfigError(f"environment variable {name}: unknown key {section}.{key}; {nearest(key, fields)}")
    data.setdefault(section, {})[key] = value
    origins[f"{section}.{key}"] = name


def describe(loaded: Loaded[Any]) -> list[tuple[str, str, str]]:
    """Return (key, value, origin) of every setting, for `funnelgate config show`."""
    rows = []
    for section, part in loaded.values.model_dump(mode="json").items():
        pairs = part.items() if isinstance(part, dict) else [(None, part)]
        for key, value in pairs:
            name = section if key is None else f"{section}.{key}"
            rows.append((name, "null" if value is None else str(value), loaded.origins.get(name, "default")))
    return rows


def absolute_url(url: str, folder: Path) -> str:
    """Return a store URL whose SQLite file is absolute."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url.startswith(prefix + "/"):
        return url
    return f"{prefix}{(folder / url.removeprefix(prefix)).resolve()}"
